package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// StageAccess says where the fleet's own stage of extractors' files is. It holds
// no credentials: they are the process's own, of its environment, profile or
// machine, as the AWS command line finds them.
type StageAccess struct {
	Bucket   string
	Prefix   string // of every key, with or without its last slash; "" is the root
	Region   string // "" is the process's own, else us-east-1
	Endpoint string // of an S3-compatible store, addressed by path; "" is the process's own, else AWS
}

// Stage reads and writes the files of staged extractions in a bucket of the
// fleet's. It is safe for concurrent use.
type Stage struct {
	store          *Store
	bucket, prefix string
}

// OpenStage prepares a stage. It makes no request.
func OpenStage(ctx context.Context, a StageAccess, cfg Config) (*Stage, error) {
	if a.Bucket == "" {
		return nil, &Error{Op: "open", Err: fmt.Errorf("%w: a stage needs a bucket", ErrInvalid)}
	}
	store, err := Open(ctx, Access{
		Destination: "stage", ConnectionOption: optionOwn, Region: a.Region, Endpoint: a.Endpoint, PathStyle: a.Endpoint != "",
		Encryption: "none", Checksum: true,
	}, cfg)
	if err != nil {
		return nil, err
	}
	prefix := strings.Trim(a.Prefix, "/")
	if prefix != "" {
		prefix += "/"
	}
	return &Stage{store: store, bucket: a.Bucket, prefix: prefix}, nil
}

// Close releases idle connections.
func (s *Stage) Close() { s.store.Close() }

// Put stores a file, over one of the same name: an extractor that begins again
// puts the same one.
func (s *Stage) Put(ctx context.Context, name string, body io.ReaderAt, size int64, sum [32]byte) error {
	_, err := s.store.Put(ctx, s.bucket, Object{Key: s.prefix + name, Body: body, Size: size, SHA256: sum}, Always())
	return err
}

// Open opens a file for reading from its start to its end; the error wraps
// [fs.ErrNotExist] when there is none. A download that breaks off is taken up
// where it broke, as long as the file is the same. The caller closes it.
func (s *Stage) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	f := &stagedFile{ctx: ctx, stage: s, key: s.prefix + name}
	if err := f.open(); err != nil {
		if errors.Is(err, ErrNotFound) {
			return nil, fmt.Errorf("%w: %w", fs.ErrNotExist, err)
		}
		return nil, err
	}
	return f, nil
}

// stagedFile is a download that survives its connections.
type stagedFile struct {
	ctx   context.Context
	stage *Stage
	key   string
	etag  string // of what was opened first
	at    int64  // bytes that were read
	tries int    // in a row that gave nothing
	body  io.ReadCloser
}

func (f *stagedFile) open() error {
	s := f.stage.store
	in := &s3.GetObjectInput{Bucket: &f.stage.bucket, Key: &f.key}
	if f.at > 0 {
		from := fmt.Sprintf("bytes=%d-", f.at)
		in.Range, in.IfMatch = &from, &f.etag
	}
	out, err := call(f.ctx, s, in, s.client.GetObject)
	if err != nil {
		return s.failure(f.ctx, "get", f.stage.bucket, f.key, err)
	}
	f.body, f.etag = out.Body, deref(out.ETag)
	return nil
}

func (f *stagedFile) Read(p []byte) (int, error) {
	for {
		n, err := f.body.Read(p)
		f.at += int64(n)
		if n > 0 {
			f.tries = 0
		}
		if err == nil || errors.Is(err, io.EOF) || n > 0 {
			if n > 0 && !errors.Is(err, io.EOF) {
				err = nil // it comes again with the next call
			}
			return n, err
		}
		if f.tries++; f.tries > sdkAttempts || f.ctx.Err() != nil {
			return 0, f.stage.store.failure(f.ctx, "get", f.stage.bucket, f.key, err)
		}
		_ = f.body.Close() // it is broken
		if err := f.open(); err != nil {
			f.body = io.NopCloser(strings.NewReader(""))
			return 0, err
		}
	}
}

func (f *stagedFile) Close() error { return f.body.Close() }
