package storage_test

import (
	"fmt"
	"testing"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/storage"
	"github.com/loadfleet/loadfleet/storage/storagetest"
)

// noFiles is a resolver for documents that refer to nothing.
type noFiles struct{}

func (noFiles) Env(string) (string, bool) { return "", false }

func (noFiles) File(path string) ([]byte, error) { return nil, fmt.Errorf("no file %s", path) }

func TestOpenDestination(t *testing.T) {
	bucket := newBucket(t)
	settings, err := destination.Parse(fmt.Appendf(nil, `
id: acme
title: Acme
connection_option: access_keys
access_key_id: %s
secret_access_key: %s
region: eu-central-1
bucket: %s
endpoint: %s
path_style: true
folder: /
file_format: csv
file_name: "{{filename}}"
separator: comma
partition_by: day
encryption: sse-kms-customer
encryption_key: %s
load_by_account: false
`, rootKey, rootSecret, bucket, server.Endpoint(), keyARN), noFiles{})
	if err != nil {
		t.Fatalf("parse: %v", err)
	}
	s, err := storage.OpenDestination(t.Context(), settings, quick())
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(s.Close)
	o := storagetest.NewObject("acme.csv", "acme", small)
	stored := storagetest.Put(t, s, settings.Bucket, o, storage.IfAbsent())
	if stored.Encryption.KeyID != keyARN {
		t.Errorf("encryption: %+v, want key %s", stored.Encryption, keyARN)
	}
	storagetest.Expect(t, s, settings.Bucket, o)
}
