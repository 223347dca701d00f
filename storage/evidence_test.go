package storage_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/storage"
	"github.com/loadfleet/loadfleet/storage/storagetest"
)

// awsCommand runs the AWS command line as the root user of the server: a
// reader that shares no code with us.
func awsCommand(t *testing.T, args ...string) ([]byte, error) {
	t.Helper()
	path, err := exec.LookPath("aws")
	if err != nil {
		t.Fatal("the AWS command line is missing, which this test reads buckets with: `make setup` installs it")
	}
	c := exec.CommandContext(t.Context(), path, append([]string{"--endpoint-url", server.Endpoint(), "--output", "json"}, args...)...)
	c.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID="+rootKey, "AWS_SECRET_ACCESS_KEY="+rootSecret, "AWS_SESSION_TOKEN=",
		"AWS_DEFAULT_REGION=eu-central-1", "AWS_EC2_METADATA_DISABLED=true")
	out, err := c.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		err = fmt.Errorf("aws %s: %w: %s", strings.Join(args, " "), err, exit.Stderr)
	}
	return out, err
}

// cell is one "yes" of the matrix of SPEC 3.
type cell struct {
	option     destination.ConnectionOption
	encryption destination.Encryption
}

func cells() []cell {
	var out []cell
	for _, option := range destination.ConnectionOptions() {
		for _, encryption := range destination.Encryptions() {
			if destination.Allowed(option, encryption) {
				out = append(out, cell{option, encryption})
			}
		}
	}
	return out
}

// document is a destination of the cell, as a customer would write it.
func (c cell) document(bucket, endpoint string) []byte {
	doc := fmt.Sprintf("id: acme\ntitle: Acme\nconnection_option: %s\nregion: eu-central-1\nbucket: %s\nbucket_owner: %q\nendpoint: %s\npath_style: true\n"+
		"folder: /exports/{{workspace_id}}\nfile_format: csv\nfile_name: \"{{filename}}\"\npartition_by: day\nload_by_account: false\nencryption: %s\n",
		c.option, bucket, accountID, endpoint, c.encryption)
	switch c.option {
	case destination.AccessKeys:
		doc += fmt.Sprintf("access_key_id: %s\nsecret_access_key: check-secret\n", checkKey(nil))
	case destination.SharedAccount, destination.CanonicalID:
		doc += fmt.Sprintf("access_key_id: %s\nsecret_access_key: %s\n", fleetKey, fleetSecret)
	case destination.RoleChain:
		doc += fmt.Sprintf("assume_role_arn: %s\nexternal_id: %s\n", customerARN, externalID)
	}
	if c.encryption == destination.SSEKMSCustomer {
		doc += "encryption_key: " + sharedKey + "\n"
	}
	return []byte(doc)
}

