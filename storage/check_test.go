package storage_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/loadfleet/loadfleet/storage"
	"github.com/loadfleet/loadfleet/storage/embedded"
	"github.com/loadfleet/loadfleet/storage/storagetest"
)

const (
	demandsSSE    = "acme-demands-aes256"
	demandsKMS    = "acme-demands-kms"
	careless      = "acme-without-conditions"
	plainBucket   = "acme-without-encryption"
	checkedPrefix = "exports/acme/"
)

func quirks() map[string]embedded.Quirk {
	return map[string]embedded.Quirk{
		demandsSSE:  {DemandEncryption: "AES256"},
		demandsKMS:  {DemandEncryption: "aws:kms"},
		careless:    {IgnoreConditions: true},
		plainBucket: {IgnoreEncryption: true},
	}
}

// fourPermissions are what SPEC asks for, and what each is called in reports.
var fourPermissions = map[string]string{
	"put": "s3:PutObject", "get": "s3:GetObject", "list": "s3:ListBucket", "delete": "s3:DeleteObject",
}

// checkUsers lack one permission each, or several; all others they have.
func checkUsers() []embedded.User {
	var all []embedded.User
	for _, missing := range [][]string{{}, {"put"}, {"get"}, {"list"}, {"delete"}, {"abort"}, {"put", "get", "list", "delete"}} {
		var allowed []embedded.Statement
		for name, action := range fourPermissions {
			if slices.Contains(missing, name) {
				continue
			}
			allowed = append(allowed, embedded.Statement{Actions: []string{action}})
		}
		if !slices.Contains(missing, "abort") {
			allowed = append(allowed, embedded.Statement{Actions: []string{"s3:AbortMultipartUpload"}})
		}
		name := strings.Join(missing, "-")
		all = append(all, embedded.User{
			ARN: "arn:aws:iam::111111111111:user/check-" + name, AccessKey: checkKey(missing), SecretKey: "check-secret", Policy: allowed,
		})
	}
	return all
}

func checkKey(missing []string) string {
	return "AKIACHECK" + strings.ToUpper(strings.Join(missing, ""))
}

// userAccess is that of the user without these permissions.
func userAccess(missing ...string) storage.Access {
	a := rootAccess()
	a.AccessKeyID, a.SecretAccessKey = checkKey(missing), "check-secret"
	return a
}

// expectClean fails the test when anything at all is in the bucket.
func expectClean(t *testing.T, bucket string) {
	t.Helper()
	root := open(t, rootAccess(), quick())
	for stored, err := range root.List(t.Context(), bucket, "") {
		if err != nil {
			t.Fatalf("list: %v", err)
		}
		t.Errorf("the check left %s", stored.Key)
	}
	storagetest.ExpectNoUploads(t, root, bucket)
}

// results are the probes that did not simply go well.
func results(r *storage.Report) map[string]string {
	out := map[string]string{}
	for _, p := range r.Probes {
		if p.Result == storage.Failed || p.Result == storage.Warning {
			out[string(p.Name)] = string(p.Result) + " " + string(p.Cause.ID)
		}
	}
	return out
}

func expectResults(t *testing.T, r *storage.Report, want map[string]string) {
	t.Helper()
	if want == nil {
		want = map[string]string{}
	}
	if diff := cmp.Diff(want, results(r)); diff != "" {
		text, _ := json.MarshalIndent(r, "", " ")
		t.Errorf("probes (-want +got):\n%s\n%s", diff, text)
	}
	for _, p := range r.Probes {
		if p.Cause != nil && (p.Cause.Sentence == "" || p.Cause.Remedy == "" || strings.ContainsAny(p.Cause.Sentence+p.Cause.Remedy, "{}")) {
			t.Errorf("%s: cause %+v", p.Name, p.Cause)
		}
	}
}

