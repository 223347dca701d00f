package destination

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func keyring(t *testing.T, keys ...string) *Keyring {
	t.Helper()
	k, err := NewKeyring(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func seal(t *testing.T, k *Keyring, s *Settings) []byte {
	t.Helper()
	doc, err := k.Seal(s)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestSealAndOpen(t *testing.T) {
	k := keyring(t, NewSealKey())
	for _, o := range ConnectionOptions() {
		t.Run(string(o), func(t *testing.T) {
			s := parse(t, append(option(o), "workspaces: [a]", "file_format: parquet", "parquet: {compression: zstd}", "checksum: off", "rate_limit: 0.5")...)
			s.Approved, s.Paused = true, true
			doc := seal(t, k, s)
			if bytes.Contains(doc, []byte(testSecret)) || bytes.Contains(doc, []byte(redacted)) {
				t.Errorf("stored as %s", doc)
			}
			got, err := k.Open(doc)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(s, got); diff != "" {
				t.Errorf("sealed and opened (-want +got):\n%s", diff)
			}
			if bytes.Equal(doc, seal(t, k, s)) && o.Keys() {
				t.Error("two seals are equal: the nonce is not random")
			}
		})
	}
}

// A sealed secret opens only in the document it was sealed for.
func TestOpenRefusesAMovedSecret(t *testing.T) {
	k := keyring(t, NewSealKey())
	doc := seal(t, k, parse(t))
	edits := map[string]any{
		"id": "evil", "connection_option": "shared_account", "access_key_id": "AKIAOTHER", "endpoint": "https://evil.example.com", "bucket": "evil",
	}
	for field, value := range edits {
		t.Run(field, func(t *testing.T) {
			_, err := k.Open(rewrite(t, doc, field, value))
			if !errors.Is(err, ErrTampered) {
				t.Errorf("Open with another %s: %v, want ErrTampered", field, err)
			}
		})
	}
	// What the customer's destination is otherwise may change.
	if _, err := k.Open(rewrite(t, doc, "title", "x")); err != nil {
		t.Errorf("Open with another title: %v", err)
	}
}

// The parts of the binding cannot flow into each other.
func TestBindingIsInjective(t *testing.T) {
	a := &Settings{ID: "a", AccessKeyID: "bc", Endpoint: "d", Bucket: "e"}
	for _, b := range []*Settings{
		{ID: "a", AccessKeyID: "b", Endpoint: "cd", Bucket: "e"},
		{ID: "a", AccessKeyID: "bc", Endpoint: "", Bucket: "de"},
		{ID: "a", AccessKeyID: "bc\x01d", Endpoint: "e"},
	} {
		if bytes.Equal(binding(a), binding(b)) {
			t.Errorf("%+v and %+v have one binding", a, b)
		}
	}
}

func rewrite(t *testing.T, doc []byte, field string, value any) []byte {
	t.Helper()
	fields := map[string]any{}
	if err := json.Unmarshal(doc, &fields); err != nil {
		t.Fatal(err)
	}
	fields[field] = value
	out, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestOpenRefusesAChangedSecret(t *testing.T) {
	k := keyring(t, NewSealKey())
	doc := seal(t, k, parse(t))
	var in stored
	if err := json.Unmarshal(doc, &in); err != nil {
		t.Fatal(err)
	}
	version, rest, _ := strings.Cut(in.SecretAccessKey, ".")
	keyID, box, _ := strings.Cut(rest, ".")
	raw, err := base64.RawURLEncoding.DecodeString(box)
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw { // each byte of nonce, text and tag counts
		changed := bytes.Clone(raw)
		changed[i] ^= 1
		sealed := version + "." + keyID + "." + base64.RawURLEncoding.EncodeToString(changed)
		if _, err := k.Open(rewrite(t, doc, "secret_access_key", sealed)); !errors.Is(err, ErrTampered) {
			t.Fatalf("Open with byte %d changed: %v, want ErrTampered", i, err)
		}
	}
	for _, sealed := range []string{testSecret, "v2." + keyID + "." + box, "v1." + keyID + ".", "v1." + keyID + ".AAAA", "v1", "v1." + keyID + ".!" + box} {
		_, err := k.Open(rewrite(t, doc, "secret_access_key", sealed))
		if !errors.Is(err, ErrTampered) || strings.Contains(err.Error(), testSecret) {
			t.Errorf("Open of %q: %v, want ErrTampered", sealed, err)
		}
	}
}

func TestRotation(t *testing.T) {
	oldKey, newKey := NewSealKey(), NewSealKey()
	before, during, after := keyring(t, oldKey), keyring(t, newKey, oldKey), keyring(t, newKey)
	s := parse(t)
	doc := seal(t, before, s)
	needs := func(k *Keyring, doc []byte) bool {
		t.Helper()
		got, err := k.NeedsReseal(doc)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if needs(before, doc) || !needs(during, doc) || !needs(after, doc) {
		t.Errorf("NeedsReseal: %v, %v, %v", needs(before, doc), needs(during, doc), needs(after, doc))
	}
	opened, err := during.Open(doc)
	if err != nil {
		t.Fatal(err)
	}
	resealed := seal(t, during, opened)
	if needs(during, resealed) {
		t.Error("NeedsReseal of what the first key sealed")
	}
	if got, err := after.Open(resealed); err != nil || got.SecretAccessKey.Reveal() != testSecret {
		t.Errorf("Open after the rotation: %v", err)
	}
	if _, err := after.Open(doc); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("Open without the old key: %v, want ErrUnknownKey", err)
	}
	role := seal(t, before, parse(t, option(RoleChain)...))
	if needs(after, role) {
		t.Error("NeedsReseal of a document without a secret")
	}
}

func TestKeyringWithoutKeys(t *testing.T) {
	for _, k := range []*Keyring{nil, {}} {
		if _, err := k.Seal(parse(t)); !errors.Is(err, ErrNoKey) {
			t.Errorf("Seal: %v, want ErrNoKey", err)
		}
		doc, err := k.Seal(parse(t, option(RoleChain)...))
		if err != nil {
			t.Errorf("Seal without a secret: %v", err)
		}
		if _, err := k.Open(doc); err != nil {
			t.Errorf("Open without a secret: %v", err)
		}
		if _, err := k.Open(seal(t, keyring(t, NewSealKey()), parse(t))); !errors.Is(err, ErrUnknownKey) {
			t.Errorf("Open: %v, want ErrUnknownKey", err)
		}
	}
	if _, err := NewKeyring(); !errors.Is(err, ErrNoKey) {
		t.Errorf("NewKeyring(): %v, want ErrNoKey", err)
	}
}

func TestDescribe(t *testing.T) {
	s := parse(t)
	s.Paused = true
	doc := seal(t, keyring(t, NewSealKey()), s)
	got, err := Describe(doc)
	if err != nil {
		t.Fatal(err)
	}
	if !got.SecretAccessKey.IsZero() {
		t.Error("Describe gives a secret")
	}
	if diff := cmp.Diff([]Change{{Field: "secret_access_key", Old: redacted}}, Changes(s, got)); diff != "" || !got.Paused {
		t.Errorf("Describe, paused %v (-want +got):\n%s", got.Paused, diff)
	}
	if _, err := Describe([]byte(`{"version": 2}`)); err == nil {
		t.Error("Describe of another version succeeds")
	}
}

func TestParseKeyring(t *testing.T) {
	a, b := NewSealKey(), NewSealKey()
	for name, text := range map[string]string{
		"lines": a + "\n" + b + "\n", "Windows lines": a + "\r\n" + b + "\r\n", "comments": "# keys\n\n" + a + " # new\n" + b + "# old", "commas": a + ", " + b, "spaces": a + "  " + b,
	} {
		k, err := ParseKeyring(text)
		if err != nil || len(k.keys) != 2 || k.keys[0].id != keyring(t, a).keys[0].id {
			t.Errorf("%s: %v, %v", name, k, err)
		}
	}
	for name, text := range map[string]string{"nothing": "# none\n", "not base64": "!", "too short": base64.StdEncoding.EncodeToString(make([]byte, 16)), "cut": a[:len(a)-4]} {
		_, err := ParseKeyring(text)
		if err == nil || strings.Contains(err.Error(), a[:8]) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKeyringDoesNotPrint(t *testing.T) {
	key := NewSealKey()
	raw, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		t.Fatal(err)
	}
	k := keyring(t, key)
	for _, v := range []any{k, struct{ k *Keyring }{k}, struct{ K *Keyring }{k}, []*Keyring{k}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x"} {
			got := fmt.Sprintf(verb, v)
			if strings.Contains(got, key) || strings.Contains(got, fmt.Sprintf("%x", raw[:8])) || strings.Contains(got, strings.Trim(fmt.Sprint(raw[:8]), "[]")) {
				t.Errorf("%s prints a key: %s", verb, got)
			}
		}
	}
	if got := fmt.Sprint(k); got != "keyring of 1 keys" {
		t.Errorf("printed as %s", got)
	}
	if b, err := json.Marshal(k); err != nil || string(b) != "{}" {
		t.Errorf("JSON is %s, %v", b, err)
	}
}

// An older document gets the defaults of fields it does not have; a document of
// a version to come is refused.
func TestOpenOtherVersions(t *testing.T) {
	var k *Keyring
	s, err := k.Open([]byte(`{"version": 1, "id": "a", "connection_option": "role_chain", "a_field_to_come": 1}`))
	if err != nil || !s.Checksum || !s.BucketKey || s.EmptyPartition != KeepEmpty {
		t.Errorf("Open = %+v, %v", s, err)
	}
	if _, err := k.Open([]byte(`{"version": 2, "id": "a"}`)); err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("Open of version 2: %v", err)
	}
	if _, err := k.Open([]byte(`{"secret_access_key": {"` + testSecret + `": 1}`)); err == nil || strings.Contains(err.Error(), testSecret) {
		t.Errorf("Open of no JSON: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	k, err := NewKeyring(NewSealKey())
	if err != nil {
		f.Fatal(err)
	}
	doc, err := k.Seal(&Settings{ID: "a", SecretAccessKey: NewSecret(testSecret)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(doc)
	f.Add([]byte(`{"version": 1, "secret_access_key": "v1.00000000."}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		s, err := k.Open(doc)
		if err == nil && !s.SecretAccessKey.IsZero() && s.SecretAccessKey.Reveal() != testSecret {
			t.Fatalf("a secret nobody sealed was opened")
		}
	})
}