// admitFleet gives the fleet's user, of another account, the bucket.
func admitFleet(t *testing.T, bucket string) {
	t.Helper()
	policy := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[
{"Effect":"Allow","Principal":{"AWS":%q},"Action":["s3:GetObject","s3:PutObject","s3:DeleteObject","s3:AbortMultipartUpload"],"Resource":"arn:aws:s3:::%s/exports/*"},
{"Effect":"Allow","Principal":{"AWS":%q},"Action":"s3:ListBucket","Resource":"arn:aws:s3:::%s"}]}`, fleetUserARN, bucket, fleetUserARN, bucket)
	if _, err := awsCommand(t, "s3api", "put-bucket-policy", "--bucket", bucket, "--policy", policy); err != nil {
		t.Fatal(err)
	}
}

// headers are what the AWS command line reads of an object.
type headers struct {
	ServerSideEncryption string
	SSEKMSKeyId          string
	BucketKeyEnabled     bool
	ContentLength        int64
	Metadata             map[string]string
}

// TestEveryOptionWithEveryEncryption loads each cell's objects, whole and in
// parts, has the AWS command line read back how they are encrypted, and checks
// the connection.
func TestEveryOptionWithEveryEncryption(t *testing.T) {
	fleetEnvironment(t)
	cfg := quick()
	cfg.FleetRoleARN, cfg.STSEndpoint = fleetRoleARN, server.Endpoint()
	var reads errgroup.Group
	reads.SetLimit(4)
	bucket := newBucket(t)
	admitFleet(t, bucket)
	for _, c := range cells() {
		name := fmt.Sprintf("%s, %s", c.option, c.encryption)
		proxy := storagetest.NewProxy(t, server.Endpoint(), false)
		settings, err := destination.Parse(c.document(bucket, proxy.Endpoint()), noFiles{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		s, err := storage.OpenDestination(t.Context(), settings, cfg)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		t.Cleanup(s.Close)
		for _, size := range []int{small, large} {
			o := storagetest.NewObject(fmt.Sprintf("exports/ws1/%s/%s/%d.csv", c.option, c.encryption, size), name, size)
			storagetest.Put(t, s, bucket, o, storage.IfAbsent())
			if size == large && c.option != destination.AccessKeys {
				continue // what goes out in parts is compared by expectSent; reading takes a second each
			}
			reads.Go(func() error {
				out, err := awsCommand(t, "s3api", "head-object", "--bucket", bucket, "--key", o.Key, "--expected-bucket-owner", accountID)
				if err != nil {
					return err
				}
				var got headers
				if err := json.Unmarshal(out, &got); err != nil {
					return err
				}
				if load := got.Metadata["loadfleet-load"]; load != o.Meta.Load {
					return fmt.Errorf("%s: metadata of load %q, want %q", name, load, o.Meta.Load)
				}
				got.Metadata = nil
				if diff := cmp.Diff(c.stored(o.Size), got); diff != "" {
					return fmt.Errorf("%s, %d bytes (-want +got):\n%s", name, o.Size, diff)
				}
				return nil
			})
		}
		expectSent(t, name, c, proxy)
		report := s.Check(t.Context(), storage.CheckConfig{Bucket: bucket, Prefix: "exports/"})
		expectResults(t, report, nil)
	}
	if err := reads.Wait(); err != nil {
		t.Error(err)
	}
}

// stored is how the cell's objects are encrypted.
func (c cell) stored(size int64) headers {
	h := headers{ServerSideEncryption: "AES256", ContentLength: size} // S3's default, also when nothing is asked
	switch c.encryption {
	case destination.SSEKMS:
		h.ServerSideEncryption, h.SSEKMSKeyId, h.BucketKeyEnabled = "aws:kms", "arn:aws:kms:eu-central-1:111111111111:key/aws-s3", true
	case destination.SSEKMSCustomer:
		h.ServerSideEncryption, h.SSEKMSKeyId, h.BucketKeyEnabled = "aws:kms", sharedKey, true
	}
	return h
}

// expectSent looks at the recorded requests for what no server here enforces:
// the ACL that gives objects to the bucket's owner goes with options 2 and 3
// and with no other. The server has checked the requests' signatures.
func expectSent(t *testing.T, name string, c cell, proxy *storagetest.Proxy) {
	t.Helper()
	want := ""
	if c.option == destination.SharedAccount || c.option == destination.CanonicalID {
		want = "bucket-owner-full-control"
	}
	sent := slices.Concat(proxy.Requests(storagetest.PutObject), proxy.Requests(storagetest.CreateUpload))
	if len(sent) < 2 {
		t.Fatalf("%s: %d uploads recorded, want two", name, len(sent))
	}
	for _, r := range sent {
		for header := range r.Header {
			encryption := strings.HasPrefix(header, "X-Amz-Server-Side-Encryption")
			if encryption && r.Header.Get(header) != sent[0].Header.Get(header) {
				t.Errorf("%s: %s with %s: %q, want %q as in the put", name, r.Operation, header, r.Header.Get(header), sent[0].Header.Get(header))
			}
		}
		if got := r.Header.Get("X-Amz-Acl"); got != want {
			t.Errorf("%s: %s with ACL %q, want %q", name, r.Operation, got, want)
		}
		if signed := r.Header.Get("Authorization"); want != "" && !strings.Contains(signed, "x-amz-acl") {
			t.Errorf("%s: the ACL is not signed: %s", name, signed)
		}
	}
}

// TestACLAndEncryptionAreSigned: a header that is not signed could be changed
// on its way.
func TestACLAndEncryptionAreSigned(t *testing.T) {
	proxy := storagetest.NewProxy(t, server.Endpoint(), false)
	a := rootAccess()
	a.Endpoint, a.Encryption, a.EncryptionKey, a.BucketKey = proxy.Endpoint(), "sse-kms-customer", keyARN, true
	a.ACL, a.BucketOwner = "bucket-owner-full-control", accountID
	s, bucket := open(t, a, quick()), newBucket(t)
	for _, size := range []int{small, large} {
		storagetest.Put(t, s, bucket, storagetest.NewObject("signed.csv", "x", size), storage.Always())
	}
	for _, op := range []storagetest.Operation{storagetest.PutObject, storagetest.CreateUpload} {
		for _, r := range proxy.Requests(op) {
			for _, name := range []string{
				"x-amz-acl", "x-amz-expected-bucket-owner", "x-amz-server-side-encryption",
				"x-amz-server-side-encryption-aws-kms-key-id", "x-amz-server-side-encryption-bucket-key-enabled", "x-amz-meta-loadfleet-load",
			} {
				if r.Header.Get(name) == "" || !strings.Contains(r.Header.Get("Authorization"), name) {
					t.Errorf("%s: %s is %q and signed are %s", op, name, r.Header.Get(name), r.Header.Get("Authorization"))
				}
			}
		}
	}
}