func TestCheck(t *testing.T) {
	type results = map[string]string
	fault := func(op storagetest.Operation, f storagetest.Fault, times int) func(*storagetest.Proxy) {
		return func(p *storagetest.Proxy) { p.Inject(op, f, times) }
	}
	leased := func(a *storage.Access) { a.Unconditional = true }
	refused := storagetest.Fault{Name: "no such feature", Status: 501, Code: "NotImplemented"}
	for _, test := range []struct {
		name   string
		access func(*storage.Access)
		bucket string // a new one when empty
		faults func(*storagetest.Proxy)
		want   results
		passed bool
	}{
		{name: "all is well", passed: true},
		{name: "sse-s3", access: encrypt("sse-s3", ""), passed: true},
		{name: "sse-kms", access: encrypt("sse-kms", ""), passed: true},
		{name: "sse-kms-customer", access: encrypt("sse-kms-customer", keyARN), passed: true},
		{name: "with owner and ACL", access: func(a *storage.Access) { a.BucketOwner, a.ACL = accountID, "bucket-owner-full-control" }, passed: true},
		{name: "without checksums", access: func(a *storage.Access) { a.Checksum = false }, passed: true},
		{
			// HeadBucket names no prefix, and no document lets uploads be listed.
			name: "what no document grants", passed: true, faults: func(p *storagetest.Proxy) {
				p.Inject(storagetest.HeadBucket, storagetest.Fault{Name: "access denied", Status: 403}, storagetest.Always)
				p.Inject(storagetest.ListUploads, storagetest.DeniedByPolicy, storagetest.Always)
			},
		},
		{
			name: "wrong key id", access: func(a *storage.Access) { a.AccessKeyID = "AKIANOBODY" },
			want: results{"credentials": "failed wrong_key_id"},
		},
		{
			name: "wrong secret", access: func(a *storage.Access) { a.SecretAccessKey = "wrong" },
			want: results{"credentials": "failed wrong_secret"},
		},
		{
			name: "wrong region", access: func(a *storage.Access) { a.Region = "ap-south-1" },
			want: results{"region": "failed wrong_region"},
		},
		{
			name: "redirected to another region", faults: fault(storagetest.AnyOperation, storagetest.WrongRegionReply, storagetest.Always),
			want: results{"region": "failed wrong_region"},
		},
		{name: "no bucket", bucket: "acme-nowhere", want: results{"bucket": "failed no_bucket"}},
		{
			name: "bucket of another account", access: func(a *storage.Access) { a.BucketOwner = "222222222222" },
			want: results{"bucket": "failed foreign_bucket"},
		},
		{name: "disabled key", access: encrypt("sse-kms-customer", disabled), want: results{"put": "failed kms_disabled"}},
		{name: "unknown key", access: encrypt("sse-kms-customer", keyARN+"9"), want: results{"put": "failed kms_not_found"}},
		{
			name: "key of another region", access: encrypt("sse-kms-customer", "arn:aws:kms:us-east-1:111111111111:key/0f1e2d3c-x"),
			want: results{"put": "failed kms_wrong_region"},
		},
		{name: "key of another account", access: encrypt("sse-kms-customer", foreign), want: results{"put": "failed kms_denied"}},
		{
			name:   "AWS-managed key where it must be shared",
			access: func(a *storage.Access) { a.Encryption, a.ConnectionOption = "sse-kms", "shared_account" },
			faults: fault(storagetest.PutObject, storagetest.DeniedByPolicy.WhenSent("X-Amz-Server-Side-Encryption"), 1),
			want:   results{"put": "failed kms_not_shared"},
		},
		{
			name: "AWS-managed key of another account than the bucket's", access: func(a *storage.Access) { a.Encryption, a.BucketOwner = "sse-kms", accountID },
			passed: true,
		},
		{
			name: "key lets encrypt but not decrypt", access: encrypt("sse-kms-customer", keyARN),
			faults: fault(storagetest.GetObject, storagetest.DeniedByPolicy, 1),
			want:   results{"read back": "failed kms_decrypt"},
		},
		{
			name: "policy demands AES256 and none is sent", bucket: demandsSSE,
			want: results{"put": "failed encryption_header"},
		},
		{
			name: "policy demands KMS and AES256 is sent", bucket: demandsKMS, access: encrypt("sse-s3", ""),
			want: results{"put": "failed encryption_header"},
		},
		{name: "policy demands what is sent", bucket: demandsKMS, access: encrypt("sse-kms-customer", keyARN), passed: true},
		{
			name: "bucket takes no such ACL", access: func(a *storage.Access) { a.ACL = "bucket-owner-read" },
			want: results{"put": "failed acl_disabled"},
		},
		{
			name: "no s3:PutObjectAcl", access: func(a *storage.Access) { a.ACL = "bucket-owner-full-control" },
			faults: fault(storagetest.PutObject, storagetest.DeniedByPolicy.WhenSent("X-Amz-Acl"), storagetest.Always),
			want:   results{"put": "failed denied_acl"},
		},
		{
			name: "store ignores encryption", bucket: plainBucket, access: encrypt("sse-kms-customer", keyARN),
			want: results{"read back": "failed not_encrypted_as_asked", "renew metadata": "failed not_encrypted_as_asked"},
		},
		{
			name: "store ignores conditions", bucket: careless, passed: true,
			want: results{
				"conditional put": "warning no_conditional_writes", "upload in parts": "warning no_conditional_writes",
				"delete": "warning no_conditional_writes",
			},
		},
		{
			name: "store refuses conditions", faults: fault(storagetest.PutObject, refused.WhenSent("If-None-Match"), storagetest.Always),
			want: results{"put": "failed conditional_writes_refused"},
		},
		{
			name: "store ignores conditions, and a lease guards", bucket: careless, passed: true, access: leased,
			want: results{"conditional put": "warning guarded_by_lease"},
		},
		{
			name: "store refuses conditions, and a lease guards", passed: true, access: leased,
			faults: fault(storagetest.AnyOperation, refused.WhenSent("If-None-Match"), storagetest.Always),
			want:   results{"conditional put": "warning guarded_by_lease"},
		},
		{
			name: "a lease that is not needed", passed: true, access: leased,
			want: results{"conditional put": "warning lease_needless"},
		},
		{
			name: "store refuses If-Match", faults: fault(storagetest.PutObject, refused.WhenSent("If-Match"), storagetest.Always),
			want: results{"conditional put": "failed conditional_writes_refused"},
		},
		{
			name: "store breaks on checksums", faults: fault(storagetest.PutObject, refused.WhenSent("X-Amz-Trailer"), storagetest.Always),
			want: results{"put": "failed checksum_refused"},
		},
		{
			name: "no copies", faults: fault(storagetest.CopyPart, refused, storagetest.Always),
			want: results{"renew metadata": "failed not_supported"},
		},
		{
			name: "throttled", faults: fault(storagetest.PutObject, storagetest.SlowDown, storagetest.Always),
			want: results{"put": "failed throttled"},
		},
		{
			name: "reply to the put is lost", faults: fault(storagetest.PutObject, storagetest.DroppedReply.ButApplied(), 1), passed: true,
		},
		{
			name: "every reply to a put is lost", faults: fault(storagetest.PutObject, storagetest.DroppedReply.ButApplied(), storagetest.Always),
			want: results{"put": "failed endpoint_down"},
		},
		{
			name: "reply to the creation of the upload is lost", faults: fault(storagetest.CreateUpload, storagetest.DroppedReply.ButApplied(), 3),
			want: results{"renew metadata": "failed endpoint_down"}, // the first upload in parts
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			proxy := storagetest.NewProxy(t, server.Endpoint(), true)
			a, cfg := rootAccess(), quick()
			a.Endpoint, cfg.RootCAs = proxy.Endpoint(), proxy.RootCAs()
			if test.access != nil {
				test.access(&a)
			}
			if test.faults != nil {
				test.faults(proxy)
			}
			bucket := test.bucket
			if bucket == "" {
				bucket = newBucket(t)
			}
			report := open(t, a, cfg).Check(t.Context(), storage.CheckConfig{Bucket: bucket, Prefix: checkedPrefix})
			expectResults(t, report, test.want)
			if report.Passed() != test.passed {
				t.Errorf("passed %v, want %v", report.Passed(), test.passed)
			}
			if len(report.Left) > 0 {
				t.Errorf("left behind: %q", report.Left)
			}
			if bucket != "acme-nowhere" {
				proxy.Heal()
				expectClean(t, bucket)
			}
			for _, r := range proxy.Requests(storagetest.AnyOperation) {
				if strings.Contains(r.Path, ".loadfleet-check-") && !strings.HasPrefix(r.Path, "/"+bucket+"/"+checkedPrefix) {
					t.Errorf("%s of %s is outside the prefix", r.Operation, r.Path)
				}
			}
		})
	}
}

