package main

import (
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/goccy/go-yaml"
	"github.com/spf13/pflag"

	"github.com/loadfleet/loadfleet/destination"
)

const composeUser = "1234:1234"

// composed is docker-compose.yml as compose reads it, beside a copy of what it
// mounts from the repository and the files that deploy/compose/secrets makes.
func composed(t *testing.T) *types.Project {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{
		"docker-compose.yml", "deploy/compose/secrets", "deploy/compose/prometheus.yml", "deploy/compose/grafana", "deploy/nats", "deploy/prometheus",
		"deploy/grafana", "cmd/loadfleet/demo", "testdata/ads.ndjson.zst", "testdata/ads.schema.json",
	} {
		source, to := filepath.Join("../..", name), filepath.Join(dir, name)
		info, err := os.Stat(source)
		switch {
		case err != nil:
		case info.IsDir():
			err = os.CopyFS(to, os.DirFS(source))
		default:
			if err = os.MkdirAll(filepath.Dir(to), 0o755); err == nil {
				err = os.WriteFile(to, []byte(readText(t, source)), info.Mode())
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	secrets := exec.CommandContext(t.Context(), filepath.Join(dir, "deploy/compose/secrets"))
	secrets.Env = append(os.Environ(), asProgram+"=1", "LOADFLEET="+self)
	if out, err := secrets.CombinedOutput(); err != nil {
		t.Fatalf("deploy/compose/secrets: %v\n%s", err, out)
	}
	file := filepath.Join(dir, "docker-compose.yml")
	project, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir: dir, ConfigFiles: []types.ConfigFile{{Filename: file}}, Environment: types.Mapping{"LOADFLEET_USER": composeUser},
	}, func(o *loader.Options) { o.SetProjectName("loadfleet", true) })
	if err != nil {
		t.Fatal(err)
	}
	return project
}

var pinnedImage = regexp.MustCompile(`^[a-z/]+:v?\d+\.\d+\.\d+(-alpine)?$`)

// TestCompose holds docker-compose.yml to what it promises: nobody's user, nothing
// writable that need not be, an image of a version, loopback only, checks of health,
// files that are there. deploy/compose/test runs it.
func TestCompose(t *testing.T) {
	project := composed(t)
	stays := []string{"nats", "s3", "dispatcher", "worker", "console", "prometheus", "grafana"}
	for _, name := range stays {
		if _, ok := project.Services[name]; !ok {
			t.Errorf("there is no %s", name)
		}
	}
	if r := project.Services["worker"].Deploy; r == nil || r.Replicas == nil || *r.Replicas != 3 {
		t.Error("there are not three workers")
	}
	for name, s := range project.Services {
		if s.Image != "loadfleet:local" && !pinnedImage.MatchString(s.Image) {
			t.Errorf("%s: image %q is not of a version", name, s.Image)
		}
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") || s.Privileged {
			t.Errorf("%s may more than it must", name)
		}
		// Who gives the volumes away is root, without a network and for a moment.
		if name == "volumes" {
			if s.NetworkMode != "none" || !slices.Equal(s.CapAdd, []string{"CHOWN"}) || len(s.Secrets) > 0 {
				t.Errorf("%s may more than give volumes away", name)
			}
		} else if s.User != composeUser || len(s.CapAdd) > 0 {
			t.Errorf("%s runs as %q, with %v", name, s.User, s.CapAdd)
		}
		if slices.Contains(stays, name) {
			if s.Restart != "unless-stopped" || s.HealthCheck == nil || len(s.HealthCheck.Test) == 0 {
				t.Errorf("%s has no health check, or is not started again", name)
			}
		} else if s.Restart != "no" {
			t.Errorf("%s is done when it has ended, and is started again: %q", name, s.Restart)
		}
		for _, p := range s.Ports {
			if p.HostIP != "127.0.0.1" {
				t.Errorf("%s listens at %q", name, p.HostIP)
			}
		}
		for _, v := range s.Volumes {
			if v.Type != types.VolumeTypeBind {
				continue
			}
			if _, err := os.Stat(v.Source); err != nil || !v.ReadOnly {
				t.Errorf("%s mounts %s, which is not there or not read only: %v", name, v.Source, err)
			}
		}
		for _, ref := range s.Secrets {
			if _, ok := project.Secrets[ref.Source]; !ok {
				t.Errorf("%s: there is no secret %s", name, ref.Source)
			}
		}
	}
	// What holds in production holds here: the configuration is the same file.
	for service, want := range map[string][]string{
		"nats": {"deploy/nats/server.conf", "deploy/nats/fleet.conf"}, "prometheus": {"deploy/prometheus"}, "grafana": {"deploy/grafana"},
	} {
		for _, file := range want {
			if !slices.ContainsFunc(project.Services[service].Volumes, func(v types.ServiceVolumeConfig) bool {
				return v.Source == filepath.Join(project.WorkingDir, file)
			}) {
				t.Errorf("%s does not mount %s", service, file)
			}
		}
	}
}

