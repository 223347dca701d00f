package kubernetes

import (
	"cmp"
	"fmt"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"
)

// owned says which secrets each role needs; no other role may have them.
var owned = map[string][]string{
	"loadfleet-nats-provisioner": {"provision"},
	"loadfleet-nats-dispatcher":  {"dispatcher"},
	"loadfleet-nats-worker":      {"worker"},
	"loadfleet-nats-console":     {"console"},
	"loadfleet-seal-key":         {"worker"},
	"loadfleet-console-tokens":   {"console"},
}

// pod is a role's pod, and what makes it.
type pod struct {
	role, maker string
	labels      map[string]string
	spec        *corev1.PodSpec
}

func (m *manifests) pods() (all []pod) {
	for _, d := range m.deployments {
		all = append(all, pod{d.Labels["app.kubernetes.io/component"], "Deployment " + d.Name, d.Spec.Template.Labels, &d.Spec.Template.Spec})
	}
	for _, j := range m.jobs {
		all = append(all, pod{j.Labels["app.kubernetes.io/component"], "Job " + j.Name, j.Spec.Template.Labels, &j.Spec.Template.Spec})
	}
	return all
}

// findings is all that does not fit together, or is not as safe as it should be.
func (m *manifests) findings(t *testing.T) (all []string) {
	find := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	docs := readText(t, "../../docs/kubernetes.md")
	for _, role := range []string{"provision", "dispatcher", "worker", "console"} {
		if !slices.ContainsFunc(m.pods(), func(p pod) bool { return p.role == role }) {
			find("nothing starts a %s", role)
		}
	}
	for _, p := range m.pods() {
		m.pod(t, p, docs, func(format string, args ...any) { find(p.maker+": "+format, args...) })
	}
	m.rollouts(find)
	m.selectors(find)
	m.network(find)
	m.scalers(find)
	return all
}

// pod looks at one pod: what it may, what it is started with, what it is given.
func (m *manifests) pod(t *testing.T, p pod, docs string, find func(string, ...any)) {
	s := p.spec
	if s.AutomountServiceAccountToken == nil || *s.AutomountServiceAccountToken {
		find("automountServiceAccountToken is not false")
	}
	if !slices.ContainsFunc(m.accounts, func(a *corev1.ServiceAccount) bool { return a.Name == s.ServiceAccountName }) {
		find("no ServiceAccount %q", s.ServiceAccountName)
	}
	if c := s.SecurityContext; c == nil || c.RunAsNonRoot == nil || !*c.RunAsNonRoot || c.RunAsUser == nil || *c.RunAsUser == 0 || c.FSGroup == nil {
		find("runAsNonRoot, runAsUser or fsGroup is missing")
	} else if c.SeccompProfile == nil || c.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		find("no seccomp profile RuntimeDefault")
	}
	if err := restricted(&metav1.ObjectMeta{Labels: p.labels}, s); err != nil {
		find("Pod Security, restricted: %v", err)
	}
	if s.EnableServiceLinks == nil || *s.EnableServiceLinks {
		find("services of the namespace would come into its environment")
	}
	volumes := map[string]corev1.Volume{}
	for _, v := range s.Volumes {
		volumes[v.Name] = v
		if e := v.EmptyDir; e != nil && e.SizeLimit == nil {
			find("volume %s has no sizeLimit", v.Name)
		}
		if secret := v.Secret; secret != nil {
			if !slices.Contains(owned[secret.SecretName], p.role) && owned[secret.SecretName] != nil {
				find("it may not have the secret %s", secret.SecretName)
			}
			if secret.DefaultMode == nil || *secret.DefaultMode != 0o440 {
				find("files of %s have another mode than 0440", secret.SecretName)
			}
		}
	}
	if len(s.Containers) != 1 || len(s.InitContainers) != 0 {
		find("it has other containers than the role's")
		return
	}
	c := s.Containers[0]
	if x := c.SecurityContext; x == nil || x.AllowPrivilegeEscalation == nil || *x.AllowPrivilegeEscalation || x.Privileged != nil {
		find("allowPrivilegeEscalation is not false")
	} else if x.ReadOnlyRootFilesystem == nil || !*x.ReadOnlyRootFilesystem {
		find("readOnlyRootFilesystem is not true")
	} else if x.Capabilities == nil || !slices.Equal(x.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(x.Capabilities.Add) > 0 {
		find("capabilities are not dropped, all of them")
	}
	if len(c.Command) != 0 || !slices.Equal(c.Args, []string{p.role}) {
		find("it is started as %q %q", c.Command, c.Args)
	}
	mounted := map[string]corev1.Volume{}
	for _, mount := range c.VolumeMounts {
		v, ok := volumes[mount.Name]
		if !ok {
			find("no volume %q", mount.Name)
		}
		if v.EmptyDir == nil && !mount.ReadOnly {
			find("%s is not mounted for reading only", mount.Name)
		}
		mounted[mount.MountPath] = v
	}
	env := m.env(c, find)
	m.environment(t, p, env, mounted, docs, find)
	m.ports(c, env, find)
	resources(c, env, mounted, find)
	if grace := cmp.Or(env["LOADFLEET_GRACE"], env["LOADFLEET_DISPATCH_GRACE"]); grace != "" {
		d, err := time.ParseDuration(grace)
		if has := s.TerminationGracePeriodSeconds; err != nil || has == nil || time.Duration(*has)*time.Second < d+10*time.Second {
			find("terminationGracePeriodSeconds is not 10 s longer than the program's grace of %s (%v)", grace, err)
		}
	} else if p.role == "worker" || p.role == "dispatcher" {
		find("it does not say its grace")
	}
}

