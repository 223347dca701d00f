package quiet

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// multipart serves the requests of an upload in parts. The sum that stands for
// the object is that of its parts' sums: the parts themselves are gone.
func (e *Endpoint) multipart(w http.ResponseWriter, r *http.Request, key string, content []byte, sum [sha256.Size]byte) error {
	query := r.URL.Query()
	id := query.Get("uploadId")
	e.mu.Lock()
	defer e.mu.Unlock()
	if r.Method == http.MethodPost && query.Has("uploads") {
		e.next++
		id = fmt.Sprintf("upload-%d", e.next)
		e.uploads[id] = &upload{key: key, meta: kept(r.Header), parts: map[string]part{}}
		bucket, name, _ := strings.Cut(key, "/")
		return xml.NewEncoder(w).Encode(struct {
			XMLName  xml.Name `xml:"InitiateMultipartUploadResult"`
			Bucket   string
			Key      string
			UploadID string `xml:"UploadId"`
		}{Bucket: bucket, Key: name, UploadID: id})
	}
	up := e.uploads[id]
	if up == nil || up.key != key {
		return &refusal{http.StatusNotFound, "NoSuchUpload", id}
	}
	switch r.Method {
	case http.MethodPut:
		etag := `"` + hex.EncodeToString(sum[:16]) + `"`
		up.parts[query.Get("partNumber")] = part{etag, sum, int64(len(content))}
		w.Header().Set("ETag", etag)
		encryption(w.Header(), up.meta)
		return nil
	case http.MethodDelete:
		delete(e.uploads, id)
		w.WriteHeader(http.StatusNoContent)
		return nil
	case http.MethodPost:
		return e.complete(w, r, id, up, content)
	}
	return &refusal{http.StatusMethodNotAllowed, "MethodNotAllowed", r.Method}
}

func (e *Endpoint) complete(w http.ResponseWriter, r *http.Request, id string, up *upload, content []byte) error {
	var asked struct {
		Part []struct {
			ETag       string
			PartNumber string
		}
	}
	if err := xml.Unmarshal(content, &asked); err != nil {
		return &refusal{http.StatusBadRequest, "MalformedXML", err.Error()}
	}
	if err := condition(r.Header, e.objects[up.key]); err != nil {
		return err
	}
	o := &object{meta: up.meta, began: time.Now()}
	all := sha256.New()
	for _, p := range asked.Part {
		sent, ok := up.parts[p.PartNumber]
		if !ok || strings.Trim(p.ETag, `"`) != strings.Trim(sent.etag, `"`) {
			return &refusal{http.StatusBadRequest, "InvalidPart", p.PartNumber}
		}
		all.Write(sent.sum[:])
		o.size += sent.size
	}
	all.Sum(o.sum[:0])
	o.etag = fmt.Sprintf(`"%s-%d"`, hex.EncodeToString(o.sum[:16]), len(asked.Part))
	e.objects[up.key] = o
	delete(e.uploads, id)
	encryption(w.Header(), up.meta)
	bucket, name, _ := strings.Cut(up.key, "/")
	return xml.NewEncoder(w).Encode(struct {
		XMLName xml.Name `xml:"CompleteMultipartUploadResult"`
		Bucket  string
		Key     string
		ETag    string
	}{Bucket: bucket, Key: name, ETag: o.etag})
}