// TestComposeKeepsSecrets finds no secret in what compose is told, and none
// that others of the machine may read.
func TestComposeKeepsSecrets(t *testing.T) {
	project := composed(t)
	told, err := project.MarshalYAML()
	if err != nil {
		t.Fatal(err)
	}
	for name, secret := range project.Secrets {
		info, err := os.Stat(secret.File)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: others may read it: %s", name, info.Mode())
		}
		words := strings.Fields(readText(t, secret.File))
		if len(words) == 0 {
			t.Fatalf("%s is empty", name)
		}
		longest := slices.MaxFunc(words, func(a, b string) int { return len(a) - len(b) })
		if strings.Contains(string(told), longest) {
			t.Errorf("%s stands in an environment or a command line", name)
		}
	}
	ignored := readText(t, "../../.gitignore") + readText(t, "../../.dockerignore")
	if strings.Count(ignored, "deploy/compose/run") != 2 || strings.Count(ignored, ".env\n") != 2 {
		t.Error("git and docker build should leave the secrets out")
	}
}

// TestComposeRunsThisProgram reads each command line and environment as this
// program does, and asks for health where it answers.
func TestComposeRunsThisProgram(t *testing.T) {
	project := composed(t)
	graces := map[string]time.Duration{"worker": 20 * time.Second, "dispatcher": 20 * time.Second}
	for name, s := range project.Services {
		if s.Image != "loadfleet:local" {
			continue
		}
		flags, args := parsed(t, name, s.Command)
		for variable, value := range s.Environment {
			flag, ours := strings.CutPrefix(variable, "LOADFLEET_")
			if !ours {
				continue
			}
			flag = strings.ToLower(strings.ReplaceAll(flag, "_", "-"))
			if f := flags.Lookup(flag); f == nil || value == nil {
				t.Errorf("%s: %s is no setting of `loadfleet %s`", name, variable, strings.Join(s.Command, " "))
			} else if err := flags.Set(flag, *value); err != nil {
				t.Errorf("%s: %s: %v", name, variable, err)
			}
		}
		for _, file := range []string{"nats-nkey", "token-file"} {
			if f := flags.Lookup(file); f != nil && f.Value.String() != "" && !mountsSecret(s, f.Value.String()) {
				t.Errorf("%s: --%s %s is not mounted", name, file, f.Value)
			}
		}
		for _, arg := range args {
			if file, ok := strings.CutPrefix(arg, "/rows/"); ok && readText(t, filepath.Join(project.WorkingDir, "testdata", file)) == "" {
				t.Errorf("%s: %s is empty", name, arg)
			}
		}
		if grace, ok := graces[name]; ok && (s.StopGracePeriod == nil || time.Duration(*s.StopGracePeriod) < grace+10*time.Second) {
			t.Errorf("%s is killed before its grace and ten seconds are over", name)
		}
		if s.HealthCheck == nil {
			continue
		}
		check := s.HealthCheck.Test
		if len(check) < 3 || check[0] != "CMD" || check[1] != "/loadfleet" {
			t.Errorf("%s: health check %v", name, check)
			continue
		}
		_, args = parsed(t, name+"'s health check", check[2:])
		listens := flags.Lookup("metrics")
		if listens == nil {
			listens = flags.Lookup("addr")
		}
		_, port, err := net.SplitHostPort(listens.Value.String())
		if err != nil || len(args) != 1 || !strings.HasPrefix(args[0], "http://127.0.0.1:"+port+"/") {
			t.Errorf("%s listens at %s, and is asked at %v", name, listens.Value, args)
		}
	}
	var scraped struct {
		Scrapes []struct {
			DNS []struct {
				Names []string `yaml:"names"`
				Port  int      `yaml:"port"`
			} `yaml:"dns_sd_configs"`
		} `yaml:"scrape_configs"`
	}
	if err := yaml.Unmarshal([]byte(readText(t, "../../deploy/compose/prometheus.yml")), &scraped); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, job := range scraped.Scrapes {
		for _, found := range job.DNS {
			if names = append(names, found.Names...); found.Port != 9090 {
				t.Errorf("Prometheus asks %v at port %d", found.Names, found.Port)
			}
		}
	}
	if want := []string{"dispatcher", "worker"}; !slices.Equal(names, want) {
		t.Errorf("Prometheus asks %v, want %v", names, want)
	}
	documents, err := filepath.Glob(filepath.Join(project.WorkingDir, "deploy/compose/run/destinations/*.yaml"))
	if err != nil || len(documents) != 6 {
		t.Fatalf("destinations: got %v, %v", documents, err)
	}
	for _, document := range documents {
		if _, err := destination.Parse([]byte(readText(t, document)), demoKeys{destination.OSResolver()}); err != nil {
			t.Errorf("%s: %v", filepath.Base(document), err)
		}
		if s, ok := project.Services["destination-"+strings.TrimSuffix(filepath.Base(document), ".yaml")]; !ok ||
			*s.Environment["LOADFLEET_FILE"] != "/destinations/"+filepath.Base(document) {
			t.Errorf("nobody applies %s", filepath.Base(document))
		}
	}
}