// env is a container's environment, that of its ConfigMaps included.
func (m *manifests) env(c corev1.Container, find func(string, ...any)) map[string]string {
	env := map[string]string{}
	for _, from := range c.EnvFrom {
		i := slices.IndexFunc(m.configs, func(x *corev1.ConfigMap) bool {
			return from.ConfigMapRef != nil && x.Name == from.ConfigMapRef.Name
		})
		if i < 0 {
			find("no ConfigMap for %+v", from)
			continue
		}
		if !regexp.MustCompile(`-[a-z0-9]{10}$`).MatchString(m.configs[i].Name) {
			find("a change of ConfigMap %s would restart nobody", m.configs[i].Name)
		}
		for name, value := range m.configs[i].Data {
			env[name] = value
		}
	}
	for _, e := range c.Env {
		env[e.Name] = e.Value
		if e.ValueFrom != nil && e.ValueFrom.FieldRef == nil {
			find("%s comes from somewhere unknown", e.Name)
		}
	}
	return env
}

var inFolder = regexp.MustCompile(`/etc/loadfleet/\S+`)

// environment holds variables to the program's flags, and the files that they name to what is mounted.
func (m *manifests) environment(t *testing.T, p pod, env map[string]string, mounted map[string]corev1.Volume, docs string, find func(string, ...any)) {
	known := flags(t, p.role)
	for name, value := range env {
		if name == "GOMEMLIMIT" {
			continue
		}
		flag := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, "LOADFLEET_"), "_", "-"))
		if !known[flag] {
			find("%s has no flag --%s (%s)", p.role, flag, name)
		}
		if name == "LOADFLEET_SEAL_KEY" && p.role != "worker" {
			find("it may not have a seal key")
		}
		file := inFolder.FindString(value)
		if strings.HasPrefix(value, "/scratch") {
			file = "/scratch/any"
		}
		if file == "" {
			continue
		}
		v, ok := mounted[path.Dir(file)]
		switch source := ""; {
		case !ok:
			find("%s: %s is on no volume", name, value)
		case v.EmptyDir != nil:
		case v.Secret != nil:
			source = v.Secret.SecretName
			fallthrough
		case v.ConfigMap != nil:
			if source == "" {
				source = v.ConfigMap.Name
			}
			made := regexp.MustCompile(`(?m)^kubectl -n loadfleet create (secret generic|configmap) ` + source + ` --from-file=` + regexp.QuoteMeta(path.Base(file)) + `=`)
			if !made.MatchString(docs) {
				find("docs/kubernetes.md does not say how to make %s with %s", source, path.Base(file))
			}
		}
	}
}

// ports holds ports to what the program listens on, and probes to the ports.
func (m *manifests) ports(c corev1.Container, env map[string]string, find func(string, ...any)) {
	listens := map[string]string{"metrics": env["LOADFLEET_METRICS"], "http": env["LOADFLEET_ADDR"]}
	named := map[string]bool{}
	for _, p := range c.Ports {
		named[p.Name] = true
		if _, port, _ := strings.Cut(listens[p.Name], ":"); port != fmt.Sprint(p.ContainerPort) {
			find("port %s is %d, and the program listens on %s", p.Name, p.ContainerPort, port)
		}
	}
	probes := map[string]*corev1.Probe{"startupProbe": c.StartupProbe, "livenessProbe": c.LivenessProbe, "readinessProbe": c.ReadinessProbe}
	for name, probe := range probes {
		if len(c.Ports) == 0 {
			continue // provision ends by itself
		}
		if probe == nil || probe.HTTPGet == nil {
			find("no %s", name)
		} else if !named[probe.HTTPGet.Port.StrVal] {
			find("%s: no port %q", name, probe.HTTPGet.Port.StrVal)
		}
	}
}

