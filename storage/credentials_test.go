package storage_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/loadfleet/loadfleet/storage"
	"github.com/loadfleet/loadfleet/storage/embedded"
	"github.com/loadfleet/loadfleet/storage/storagetest"
)

const (
	fleetUserARN = "arn:aws:iam::333333333333:user/fleet"
	fleetRoleARN = "arn:aws:iam::333333333333:role/loadfleet"
	customerARN  = "arn:aws:iam::111111111111:role/acme-loads"
	fleetKey     = "AKIAFLEETFLEETFLEETF"
	fleetSecret  = "fleet-secret-access-key"
	openRoleARN  = "arn:aws:iam::111111111111:role/acme-open" // demands no external id
	externalID   = "acme-4711"
)

func allow(actions ...string) []embedded.Statement { return []embedded.Statement{{Actions: actions}} }

func roles() []embedded.Role {
	return []embedded.Role{
		{ARN: fleetRoleARN, Trust: []string{fleetUserARN}, Policy: allow("sts:AssumeRole")},
		{ARN: customerARN, Trust: []string{fleetRoleARN}, ExternalID: externalID, Policy: allow("s3:*")},
		{ARN: openRoleARN, Trust: []string{fleetRoleARN}, Policy: allow("s3:*")},
	}
}

// limited are users who lack one permission each.
var limited = map[string][]string{
	"put":    {"s3:GetObject", "s3:ListBucket", "s3:DeleteObject"},
	"get":    {"s3:PutObject", "s3:ListBucket", "s3:DeleteObject"},
	"list":   {"s3:PutObject", "s3:GetObject", "s3:DeleteObject"},
	"delete": {"s3:PutObject", "s3:GetObject", "s3:ListBucket"},
}

func users() []embedded.User {
	all := checkUsers()
	all = append(all, embedded.User{ARN: fleetUserARN, AccessKey: fleetKey, SecretKey: fleetSecret})
	for missing, actions := range limited {
		all = append(all, embedded.User{
			ARN: "arn:aws:iam::111111111111:user/no-" + missing, AccessKey: "AKIANO" + strings.ToUpper(missing), SecretKey: "secret-" + missing,
			Policy: allow(actions...),
		})
	}
	return all
}

func chainAccess() storage.Access {
	a := rootAccess()
	a.ConnectionOption, a.AccessKeyID, a.SecretAccessKey = "role_chain", "", ""
	a.AssumeRoleARN, a.ExternalID = customerARN, externalID
	return a
}

// fleetEnvironment gives the process the fleet's own credentials and nothing
// else of this machine's.
func fleetEnvironment(t *testing.T) {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", fleetKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", fleetSecret)
	t.Setenv("AWS_SESSION_TOKEN", "")
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
}

func TestRoleChain(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*testing.T, *storage.Access, *storage.Config)
		want   error
		op     string
	}{
		{name: "fleet role, then the customer's", change: func(*testing.T, *storage.Access, *storage.Config) {}},
		{
			name:   "wrong external id",
			change: func(_ *testing.T, a *storage.Access, _ *storage.Config) { a.ExternalID = "another" },
			want:   storage.ErrCredentials, op: "put: assume role " + customerARN,
		},
		{
			name:   "no external id",
			change: func(_ *testing.T, a *storage.Access, _ *storage.Config) { a.ExternalID = "" },
			want:   storage.ErrCredentials, op: "put: assume role " + customerARN,
		},
		{
			name:   "customer's role does not trust the fleet user",
			change: func(_ *testing.T, _ *storage.Access, c *storage.Config) { c.FleetRoleARN = "" },
			want:   storage.ErrCredentials, op: "put: assume role " + customerARN,
		},
		{
			name:   "fleet role does not exist",
			change: func(_ *testing.T, _ *storage.Access, c *storage.Config) { c.FleetRoleARN = fleetRoleARN + "x" },
			want:   storage.ErrCredentials, op: "put: assume role " + fleetRoleARN + "x",
		},
		{
			name:   "own secret is wrong",
			change: func(t *testing.T, _ *storage.Access, _ *storage.Config) { t.Setenv("AWS_SECRET_ACCESS_KEY", "wrong") },
			want:   storage.ErrCredentials, op: "put: assume role " + fleetRoleARN,
		},
		{
			name: "no credentials of our own",
			change: func(t *testing.T, _ *storage.Access, _ *storage.Config) {
				t.Setenv("AWS_ACCESS_KEY_ID", "")
				t.Setenv("AWS_SECRET_ACCESS_KEY", "")
			},
			want: storage.ErrCredentials, op: "put: find own credentials",
		},
		{
			name:   "STS is away",
			change: func(_ *testing.T, _ *storage.Access, c *storage.Config) { c.STSEndpoint = "http://127.0.0.1:1" },
			want:   storage.ErrUnavailable, op: "put: assume role " + fleetRoleARN,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			fleetEnvironment(t)
			a, cfg := chainAccess(), quick()
			cfg.FleetRoleARN, cfg.STSEndpoint = fleetRoleARN, server.Endpoint()
			test.change(t, &a, &cfg)
			s, bucket := open(t, a, cfg), newBucket(t)
			o := storagetest.NewObject("chain.csv", "x", small)
			_, err := s.Put(t.Context(), bucket, o, storage.IfAbsent())
			if test.want == nil {
				if err != nil {
					t.Fatalf("put: %v", err)
				}
				storagetest.Expect(t, s, bucket, o)
				return
			}
			storagetest.ExpectError(t, "put", err, test.want)
			if e, ok := errors.AsType[*storage.Error](err); ok && e.Op != test.op {
				t.Errorf("put failed in %q, want %q (%v)", e.Op, test.op, err)
			}
			for _, secret := range []string{fleetSecret, "wrong"} {
				if err != nil && strings.Contains(err.Error(), secret) {
					t.Errorf("the error tells a secret: %v", err)
				}
			}
		})
	}
}