func encrypt(with, key string) func(*storage.Access) {
	return func(a *storage.Access) { a.Encryption, a.EncryptionKey, a.BucketKey = with, key, true }
}

// TestCheckNamesTheMissingPermission takes one of the permissions away at a
// time: the check names that one, with its statement, and no other.
func TestCheckNamesTheMissingPermission(t *testing.T) {
	for _, test := range []struct {
		missing []string
		want    map[string]string
		action  string
		left    bool
	}{
		{missing: []string{}},
		{missing: []string{"put"}, want: map[string]string{"put": "failed denied_put"}, action: "s3:PutObject"},
		{missing: []string{"get"}, want: map[string]string{"read back": "failed denied_get"}, action: "s3:GetObject"},
		{missing: []string{"list"}, want: map[string]string{"list": "failed denied_list"}, action: "s3:ListBucket"},
		{
			missing: []string{"delete"}, action: "s3:DeleteObject", left: true,
			want: map[string]string{"delete": "failed denied_delete", "nothing left": "warning left_behind"},
		},
		{missing: []string{"abort"}, want: map[string]string{"upload in parts": "warning denied_abort"}, action: "s3:AbortMultipartUpload"},
		{
			missing: []string{"put", "get", "list", "delete"},
			want: map[string]string{
				"bucket": "warning nothing_allowed", "list": "failed denied_list", "put": "failed denied_put", "delete": "failed denied_delete",
			},
		},
	} {
		t.Run("without "+strings.Join(test.missing, ", "), func(t *testing.T) {
			bucket := newBucket(t)
			report := open(t, userAccess(test.missing...), quick()).Check(t.Context(), storage.CheckConfig{Bucket: bucket, Prefix: checkedPrefix})
			expectResults(t, report, test.want)
			for _, p := range report.Probes {
				if p.Statement == nil || test.action == "" {
					continue
				}
				var statement struct{ Action, Resource string }
				if err := json.Unmarshal(p.Statement.Add, &statement); err != nil {
					t.Fatalf("statement %s: %v", p.Statement.Add, err)
				}
				if statement.Action != test.action || !strings.Contains(statement.Resource, bucket) {
					t.Errorf("%s: statement %s, want one for %s", p.Name, p.Statement.Add, test.action)
				}
			}
			if got := len(report.Left) > 0; got != test.left {
				t.Errorf("left behind: %q, want any: %v", report.Left, test.left)
			}
			if !test.left {
				expectClean(t, bucket)
			}
		})
	}
}

