package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/loadfleet/loadfleet/storage"
	"github.com/loadfleet/loadfleet/storage/embedded"
	"github.com/loadfleet/loadfleet/storage/storagetest"
)

const (
	userARN    = "arn:aws:iam::333333333333:user/fleet"
	fleetRole  = "arn:aws:iam::333333333333:role/fleet"
	longRole   = "arn:aws:iam::333333333333:role/long"
	customer   = "arn:aws:iam::111111111111:role/customer"
	bucketName = "exports"
)

func config(t *testing.T) embedded.Config {
	t.Helper()
	return embedded.Config{
		Dir: t.TempDir(), AccessKey: "root", SecretKey: "root-secret", Buckets: []string{bucketName},
		Users: []embedded.User{{ARN: userARN, AccessKey: "AKIAFLEET", SecretKey: "fleet-secret"}},
		Roles: []embedded.Role{
			{ARN: fleetRole, Trust: []string{userARN}},
			{ARN: longRole, Trust: []string{userARN}, MaxSession: 12 * time.Hour},
			{ARN: customer, Trust: []string{fleetRole}, ExternalID: "x1", MaxSession: 12 * time.Hour},
		},
	}
}

func start(t *testing.T, cfg embedded.Config) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(t.Context(), cfg)
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func openRoot(t *testing.T, s *embedded.Server) *storage.Store {
	t.Helper()
	store, err := storage.Open(t.Context(), storage.Access{
		ConnectionOption: "access_keys", AccessKeyID: "root", SecretAccessKey: "root-secret",
		Endpoint: s.Endpoint(), PathStyle: true, Checksum: true,
	}, storage.Config{})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(store.Close)
	return store
}

func TestRestartKeepsObjects(t *testing.T) {
	cfg := config(t)
	before, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	o := storagetest.NewObject("kept.csv", "kept", 1000)
	for round := range 2 {
		s, err := embedded.Start(t.Context(), cfg)
		if err != nil {
			t.Fatalf("start, round %d: %v", round, err)
		}
		store := openRoot(t, s)
		if round == 0 {
			storagetest.Put(t, store, bucketName, o, storage.IfAbsent())
		}
		if stored := storagetest.Expect(t, store, bucketName, o); stored.Encryption.Algorithm != "AES256" {
			t.Errorf("round %d: encryption %+v, want AES256", round, stored.Encryption)
		}
		store.Close()
		if err := s.Close(); err != nil {
			t.Fatalf("close, round %d: %v", round, err)
		}
		if after, err := os.Getwd(); err != nil || after != before {
			t.Errorf("round %d: working directory %s, %v after Close, want %s", round, after, err, before)
		}
	}
}

