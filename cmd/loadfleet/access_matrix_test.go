package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/destination"
	natsserver "github.com/loadfleet/loadfleet/queue/embedded"
	s3server "github.com/loadfleet/loadfleet/storage/embedded"
)

const (
	matrixKey     = "arn:aws:kms:eu-central-1:111111111111:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	matrixRole    = "arn:aws:iam::111111111111:role/acme-loads"
	matrixFleet   = "arn:aws:iam::333333333333:role/loadfleet"
	matrixUser    = "arn:aws:iam::333333333333:user/fleet"
	matrixOwner   = "111111111111"
	matrixRootKey = "AKIAMATRIXROOT"
)

// documented is a command of the page with what it must say.
type documented struct {
	line    int
	command string
	exit    int
	says    string
}

// readCommands reads the rows whose header has the columns command, exit and
// says.
func readCommands(t *testing.T, path string) []documented {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var out []documented
	columns := map[string]int{}
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.ReplaceAll(lines.Text(), `\|`, "\x00")
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(strings.ReplaceAll(cells[i], "\x00", "|"))
		}
		if cells[len(cells)-1] == "says" {
			columns = map[string]int{}
			for i, name := range cells {
				columns[name] = i
			}
			continue
		}
		exit, err := strconv.Atoi(cells[columns["exit"]])
		if err != nil {
			t.Fatalf("%s:%d: exit %q", path, n, cells[columns["exit"]])
		}
		out = append(out, documented{n, strings.Trim(cells[columns["command"]], "`"), exit, cells[columns["says"]]})
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestAccessMatrix runs every command of docs/access-matrix.md.
func TestAccessMatrix(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	page := filepath.Join(root, "docs", "access-matrix.md")
	commands := readCommands(t, page)
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(bin, "loadfleet"), ".")
	build.Dir = filepath.Join(root, "cmd", "loadfleet")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	env := startMatrix(t, bin, root)
	t.Logf("%d commands", len(commands))
	for _, c := range commands {
		t.Run(fmt.Sprintf("line %d", c.line), func(t *testing.T) {
			run := exec.CommandContext(t.Context(), "bash", "-c", c.command)
			run.Dir, run.Env = root, env
			out, err := run.CombinedOutput()
			exit := 0
			if failed, ok := errors.AsType[*exec.ExitError](err); ok {
				exit = failed.ExitCode()
			} else if err != nil {
				t.Fatal(err)
			}
			if exit != c.exit || !strings.Contains(string(bytes.Join(bytes.Fields(out), []byte(" "))), c.says) {
				t.Errorf("%s\nexit %d, want %d and %q in:\n%s", c.command, exit, c.exit, c.says, out)
			}
		})
	}
}