func TestCheckOfRoleChain(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*testing.T, *storage.Access, *storage.Config)
		want   map[string]string
		says   string // in a statement
	}{
		{name: "two hops and an external id"},
		{
			name:   "wrong external id",
			change: func(_ *testing.T, a *storage.Access, _ *storage.Config) { a.ExternalID = "another" },
			want:   map[string]string{"customer role": "failed role_denied_with_external_id"}, says: `"sts:ExternalId":"another"`,
		},
		{
			name:   "no external id",
			change: func(_ *testing.T, a *storage.Access, _ *storage.Config) { a.ExternalID = "" },
			want:   map[string]string{"customer role": "failed role_denied_without_external_id"}, says: fleetRoleARN,
		},
		{
			name:   "external id that nobody demands",
			change: func(_ *testing.T, a *storage.Access, _ *storage.Config) { a.AssumeRoleARN = openRoleARN },
			want:   map[string]string{"external id": "warning external_id_not_demanded"}, says: `"sts:ExternalId":"` + externalID + `"`,
		},
		{
			name:   "customer's role does not trust the fleet's user",
			change: func(_ *testing.T, _ *storage.Access, c *storage.Config) { c.FleetRoleARN = "" },
			want:   map[string]string{"customer role": "failed role_denied_with_external_id"}, says: fleetUserARN,
		},
		{
			name:   "fleet role does not exist",
			change: func(_ *testing.T, _ *storage.Access, c *storage.Config) { c.FleetRoleARN += "x" },
			want:   map[string]string{"fleet role": "failed role_denied"}, says: fleetUserARN,
		},
		{
			name:   "fleet's secret is wrong",
			change: func(t *testing.T, _ *storage.Access, _ *storage.Config) { t.Setenv("AWS_SECRET_ACCESS_KEY", "wrong") },
			want:   map[string]string{"own credentials": "failed wrong_secret"},
		},
		{
			name: "fleet has no credentials",
			change: func(t *testing.T, _ *storage.Access, _ *storage.Config) {
				t.Setenv("AWS_ACCESS_KEY_ID", "")
				t.Setenv("AWS_SECRET_ACCESS_KEY", "")
			},
			want: map[string]string{"own credentials": "failed own_credentials"},
		},
		{
			name:   "STS is away",
			change: func(_ *testing.T, _ *storage.Access, c *storage.Config) { c.STSEndpoint = "http://127.0.0.1:1" },
			want:   map[string]string{"own credentials": "failed endpoint_down"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			fleetEnvironment(t)
			a, cfg, bucket := chainAccess(), quick(), newBucket(t)
			cfg.FleetRoleARN, cfg.STSEndpoint = fleetRoleARN, server.Endpoint()
			if test.change != nil {
				test.change(t, &a, &cfg)
			}
			report := open(t, a, cfg).Check(t.Context(), storage.CheckConfig{Bucket: bucket, Prefix: checkedPrefix})
			expectResults(t, report, test.want)
			said := ""
			for _, p := range report.Probes {
				if p.Statement != nil {
					said += string(p.Statement.Add)
				}
			}
			if !strings.Contains(said, test.says) {
				t.Errorf("statements %s do not say %s", said, test.says)
			}
			if test.want == nil {
				if want := "arn:aws:sts::111111111111:assumed-role/acme-loads/loadfleet-acme"; report.Caller != want {
					t.Errorf("caller %q, want %q", report.Caller, want)
				}
			}
			expectClean(t, bucket)
		})
	}
}

