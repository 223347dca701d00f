package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/loadfleet/loadfleet/dispatcher"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/storage"
)

// staging is where staged files are put and read. Every name begins with the
// workspace's folder.
type staging interface {
	dispatcher.Stage
	put(ctx context.Context, name string, file io.ReaderAt, size int64, sum [32]byte) error
	close() error
}

const stageHelp = `where staged extractions' files are: s3://BUCKET/PREFIX (with ?region=R and ?endpoint=URL where needed; signed with the
process's own AWS credentials), a directory, or "nats" for an object store of JetStream; default: none`

// openStage opens what --stage-url says.
func openStage(ctx context.Context, where string, q *queue.Queue) (staging, error) {
	if where == "nats" {
		opened, err := q.OpenStage(ctx)
		return natsStage{opened}, err
	}
	if !strings.HasPrefix(where, "s3://") {
		return openFolderStage(where)
	}
	u, err := url.Parse(where)
	if err != nil {
		return nil, usage(fmt.Errorf("--stage-url: %w", err))
	}
	options := u.Query()
	for name := range options {
		if name != "region" && name != "endpoint" {
			return nil, usage(fmt.Errorf("--stage-url: %q is no option of s3: write region or endpoint", name))
		}
	}
	opened, err := storage.OpenStage(ctx, storage.StageAccess{
		Bucket: u.Host, Prefix: u.Path, Region: options.Get("region"), Endpoint: options.Get("endpoint"),
	}, storage.Config{})
	if err != nil {
		return nil, usage(fmt.Errorf("--stage-url: %w", err))
	}
	return s3Stage{opened}, nil
}

type s3Stage struct{ *storage.Stage }

func (s s3Stage) put(ctx context.Context, name string, file io.ReaderAt, size int64, sum [32]byte) error {
	return s.Put(ctx, name, file, size, sum)
}

func (s s3Stage) close() error {
	s.Close()
	return nil
}

type natsStage struct{ *queue.Stage }

func (s natsStage) put(ctx context.Context, name string, file io.ReaderAt, size int64, _ [32]byte) error {
	return s.Put(ctx, name, io.NewSectionReader(file, 0, size))
}

func (natsStage) close() error { return nil }

// folderStage is a directory with a folder per workspace. No link in it leads
// out of the workspace's folder.
type folderStage struct{ root *os.Root }

func openFolderStage(dir string) (staging, error) {
	dir, err := filepath.Abs(strings.TrimPrefix(dir, "file://")) // the embedded S3 server changes the working directory
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	var root *os.Root
	if err == nil {
		root, err = os.OpenRoot(dir)
	}
	if err != nil {
		return nil, usage(fmt.Errorf("--stage-url: %w", err))
	}
	return folderStage{root}, nil
}

// of opens the folder of the workspace that a name begins with.
func (s folderStage) of(name string) (folder *os.Root, rest string, err error) {
	workspace, rest, _ := strings.Cut(name, "/")
	folder, err = s.root.OpenRoot(workspace)
	return folder, filepath.FromSlash(rest), err
}

func (s folderStage) Open(_ context.Context, name string) (io.ReadCloser, error) {
	folder, rest, err := s.of(name)
	if err != nil {
		return nil, err
	}
	file, err := folder.Open(rest)
	return file, errors.Join(err, folder.Close())
}

func (s folderStage) put(_ context.Context, name string, file io.ReaderAt, size int64, _ [32]byte) (err error) {
	workspace, _, _ := strings.Cut(name, "/")
	if err := s.root.MkdirAll(workspace, 0o700); err != nil {
		return err
	}
	folder, rest, err := s.of(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, folder.Close()) }()
	if err := folder.MkdirAll(filepath.Dir(rest), 0o700); err != nil {
		return err
	}
	part := rest + ".part" // a dispatcher sees the whole file or none
	out, err := folder.Create(part)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, io.NewSectionReader(file, 0, size))
	if err := errors.Join(err, out.Sync(), out.Close()); err != nil {
		return err
	}
	return folder.Rename(part, rest)
}

func (s folderStage) close() error { return s.root.Close() }

// fileSum is a file's length and hash.
func fileSum(file io.ReaderAt) (size int64, sum [32]byte, err error) {
	hash := sha256.New()
	size, err = io.Copy(hash, io.NewSectionReader(file, 0, 1<<62))
	return size, [32]byte(hash.Sum(nil)), err
}