func TestStartRefuses(t *testing.T) {
	running := start(t, config(t))
	for _, test := range []struct {
		name   string
		change func(*embedded.Config)
	}{
		{"a second server", func(*embedded.Config) {}},
		{"no secret", func(c *embedded.Config) { c.SecretKey = "" }},
		{"an address without port", func(c *embedded.Config) { c.Addr = "127.0.0.1" }},
		{"a bucket name that S3 refuses", func(c *embedded.Config) { c.Buckets = []string{"B"} }},
		{"a directory that is a file", func(c *embedded.Config) {
			c.Dir = filepath.Join(c.Dir, "file")
			if err := os.WriteFile(c.Dir, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := config(t)
			test.change(&cfg)
			if s, err := embedded.Start(t.Context(), cfg); err == nil {
				t.Errorf("started at %s, want an error", s.Endpoint())
			}
		})
	}
	store := openRoot(t, running)
	storagetest.Put(t, store, bucketName, storagetest.NewObject("after.csv", "x", 10), storage.IfAbsent())
}

func stsClient(endpoint, key, secret, token string) *sts.Client {
	return sts.New(sts.Options{
		Region: "us-east-1", BaseEndpoint: &endpoint, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(key, secret, token),
	})
}

func TestAssumeRole(t *testing.T) {
	s := start(t, config(t))
	user := stsClient(s.Endpoint(), "AKIAFLEET", "fleet-secret", "")
	fleet, err := assume(t.Context(), user, fleetRole, "", 0)
	if err != nil {
		t.Fatalf("assume %s: %v", fleetRole, err)
	}
	session := fleet.Credentials
	chained := stsClient(s.Endpoint(), *session.AccessKeyId, *session.SecretAccessKey, *session.SessionToken)
	for _, test := range []struct {
		name           string
		client         *sts.Client
		role, external string
		duration       time.Duration
		code           string
	}{
		{"chained", chained, customer, "x1", 0, ""},
		{"chained for an hour", chained, customer, "x1", time.Hour, ""},
		{"chained for longer", chained, customer, "x1", 2 * time.Hour, "ValidationError"},
		{"unchained for longer", user, longRole, "", 2 * time.Hour, ""},
		{"longer than the role allows", user, fleetRole, "", 2 * time.Hour, "ValidationError"},
		{"too short", user, fleetRole, "", time.Minute, "ValidationError"},
		{"no external id", chained, customer, "", 0, "AccessDenied"},
		{"wrong external id", chained, customer, "x2", 0, "AccessDenied"},
		{"caller not trusted", user, customer, "x1", 0, "AccessDenied"},
		{"no such role", user, customer + "x", "", 0, "AccessDenied"},
		{"wrong secret", stsClient(s.Endpoint(), "AKIAFLEET", "wrong", ""), fleetRole, "", 0, "SignatureDoesNotMatch"},
		{"unknown key", stsClient(s.Endpoint(), "AKIANOBODY", "wrong", ""), fleetRole, "", 0, "InvalidClientTokenId"},
		{"session without its token", stsClient(s.Endpoint(), *session.AccessKeyId, *session.SecretAccessKey, "other"), customer, "x1", 0, "InvalidClientTokenId"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := assume(t.Context(), test.client, test.role, test.external, test.duration)
			code := ""
			if api, ok := errors.AsType[smithy.APIError](err); ok {
				code = api.ErrorCode()
			}
			if code != test.code || (err != nil) != (test.code != "") {
				t.Errorf("got %q (%v), want %q", code, err, test.code)
			}
		})
	}
	caller, err := chained.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil {
		t.Fatalf("get caller identity: %v", err)
	}
	if want := "arn:aws:sts::333333333333:assumed-role/fleet/test"; *caller.Arn != want || *caller.Account != "333333333333" {
		t.Errorf("caller: %s of %s, want %s", *caller.Arn, *caller.Account, want)
	}
}

func assume(ctx context.Context, client *sts.Client, role, external string, d time.Duration) (*sts.AssumeRoleOutput, error) {
	name := "test"
	in := &sts.AssumeRoleInput{RoleArn: &role, RoleSessionName: &name}
	if external != "" {
		in.ExternalId = &external
	}
	if d != 0 {
		seconds := int32(d / time.Second)
		in.DurationSeconds = &seconds
	}
	return client.AssumeRole(ctx, in)
}

// TestRestampDoesNotCrossAPut restamps an object while others replace it: the
// metadata must stay with the bytes it describes.
func TestRestampDoesNotCrossAPut(t *testing.T) {
	store := openRoot(t, start(t, config(t)))
	for round := range 30 {
		key := fmt.Sprintf("cross/%d.csv", round)
		before, after := storagetest.NewObject(key, "before", 2000), storagetest.NewObject(key, "after", 3000)
		stored := storagetest.Put(t, store, bucketName, before, storage.IfAbsent())
		stamped := before
		stamped.Meta.Generation++
		stamped.Meta.SHA256 = stored.Meta.SHA256
		done := make(chan error)
		go func() {
			_, err := store.Restamp(t.Context(), bucketName, key, stored, stamped.Meta)
			done <- err
		}()
		storagetest.Put(t, store, bucketName, after, storage.Always())
		if err := <-done; err != nil && !errors.Is(err, storage.ErrPrecondition) {
			t.Errorf("restamp: %v", err)
		}
		storagetest.Expect(t, store, bucketName, after)
	}
}
