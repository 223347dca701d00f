package destination

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// Resolver looks up what env:NAME and file:PATH name. Where documents come from
// people who must not read the process's environment and files, pass nil: then
// such references are mistakes.
type Resolver interface {
	Env(name string) (value string, ok bool)
	File(path string) ([]byte, error)
}

// OSResolver reads the environment and files of this process.
func OSResolver() Resolver { return osResolver{} }

type osResolver struct{}

func (osResolver) Env(name string) (string, bool) { return os.LookupEnv(name) }

func (osResolver) File(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err == nil && len(b) > maxSecretFile {
		err = fmt.Errorf("longer than %d bytes", maxSecretFile)
	}
	return b, err
}

const maxSecretFile = 16 << 10

// resolve gives the text that a value names, or the value itself. A file's
// trailing line break is not part of the text. The error repeats the reference,
// never what stands behind it.
func resolve(value string, env Resolver) (string, error) {
	name, isEnv := strings.CutPrefix(value, "env:")
	path, isFile := strings.CutPrefix(value, "file:")
	switch {
	case !isEnv && !isFile:
		return value, nil
	case env == nil:
		return "", errors.New("env: and file: are not looked up here")
	case isEnv:
		v, ok := env.Env(name)
		if !ok || v == "" {
			return "", fmt.Errorf("the environment variable %s is not set", shown(name))
		}
		return v, nil
	}
	b, err := env.File(path)
	if err != nil {
		var failed *os.PathError
		if errors.As(err, &failed) {
			err = failed.Err
		}
		return "", fmt.Errorf("cannot read the file %s: %w", shown(path), err)
	}
	v := strings.TrimRight(string(b), "\r\n")
	if v == "" {
		return "", fmt.Errorf("the file %s is empty", shown(path))
	}
	return v, nil
}