// resources holds the program's budget to the container's limits, and scratch to its share of the node's disk.
func resources(c corev1.Container, env map[string]string, mounted map[string]corev1.Volume, find func(string, ...any)) {
	memory := *c.Resources.Limits.Memory()
	if memory.IsZero() || memory.Cmp(*c.Resources.Requests.Memory()) != 0 || c.Resources.Requests.Cpu().IsZero() || c.Resources.Limits.Cpu().IsZero() {
		find("requests and limits of memory are not the same, or those of cpu are missing")
	}
	// Both write powers of 1024, as Mi and Gi.
	budget, err := resource.ParseQuantity(strings.NewReplacer("MiB", "Mi", "MB", "Mi", "GB", "Gi").Replace(cmp.Or(env["LOADFLEET_MEMORY"], env["GOMEMLIMIT"])))
	if env["LOADFLEET_MEMORY"] != "" && env["GOMEMLIMIT"] != "" {
		find("GOMEMLIMIT would take the place of what the program derives from --memory")
	}
	if err != nil || float64(budget.Value()) > 0.8*float64(memory.Value()) {
		find("its memory budget %s is more than 80 %% of its limit %s (%v)", budget.String(), memory.String(), err)
	}
	disk := c.Resources.Limits.StorageEphemeral()
	for _, v := range mounted {
		if v.EmptyDir != nil && v.EmptyDir.SizeLimit != nil && disk.Cmp(*v.EmptyDir.SizeLimit) <= 0 {
			find("scratch may fill all of its disk")
		}
	}
	if disk.IsZero() {
		find("no limit of ephemeral-storage")
	}
}

// rollouts looks at what happens while pods are replaced or evicted.
func (m *manifests) rollouts(find func(string, ...any)) {
	for _, d := range m.deployments {
		if r := d.Spec.Strategy.RollingUpdate; r == nil || r.MaxUnavailable == nil || r.MaxUnavailable.String() != "0" {
			find("Deployment %s: maxUnavailable is not 0", d.Name)
		}
		if len(d.Spec.Template.Spec.TopologySpreadConstraints) == 0 {
			find("Deployment %s may be all on one node", d.Name)
		}
		for _, c := range d.Spec.Template.Spec.TopologySpreadConstraints {
			if !matches(c.LabelSelector, d.Spec.Template.Labels) {
				find("Deployment %s spreads others than itself", d.Name)
			}
		}
		if !matches(d.Spec.Selector, d.Spec.Template.Labels) {
			find("Deployment %s does not select its own pods", d.Name)
		}
		budgets := 0
		for _, b := range m.disruptions {
			if !matches(b.Spec.Selector, d.Spec.Template.Labels) {
				continue
			}
			if budgets++; b.Spec.MaxUnavailable == nil || b.Spec.MaxUnavailable.String() == "0" {
				find("PodDisruptionBudget %s would keep its node from being emptied", b.Name)
			}
		}
		if budgets != 1 {
			find("Deployment %s has %d PodDisruptionBudgets", d.Name, budgets)
		}
	}
}

func matches(s *metav1.LabelSelector, l map[string]string) bool {
	selector, err := metav1.LabelSelectorAsSelector(s)
	return err == nil && selector.Matches(labels.Set(l))
}

// selected is the pods that a selector chooses.
func (m *manifests) selected(s *metav1.LabelSelector) (chosen []pod) {
	for _, p := range m.pods() {
		if matches(s, p.labels) {
			chosen = append(chosen, p)
		}
	}
	return chosen
}

// selectors finds those that choose nothing, and ports that the chosen have not.
func (m *manifests) selectors(find func(string, ...any)) {
	hasPort := func(pods []pod, name string) bool {
		return !slices.ContainsFunc(pods, func(p pod) bool {
			return !slices.ContainsFunc(p.spec.Containers[0].Ports, func(c corev1.ContainerPort) bool { return c.Name == name })
		})
	}
	for _, s := range m.services {
		pods := m.selected(&metav1.LabelSelector{MatchLabels: s.Spec.Selector})
		if len(pods) != 1 {
			find("Service %s selects no pods, or of several roles: %d", s.Name, len(pods))
		}
		for _, p := range s.Spec.Ports {
			if !hasPort(pods, p.TargetPort.StrVal) {
				find("Service %s: its pods have no port %q", s.Name, p.TargetPort.StrVal)
			}
		}
	}
	for _, b := range m.disruptions {
		if len(m.selected(b.Spec.Selector)) != 1 {
			find("PodDisruptionBudget %s selects no pods, or of several roles", b.Name)
		}
	}
	for _, n := range m.policies {
		pods := m.selected(&n.Spec.PodSelector)
		if len(pods) == 0 {
			find("NetworkPolicy %s selects no pods", n.Name)
		}
		for _, rule := range n.Spec.Ingress {
			for _, p := range rule.Ports {
				if p.Port == nil || !hasPort(pods, p.Port.StrVal) {
					find("NetworkPolicy %s: its pods have no port %v", n.Name, p.Port)
				}
			}
		}
	}
}

