package storage_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/loadfleet/loadfleet/storage"
)

// versions makes a bucket answer as one that keeps versions, which the server
// here does not: each put and delete has a version id, and a version is
// removed by that id.
type versions struct {
	forward *httputil.ReverseProxy
	denied  bool // versions may not be removed

	mu   sync.Mutex
	kept map[string]bool
}

func keepVersions(t *testing.T, denied bool) (*versions, string) {
	t.Helper()
	upstream, err := url.Parse(server.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	v := &versions{denied: denied, kept: map[string]bool{}}
	v.forward = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(upstream)
			r.Out.Host = r.In.Host // as it was signed
		},
		ModifyResponse: v.answer,
	}
	s := httptest.NewServer(v)
	t.Cleanup(s.Close)
	return v, s.URL
}

func (v *versions) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("versionId")
	switch {
	case r.Method != http.MethodDelete || id == "":
		v.forward.ServeHTTP(w, r)
	case v.denied:
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `<Error><Code>AccessDenied</Code><Message>no s3:DeleteObjectVersion</Message></Error>`)
	default:
		v.mu.Lock()
		delete(v.kept, id)
		v.mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	}
}

func (v *versions) answer(r *http.Response) error {
	part := r.Request.URL.Query().Has("uploadId")
	if r.StatusCode >= 300 || part || (r.Request.Method != http.MethodPut && r.Request.Method != http.MethodDelete) {
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	id := fmt.Sprintf("v%d", len(v.kept)+1)
	v.kept[id] = true
	r.Header.Set("X-Amz-Version-Id", id)
	if r.Request.Method == http.MethodDelete {
		r.Header.Set("X-Amz-Delete-Marker", "true")
	}
	return nil
}

// TestCheckWhereVersionsAreKept removes every version and delete marker that
// it made, and says what stays when it may not.
func TestCheckWhereVersionsAreKept(t *testing.T) {
	for _, denied := range []bool{false, true} {
		v, endpoint := keepVersions(t, denied)
		a, bucket := rootAccess(), newBucket(t)
		a.Endpoint = endpoint
		report := open(t, a, quick()).Check(t.Context(), storage.CheckConfig{Bucket: bucket, Prefix: checkedPrefix})
		want := map[string]string{}
		if denied {
			want["nothing left"] = "warning left_behind"
			if len(report.Left) != 1 || !strings.Contains(report.Left[0], fmt.Sprintf("%d old versions", len(v.kept))) {
				t.Errorf("left %q, want a word on %d versions", report.Left, len(v.kept))
			}
		} else if len(v.kept) > 0 {
			t.Errorf("versions left: %v", maps.Clone(v.kept))
		}
		if diff := cmp.Diff(want, results(report)); diff != "" {
			t.Errorf("denied %v: probes (-want +got):\n%s", denied, diff)
		}
	}
}