// TestExpiredSession moves the server's clock past the end of the sessions,
// of which the client's clock knows nothing: each call must renew them once.
func TestExpiredSession(t *testing.T) {
	fleetEnvironment(t)
	cfg := quick()
	cfg.FleetRoleARN, cfg.STSEndpoint = fleetRoleARN, server.Endpoint()
	s, bucket := open(t, chainAccess(), cfg), newBucket(t)
	o := storagetest.NewObject("expired.csv", "x", small)
	stored := storagetest.Put(t, s, bucket, o, storage.IfAbsent())
	for _, step := range []struct {
		name string
		call func() error
	}{
		{"head", func() error { _, err := s.Head(t.Context(), bucket, o.Key); return err }},
		{"put", func() error { _, err := s.Put(t.Context(), bucket, o, storage.IfMatch(stored.ETag)); return err }},
		{"put in parts", func() error {
			_, err := s.Put(t.Context(), bucket, storagetest.NewObject("large.csv", "x", large), storage.IfAbsent())
			return err
		}},
	} {
		now.Advance(2 * time.Hour)
		if err := step.call(); err != nil {
			t.Errorf("%s with an expired session: %v", step.name, err)
		}
	}
}

func TestWrongKeys(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*storage.Access)
		want   error
	}{
		{"wrong secret", func(a *storage.Access) { a.SecretAccessKey = "not-it" }, storage.ErrCredentials},
		{"unknown key id", func(a *storage.Access) { a.AccessKeyID = "AKIAUNKNOWN" }, storage.ErrCredentials},
		{"wrong region", func(a *storage.Access) { a.Region = "ap-south-1" }, storage.ErrRegion},
		{"nobody listens", func(a *storage.Access) { a.Endpoint = "http://127.0.0.1:1" }, storage.ErrUnavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := rootAccess()
			test.change(&a)
			s := open(t, a, quick())
			_, err := s.Put(t.Context(), newBucket(t), storagetest.NewObject("k", "k", small), storage.IfAbsent())
			storagetest.ExpectError(t, "put", err, test.want)
			if err != nil && (strings.Contains(err.Error(), a.SecretAccessKey) || strings.Contains(err.Error(), "Signature=")) {
				t.Errorf("the error tells a secret: %v", err)
			}
		})
	}
}

func TestOpenRefusesWhatCannotWork(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*storage.Access)
		want   error
	}{
		{"no secret", func(a *storage.Access) { a.SecretAccessKey = "" }, storage.ErrCredentials},
		{"no role", func(a *storage.Access) { a.ConnectionOption = "role_chain" }, storage.ErrCredentials},
		{"unknown option", func(a *storage.Access) { a.ConnectionOption = "magic" }, storage.ErrInvalid},
		{"no key", func(a *storage.Access) { a.Encryption = "sse-kms-customer" }, storage.ErrInvalid},
		{"unknown encryption", func(a *storage.Access) { a.Encryption = "rot13" }, storage.ErrInvalid},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := rootAccess()
			test.change(&a)
			_, err := storage.Open(t.Context(), a, quick())
			storagetest.ExpectError(t, "open", err, test.want)
		})
	}
}

// TestMissingPermissions has each user fail in exactly the operation whose
// permission is missing.
func TestMissingPermissions(t *testing.T) {
	root := open(t, rootAccess(), quick())
	for missing := range limited {
		t.Run(missing, func(t *testing.T) {
			a := rootAccess()
			a.AccessKeyID, a.SecretAccessKey = "AKIANO"+strings.ToUpper(missing), "secret-"+missing
			s, bucket := open(t, a, quick()), newBucket(t)
			there := storagetest.NewObject("there.csv", "there", small)
			storagetest.Put(t, root, bucket, there, storage.IfAbsent())
			got := map[string]error{}
			_, got["put"] = s.Put(t.Context(), bucket, storagetest.NewObject("new.csv", "new", small), storage.IfAbsent())
			_, got["get"] = s.Head(t.Context(), bucket, there.Key)
			for _, err := range s.List(t.Context(), bucket, "") {
				got["list"] = err
			}
			got["delete"] = s.Delete(t.Context(), bucket, there.Key, storage.Always())
			for operation, err := range got {
				if operation == missing {
					storagetest.ExpectError(t, operation, err, storage.ErrDenied)
				} else if err != nil {
					t.Errorf("%s: %v", operation, err)
				}
			}
		})
	}
}