// network looks at the ways in and out.
func (m *manifests) network(find func(string, ...any)) {
	for _, p := range m.pods() {
		denied, toNATS := 0, false
		for _, n := range m.policies {
			if !matches(&n.Spec.PodSelector, p.labels) {
				continue
			}
			if len(n.Spec.Ingress)+len(n.Spec.Egress) == 0 {
				denied = max(denied, len(n.Spec.PolicyTypes))
			}
			for _, rule := range n.Spec.Egress {
				for _, to := range rule.To {
					if to.IPBlock == nil {
						continue
					}
					if p.role != "worker" {
						find("NetworkPolicy %s: a %s goes out of the cluster", n.Name, p.role)
					}
					for _, private := range []string{"10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"} {
						if to.IPBlock.CIDR == "0.0.0.0/0" && !slices.Contains(to.IPBlock.Except, private) {
							find("NetworkPolicy %s lets a customer's endpoint lead to %s", n.Name, private)
						}
					}
				}
				if len(rule.To) == 0 || len(rule.Ports) == 0 {
					find("NetworkPolicy %s lets pods go anywhere", n.Name)
				}
				for _, port := range rule.Ports {
					toNATS = toNATS || port.Port != nil && strings.HasSuffix(m.configs[0].Data["LOADFLEET_NATS_URL"], ":"+port.Port.String())
				}
			}
		}
		if denied != 2 {
			find("no NetworkPolicy denies by default what goes into and out of a %s", p.role)
		}
		if !toNATS {
			find("a %s does not come to NATS at %s", p.role, m.configs[0].Data["LOADFLEET_NATS_URL"])
		}
	}
}

// scalers holds the scaler to its target, and its trigger to what KEDA knows.
func (m *manifests) scalers(find func(string, ...any)) {
	known, err := triggerParameters()
	if err != nil {
		find("%v", err)
	}
	for _, s := range m.scaled {
		found := false
		for _, d := range m.deployments {
			if d.Name != s.Spec.ScaleTargetRef.Name || d.Namespace != s.Namespace {
				continue
			}
			if found = true; d.Spec.Replicas != nil {
				find("Deployment %s has replicas, which each apply would set back", d.Name)
			}
		}
		if !found {
			find("ScaledObject %s scales no Deployment: %q", s.Name, s.Spec.ScaleTargetRef.Name)
		}
		if s.Spec.Min < 1 || s.Spec.Min > s.Spec.Max {
			find("ScaledObject %s: minReplicaCount %d is not from 1 to %d: nobody would try parked loads again", s.Name, s.Spec.Min, s.Spec.Max)
		}
		for _, tr := range s.Spec.Triggers {
			if tr.Type != "prometheus" || tr.MetricType != "AverageValue" {
				find("ScaledObject %s: trigger %s of %s", s.Name, tr.Type, tr.MetricType)
			}
			for name := range tr.Metadata {
				if !slices.ContainsFunc(known, func(p parameter) bool { return p.Name == name }) {
					find("KEDA's prometheus scaler has no parameter %q", name)
				}
			}
			for _, p := range known {
				if _, ok := tr.Metadata[p.Name]; !ok && !p.Optional && p.Default == "" {
					find("KEDA's prometheus scaler needs %s", p.Name)
				}
			}
			if tr.Metadata["ignoreNullValues"] != "false" {
				find("ignoreNullValues: a missing metric would be taken for an empty queue")
			}
			if n := strings.Count(tr.Metadata["query"], fmt.Sprintf("namespace=%q", s.Namespace)); n == 0 || n != strings.Count(tr.Metadata["query"], "{") {
				find("ScaledObject %s: its query asks for another namespace than %s", s.Name, s.Namespace)
			}
		}
	}
}

// parameter is what KEDA says of one of a trigger's metadata.
type parameter struct {
	Name     string `json:"name"`
	Optional bool   `json:"optional"`
	Default  string `json:"default"`
}

// triggerParameters is what KEDA's prometheus scaler reads.
func triggerParameters() ([]parameter, error) {
	text, err := os.ReadFile("testdata/keda/prometheus-scaler.yaml")
	if err != nil {
		return nil, err
	}
	var scalers []struct {
		Parameters []parameter `json:"parameters"`
	}
	if err := yaml.Unmarshal(text, &scalers); err != nil {
		return nil, err
	}
	return scalers[0].Parameters, nil
}