// TestCheckCleansUpWhenInterrupted ends the context after each of the
// requests that a check makes.
func TestCheckCleansUpWhenInterrupted(t *testing.T) {
	for _, op := range []storagetest.Operation{
		storagetest.PutObject, storagetest.GetObject, storagetest.CopyPart, storagetest.CreateUpload, storagetest.UploadPart,
		storagetest.CompleteUpload, storagetest.AbortUpload, storagetest.DeleteObject,
	} {
		t.Run(string(op), func(t *testing.T) {
			proxy := storagetest.NewProxy(t, server.Endpoint(), false)
			proxy.Inject(op, storagetest.NeverReplies, 1)
			a, bucket := rootAccess(), newBucket(t)
			a.Endpoint = proxy.Endpoint()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			reports := make(chan *storage.Report)
			s := open(t, a, quick())
			go func() { reports <- s.Check(ctx, storage.CheckConfig{Bucket: bucket, Prefix: checkedPrefix}) }()
			proxy.AwaitHeld(t)
			cancel()
			report := <-reports
			if report.Passed() {
				t.Error("an interrupted check passed")
			}
			if len(report.Left) > 0 {
				t.Errorf("left behind: %q", report.Left)
			}
			if last := report.Probes[len(report.Probes)-1]; last.Name != storage.ProbeNothingLeft || last.Result != storage.OK {
				t.Errorf("last probe: %+v", last)
			}
			expectClean(t, bucket)
		})
	}
}