// startMatrix starts the servers and gives the environment of the commands.
func startMatrix(t *testing.T, bin, root string) []string {
	t.Helper()
	allow := func(actions ...string) []s3server.Statement {
		return []s3server.Statement{
			{Actions: actions, Resources: []string{"arn:aws:s3:::acme/exports/*", "arn:aws:s3:::acme-demands-aes256/exports/*"}},
			{Actions: []string{"s3:ListBucket"}, Resources: []string{"arn:aws:s3:::acme*"}},
		}
	}
	objects := []string{"s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload", "s3:DeleteObject"}
	s3, err := s3server.Start(t.Context(), s3server.Config{
		Dir: t.TempDir(), AccessKey: matrixRootKey, SecretKey: "root-secret", Region: "eu-central-1", AccountID: matrixOwner,
		Buckets: []string{"acme", "acme-demands-aes256"},
		Quirks:  map[string]s3server.Quirk{"acme-demands-aes256": {DemandEncryption: "AES256"}},
		Users: []s3server.User{
			{ARN: "arn:aws:iam::111111111111:user/loadfleet", AccessKey: "AKIACUSTOMER", SecretKey: "customer-secret", Policy: allow(objects...)},
			{ARN: "arn:aws:iam::111111111111:user/no-delete", AccessKey: "AKIANODELETE", SecretKey: "no-delete-secret", Policy: allow(objects[:3]...)},
			{ARN: matrixUser, AccessKey: "AKIAFLEET", SecretKey: "fleet-secret"},
		},
		Roles: []s3server.Role{
			{ARN: matrixFleet, Trust: []string{matrixUser}},
			{ARN: matrixRole, Trust: []string{matrixFleet}, ExternalID: "acme-4711", Policy: allow(objects...)},
		},
		Keys: []s3server.Key{
			{ARN: matrixKey},
			{ARN: strings.TrimSuffix(matrixKey, "ab") + "00", State: s3server.KeyDisabled},
			{ARN: strings.TrimSuffix(matrixKey, "ab") + "01", State: s3server.KeyForeign},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s3.Close() })
	nats, err := natsserver.Start(natsserver.Config{Dir: t.TempDir()}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nats.Close() })
	env := []string{
		"PATH=" + bin + string(os.PathListSeparator) + os.Getenv("PATH"), "HOME=" + t.TempDir(),
		"LOADFLEET_NATS_URL=" + nats.URL(), "LOADFLEET_SEAL_KEY=" + destination.NewSealKey(),
		"LOADFLEET_FLEET_ROLE_ARN=" + matrixFleet, "LOADFLEET_STS_ENDPOINT=" + s3.Endpoint(),
		"AWS_ACCESS_KEY_ID=AKIAFLEET", "AWS_SECRET_ACCESS_KEY=fleet-secret", "AWS_EC2_METADATA_DISABLED=true",
		"MATRIX_ENDPOINT=" + s3.Endpoint(), "MATRIX_REGION=eu-central-1", "MATRIX_BUCKET=acme", "MATRIX_BUCKET_OWNER=" + matrixOwner,
		"MATRIX_CUSTOMER_KEY_ID=AKIACUSTOMER", "MATRIX_CUSTOMER_SECRET=customer-secret",
		"MATRIX_FLEET_KEY_ID=AKIAFLEET", "MATRIX_FLEET_SECRET=fleet-secret",
		"MATRIX_ROLE_ARN=" + matrixRole, "MATRIX_EXTERNAL_ID=acme-4711", "MATRIX_KEY_ARN=" + matrixKey,
	}
	admitFleetUser(t, s3.Endpoint(), root)
	provision := exec.CommandContext(t.Context(), filepath.Join(bin, "loadfleet"), "provision")
	provision.Env = env
	if out, err := provision.CombinedOutput(); err != nil {
		t.Fatalf("provision: %v\n%s", err, out)
	}
	return env
}

// admitFleetUser puts the bucket policy that lets in the fleet's user, who is
// of another account.
func admitFleetUser(t *testing.T, endpoint, root string) {
	t.Helper()
	if _, err := exec.LookPath("aws"); err != nil {
		t.Fatal("the AWS command line is missing, which this test sets a bucket policy with: `make setup` installs it")
	}
	policy := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[
{"Effect":"Allow","Principal":{"AWS":%[1]q},"Action":["s3:GetObject","s3:PutObject","s3:DeleteObject","s3:AbortMultipartUpload"],"Resource":"arn:aws:s3:::acme/exports/*"},
{"Effect":"Allow","Principal":{"AWS":%[1]q},"Action":"s3:ListBucket","Resource":"arn:aws:s3:::acme"}]}`, matrixUser)
	aws := exec.CommandContext(t.Context(), "aws", "--endpoint-url", endpoint, "s3api", "put-bucket-policy", "--bucket", "acme", "--policy", policy)
	aws.Dir = root
	aws.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID="+matrixRootKey, "AWS_SECRET_ACCESS_KEY=root-secret", "AWS_SESSION_TOKEN=", "AWS_DEFAULT_REGION=eu-central-1")
	if out, err := aws.CombinedOutput(); err != nil {
		t.Fatalf("put bucket policy: %v\n%s", err, out)
	}
}
