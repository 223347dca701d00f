package storage_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/loadfleet/loadfleet/storage"
)

// A stage signs with the process's own credentials, reads what was put, and
// takes up a download where it broke off.
func TestStage(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", rootAccess().AccessKeyID)
	t.Setenv("AWS_SECRET_ACCESS_KEY", rootAccess().SecretAccessKey)
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	// A server whose every download breaks off after a megabyte, and that can
	// change the file meanwhile.
	target, err := url.Parse(server.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	const most = 1 << 20
	bucket := newBucket(t)
	var gets atomic.Int64
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // as it was signed
	}}
	proxy.ModifyResponse = func(r *http.Response) error {
		if r.Request.Method == http.MethodGet && r.ContentLength > most {
			gets.Add(1)
			r.Body = io.NopCloser(io.LimitReader(r.Body, most))
		}
		return nil
	}
	proxy.ErrorLog = nil
	cutting := httptest.NewServer(proxy)
	defer cutting.Close()

	stage, err := storage.OpenStage(t.Context(), storage.StageAccess{
		Bucket: bucket, Prefix: "/staged/", Region: rootAccess().Region, Endpoint: cutting.URL,
	}, quick())
	if err != nil {
		t.Fatal(err)
	}
	defer stage.Close()
	if _, err := stage.Open(t.Context(), "ws/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: got %v, want ErrNotExist", err)
	}
	body := bytes.Repeat([]byte("0123456789abcdef"), 3*most/16+7)
	put := func(body []byte) {
		if err := stage.Put(t.Context(), "ws/e/1.csv", bytes.NewReader(body), int64(len(body)), sha256.Sum256(body)); err != nil {
			t.Fatal(err)
		}
	}
	put([]byte("an earlier one"))
	put(body)
	r, err := stage.Open(t.Context(), "ws/e/1.csv")
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, body) {
		t.Errorf("got %d bytes, %v, want %d", len(got), err, len(body))
	}
	if n := gets.Load(); n < 3 {
		t.Errorf("the download broke off %d times, want 3: the test shows nothing", n)
	}

	// Another file of that name is not taken for the rest of this one.
	r, err = stage.Open(t.Context(), "ws/e/1.csv")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	put(bytes.Repeat([]byte("fedcba9876543210"), 3*most/16+7))
	if _, err := io.ReadAll(r); !errors.Is(err, storage.ErrPrecondition) {
		t.Errorf("a file that was replaced meanwhile: got %v, want ErrPrecondition", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}