func TestCheckTellsClockSkew(t *testing.T) {
	for _, test := range []struct {
		name  string
		ahead time.Duration
		want  map[string]string
	}{
		{name: "seconds", ahead: 30 * time.Second},
		{name: "minutes", ahead: -8 * time.Minute, want: map[string]string{"clock": "warning clock_skew"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			proxy := storagetest.NewProxy(t, server.Endpoint(), false)
			proxy.SetClock(func() time.Time { return time.Now().Add(test.ahead) })
			a := rootAccess()
			a.Endpoint = proxy.Endpoint()
			report := open(t, a, quick()).Check(t.Context(), storage.CheckConfig{Bucket: newBucket(t), Prefix: checkedPrefix})
			expectResults(t, report, test.want)
		})
	}
}

func TestCheckWithoutConnection(t *testing.T) {
	secure := storagetest.NewProxy(t, server.Endpoint(), true)
	for _, test := range []struct{ name, endpoint, want string }{
		{"nobody listens", "http://127.0.0.1:1", "failed endpoint_down"},
		{"name does not resolve", "http://store.invalid", "failed dns"},
		{"certificate of nobody", secure.Endpoint(), "failed tls"},
		{"TLS to a plain port", strings.Replace(server.Endpoint(), "http:", "https:", 1), "failed tls"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := rootAccess()
			a.Endpoint = test.endpoint
			report := open(t, a, quick()).Check(t.Context(), storage.CheckConfig{Bucket: "acme", Prefix: checkedPrefix})
			expectResults(t, report, map[string]string{"endpoint": test.want})
			for _, p := range report.Probes {
				if p.Name != storage.ProbeEndpoint && p.Result != storage.Skipped {
					t.Errorf("%s: %s, want it skipped", p.Name, p.Result)
				}
			}
		})
	}
}

// TestCheckTellsTheCaller asks STS who a user's keys belong to, where the
// store has STS.
func TestCheckTellsTheCaller(t *testing.T) {
	cfg := quick()
	cfg.STSEndpoint = server.Endpoint()
	report := open(t, userAccess("put"), cfg).Check(t.Context(), storage.CheckConfig{Bucket: newBucket(t), Prefix: checkedPrefix})
	expectResults(t, report, map[string]string{"put": "failed denied_put"})
	const want = "arn:aws:iam::111111111111:user/check-put"
	if report.Caller != want {
		t.Errorf("caller %q, want %q", report.Caller, want)
	}
	for _, p := range report.Probes {
		if p.Statement != nil && p.Statement.Where != "the permissions of "+want {
			t.Errorf("add to %q, want the permissions of %s", p.Statement.Where, want)
		}
	}
}

// TestCheckKeys has every key begin with the prefix, and its last segment
// with a dot.
func TestCheckKeys(t *testing.T) {
	for _, prefix := range []string{"", "a/", "a/ads_", "a/b/year="} {
		proxy := storagetest.NewProxy(t, server.Endpoint(), false)
		a, bucket := rootAccess(), newBucket(t)
		a.Endpoint = proxy.Endpoint()
		report := open(t, a, quick()).Check(t.Context(), storage.CheckConfig{Bucket: bucket, Prefix: prefix})
		expectResults(t, report, nil)
		for _, r := range proxy.Requests(storagetest.PutObject) {
			key := strings.TrimPrefix(r.Path, "/"+bucket+"/")
			key = strings.ReplaceAll(key, "%3D", "=")
			if !strings.HasPrefix(key, prefix) || !strings.HasPrefix(key[strings.LastIndex(key, "/")+1:], ".loadfleet-check-") {
				t.Errorf("prefix %q: key %q", prefix, key)
			}
		}
		expectClean(t, bucket)
	}
}
