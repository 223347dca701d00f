package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/dispatcher"
	"github.com/loadfleet/loadfleet/queue/queuetest"
	"github.com/loadfleet/loadfleet/worker"
)

// The tests of this file are not parallel: the embedded store of others changes
// the working directory.

const rulesFile = "../../deploy/prometheus/loadfleet.rules.yaml"

type alertRule struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func alertRules(t *testing.T) (all []alertRule) {
	t.Helper()
	var file struct {
		Groups []struct {
			Rules []alertRule `yaml:"rules"`
		} `yaml:"groups"`
	}
	if err := yaml.Unmarshal([]byte(readText(t, rulesFile)), &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) == 0 {
		t.Fatal("there are no rules")
	}
	return all
}

func readText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	fqName     = regexp.MustCompile(`fqName: "([^"]+)"`)
	metricName = regexp.MustCompile(`\b(?:loadfleet|go|process)_[a-z0-9_]+\b`)
	suffix     = regexp.MustCompile(`_(?:bucket|sum|count)$`)
)

// told is the name of every metric that a dispatcher and a worker may tell.
func told(t *testing.T) map[string]bool {
	t.Helper()
	q := queuetest.Start(t)
	keyring, err := destination.NewKeyring(destination.NewSealKey())
	if err != nil {
		t.Fatal(err)
	}
	registry := newRegistry()
	dispatcher.New(q.Queue, dispatcher.Config{Metrics: registry}, zap.NewNop())
	worker.New(q.Queue, keyring, worker.Config{Metrics: registry}, zap.NewNop())
	names := map[string]bool{}
	descs := make(chan *prometheus.Desc)
	go func() {
		defer close(descs)
		registry.Describe(descs)
	}()
	for d := range descs {
		names[fqName.FindStringSubmatch(d.String())[1]] = true
	}
	return names
}

// TestMonitoringNamesMetrics holds the alert rules, the board and the scaler to the
// metrics that there are: each that they ask for is told, and of loadfleet's own
// each is asked for by one of them.
func TestMonitoringNamesMetrics(t *testing.T) {
	names := told(t)
	asked := map[string]bool{}
	ask := func(where, expr string) {
		found := metricName.FindAllString(expr, -1)
		if len(found) == 0 {
			t.Errorf("%s asks for no metric of ours: %s", where, expr)
		}
		for _, name := range found {
			if !names[name] {
				name = suffix.ReplaceAllString(name, "")
			}
			if asked[name] = true; !names[name] {
				t.Errorf("%s asks for %s, which nobody tells", where, name)
			}
		}
	}
	for _, r := range alertRules(t) {
		ask("alert "+r.Alert, r.Expr)
	}
	var board struct {
		Panels []struct {
			ID      int    `json:"id"`
			Type    string `json:"type"`
			Title   string `json:"title"`
			Targets []struct {
				Expr string `json:"expr"`
			} `json:"targets"`
			GridPos struct{ X, Y, W, H int }
		} `json:"panels"`
	}
	if err := json.Unmarshal([]byte(readText(t, "../../deploy/grafana/loadfleet.json")), &board); err != nil {
		t.Fatal(err)
	}
	ids := map[int]bool{}
	for _, p := range board.Panels {
		if ids[p.ID] || p.Title == "" || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %d %q: its id, title or place is wrong", p.ID, p.Title)
		}
		ids[p.ID] = true
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q asks for nothing", p.Title)
		}
		for _, target := range p.Targets {
			ask("panel "+p.Title, target.Expr)
		}
	}
	var scaler struct {
		Spec struct {
			Triggers []struct {
				Metadata map[string]string `yaml:"metadata"`
			} `yaml:"triggers"`
		} `yaml:"spec"`
	}
	if err := yaml.Unmarshal([]byte(readText(t, "../../deploy/kubernetes/overlays/production/scaler.yaml")), &scaler); err != nil {
		t.Fatal(err)
	}
	ask("the scaler of workers", scaler.Spec.Triggers[0].Metadata["query"])
	// On the process's own page, for those who look there.
	rare := map[string]bool{"loadfleet_queue_stream_messages": true, "loadfleet_dispatched_loads_total": true, "loadfleet_dispatched_rows_total": true}
	for name := range names {
		if strings.HasPrefix(name, "loadfleet_") && !asked[name] && !rare[name] {
			t.Errorf("neither an alert nor the board asks for %s", name)
		}
	}
}

// TestAlertsAreExplained holds each alert to its section of the runbook, its
// annotations, and its tests.
func TestAlertsAreExplained(t *testing.T) {
	runbook, tests := readText(t, "../../docs/operations.md"), readText(t, "../../deploy/prometheus/loadfleet.rules.test.yaml")
	sections := strings.Split(runbook, "\n### ")[1:]
	explained := map[string]string{}
	for _, s := range sections {
		title, text, _ := strings.Cut(s, "\n")
		explained[title] = text
	}
	for _, r := range alertRules(t) {
		text, ok := explained[r.Alert]
		if !ok || !strings.Contains(text, "\nLook: ") || !(strings.Contains(text, "\nDo: ") || strings.Contains(text, "| do |")) {
			t.Errorf("docs/operations.md does not say of %s what it means, where to look and what to do", r.Alert)
		}
		delete(explained, r.Alert)
		if want := "https://github.com/loadfleet/loadfleet/blob/main/docs/operations.md#" + strings.ToLower(r.Alert); r.Annotations["runbook_url"] != want {
			t.Errorf("%s: runbook_url is %q, want %q", r.Alert, r.Annotations["runbook_url"], want)
		}
		if r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("%s lacks a severity, summary or description", r.Alert)
		}
		for _, want := range []string{r.Alert + " fires\n", r.Alert + " is silent\n"} {
			if !strings.Contains(tests, want) {
				t.Errorf("the rules' tests have no %q", strings.TrimSpace(want))
			}
		}
	}
	for title := range explained {
		t.Errorf("docs/operations.md explains %s, which is no alert", title)
	}
}

// TestAlertsFire lets promtool try every alert, as it fires and as it does not.
func TestAlertsFire(t *testing.T) {
	tool, err := filepath.Abs("../../testdata/foreign/bin/promtool")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(tool); err != nil {
		t.Fatalf("promtool is not installed: run `make setup` (%v)", err)
	}
	for _, args := range [][]string{{"check", "rules", "loadfleet.rules.yaml"}, {"test", "rules", "loadfleet.rules.test.yaml"}} {
		cmd := exec.CommandContext(t.Context(), tool, args...)
		cmd.Dir = filepath.Dir(rulesFile)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}
