package main

import (
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// secrets is what no log may hold, by name.
func (f *fleet) secrets() map[string]string {
	f.Helper()
	all := map[string]string{}
	for name, file := range map[string]string{"S3 secret key": "s3.secret-key", "NATS token": "nats.token", "seal key": sealKeyFile} {
		b, err := os.ReadFile(filepath.Join(f.dir, file))
		if err != nil {
			f.Fatal(err)
		}
		all[name] = strings.TrimSpace(string(b))
	}
	return all
}

// leaks names the secrets that a text holds, plain or in one of the forms that
// programs put things in: base64 (also amid other text), URL encoding, hex.
func leaks(text string, secrets map[string]string) []string {
	var found []string
	for name, secret := range secrets {
		for form, s := range forms(secret) {
			if strings.Contains(text, s) {
				found = append(found, name+" ("+form+")")
			}
		}
	}
	slices.Sort(found)
	return found
}

func forms(secret string) map[string]string {
	all := map[string]string{
		"plain": secret, "hex": hex.EncodeToString([]byte(secret)),
		"query": url.QueryEscape(secret), "path": url.PathEscape(secret), "user": url.UserPassword("", secret).String()[1:],
	}
	// Amid other text, as in the header of basic authentication, base64 has one
	// of three shapes; what its ends share with the neighbours is cut off.
	for shift := range 3 {
		padded := make([]byte, shift, shift+len(secret))
		padded = append(padded, secret...)
		whole := padded[:len(padded)-len(padded)%3]
		for form, e := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
			all[form+string(rune('0'+shift))] = e.EncodeToString(whole)[(shift*8+5)/6:]
		}
	}
	if raw, err := base64.StdEncoding.DecodeString(secret); err == nil {
		all["bytes"], all["bytes in hex"] = string(raw), hex.EncodeToString(raw)
	}
	return all
}

func TestLeaksAreFound(t *testing.T) {
	const secret = "s3cr+t/KEY=="
	for _, tt := range []struct {
		name, text string
		want       bool
	}{
		{"nothing", "load done", false},
		{"a part only", "s3cr+t/KEX==", false},
		{"plain", "connect to nats://s3cr+t/KEY==@host", true},
		{"query", "?token=s3cr%2Bt%2FKEY%3D%3D&x=1", true},
		{"path", "/s3cr+t%2FKEY==", true},
		{"hex", hex.EncodeToString([]byte("x" + secret)), true},
		{"base64", base64.StdEncoding.EncodeToString([]byte(secret)), true},
		{"base64 after one byte", base64.StdEncoding.EncodeToString([]byte(":" + secret + "\n")), true},
		{"base64 after two bytes", base64.StdEncoding.EncodeToString([]byte("u:" + secret)), true},
		{"base64 for URLs", base64.URLEncoding.EncodeToString([]byte("user:" + secret)), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := leaks(tt.text, map[string]string{"secret": secret})
			if (len(got) > 0) != tt.want {
				t.Error(cmp.Diff(tt.want, got))
			}
		})
	}
}