// demoKeys is the environment of who applies the demo's destinations.
type demoKeys struct{ destination.Resolver }

func (demoKeys) Env(name string) (string, bool) {
	return "OF-" + name, name == "DEMO_ACCESS_KEY" || name == "DEMO_SECRET_KEY"
}

// parsed is a command line as the program reads it: its command's flags, and what is no flag.
func parsed(t *testing.T, name string, line []string) (*pflag.FlagSet, []string) {
	t.Helper()
	root := (&program{in: strings.NewReader(""), out: io.Discard, err: io.Discard}).root()
	command, rest, err := root.Find(line)
	if err == nil {
		err = command.ParseFlags(rest)
	}
	if err != nil || command == root {
		t.Fatalf("%s: `loadfleet %s`: %v", name, strings.Join(line, " "), err)
	}
	if err := command.ValidateArgs(command.Flags().Args()); err != nil {
		t.Errorf("%s: `loadfleet %s`: %v", name, strings.Join(line, " "), err)
	}
	return command.Flags(), command.Flags().Args()
}

func mountsSecret(s types.ServiceConfig, file string) bool {
	return slices.ContainsFunc(s.Secrets, func(ref types.ServiceSecretConfig) bool {
		target := ref.Target
		if target == "" {
			target = ref.Source
		}
		return file == target || file == "/run/secrets/"+target
	})
}

// TestImages holds the versions in the Dockerfile and docker-compose.yml to go.mod's,
// which the tests run against, and the image to what it is.
func TestImages(t *testing.T) {
	modules, compose, dockerfile := readText(t, "../../go.mod"), readText(t, "../../docker-compose.yml"), readText(t, "../../Dockerfile")
	version := func(pattern, text string) string {
		t.Helper()
		found := regexp.MustCompile(pattern).FindStringSubmatch(text)
		if found == nil {
			t.Fatalf("nothing is as %s", pattern)
		}
		return found[1]
	}
	for _, same := range []struct{ name, got, want string }{
		{"Go", version(`(?m)^FROM golang:([\d.]+)-alpine`, dockerfile), version(`(?m)^go ([\d.]+)$`, modules)},
		{"NATS", version(`image: nats:([\d.]+)-alpine`, compose), version(`nats-server/v2 v([\d.]+)`, modules)},
		{"versitygw", version(`image: versity/versitygw:v([\d.]+)`, compose), version(`versity/versitygw v([\d.]+)`, modules)},
	} {
		if same.got != same.want {
			t.Errorf("%s: the image has %s, go.mod %s", same.name, same.got, same.want)
		}
	}
	_, last, found := strings.Cut(dockerfile, "\nFROM scratch\n")
	if !found || strings.Contains(last, "FROM ") || !strings.Contains(last, "\nUSER 65532:65532\n") || !strings.Contains(last, `ENTRYPOINT ["/loadfleet"]`) {
		t.Errorf("the image's last stage is not a bare program of nobody's user:\n%s", last)
	}
}
