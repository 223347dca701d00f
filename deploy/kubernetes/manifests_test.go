package kubernetes

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// TestManifests reads both directories strictly and looks for what does not fit together.
func TestManifests(t *testing.T) {
	for _, dir := range []string{base, production} {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			m, err := read(render(t, dir))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range m.findings(t) {
				t.Error(f)
			}
		})
	}
}

// TestManifestsCanFail damages what is rendered in the ways that the checks claim to see.
func TestManifestsCanFail(t *testing.T) {
	whole := render(t, production)
	for _, tt := range []struct{ name, old, damaged, want string }{
		{"unknown field", "minReadySeconds:", "minReadySecond:", `unknown field "spec.minReadySecond"`},
		{"another case", "revisionHistoryLimit:", "revisionhistorylimit:", `unknown field "spec.revisionhistorylimit"`},
		{"a key twice", "restartPolicy: Never", "restartPolicy: Never\n      restartPolicy: Always", "already set"},
		{"a number as text", "terminationGracePeriodSeconds: 90", `terminationGracePeriodSeconds: "90"`, "cannot unmarshal string"},
		{"a value that there is not", "whenUnsatisfiable: ScheduleAnyway", "whenUnsatisfiable: Perhaps", `Unsupported value: "Perhaps"`},
		{"a window out of its range", "stabilizationWindowSeconds: 300", "stabilizationWindowSeconds: 3601", "less than or equal to 3600"},
		{"an address that is none", "- 10.0.0.0/8", "- 10.0.0.0/33", "10.0.0.0/33"},
		{"the node's network", "enableServiceLinks: false", "enableServiceLinks: false\n      hostNetwork: true", "host namespaces"},
		{"unknown field of KEDA", "maxReplicaCount: 20", "maxReplicas: 20", "maxReplicas"},
		{"a fallback that KEDA has not", "currentReplicasIfHigher", "currentIfHigher", "value must be one of"},
		{"a trigger's parameter that KEDA has not", "ignoreNullValues:", "ignoreNulls:", `no parameter "ignoreNulls"`},
		{"a missing metric taken for 0", `ignoreNullValues: "false"`, `ignoreNullValues: "true"`, "ignoreNullValues"},
		{"a scaler of nothing", "scaleTargetRef:\n    name: loadfleet-worker", "scaleTargetRef:\n    name: loadfleet-workers", "scales no Deployment"},
		{"another namespace's lag", `loadfleet_queue_pending{namespace="loadfleet"`, `loadfleet_queue_pending{namespace="staging"`, "query"},
		{"no workers at all", "minReplicaCount: 2", "minReplicaCount: 0", "minReplicaCount"},
		{"a service of nothing", "  publishNotReadyAddresses: true\n  selector:\n    app.kubernetes.io/component: worker", "  publishNotReadyAddresses: true\n  selector:\n    app.kubernetes.io/component: workers", "Service loadfleet-worker selects no pods"},
		{"a service's port", "targetPort: http", "targetPort: web", `no port "web"`},
		{"a budget of nothing", "maxUnavailable: 25%\n  selector:\n    matchLabels:\n      app.kubernetes.io/component: worker", "maxUnavailable: 25%\n  selector:\n    matchLabels:\n      app.kubernetes.io/component: job", "PodDisruptionBudget loadfleet-worker selects no pods"},
		{"no budget", "name: loadfleet-console\n  namespace: loadfleet\nspec:\n  maxUnavailable: 1", "name: loadfleet-console\n  namespace: loadfleet\nspec:\n  minAvailable: 1", "would keep its node"},
		{"a flag that there is not", "LOADFLEET_SLOTS", "LOADFLEET_SLOT", "worker has no flag --slot "},
		{"a flag of another role", "LOADFLEET_DISPATCH_GRACE", "LOADFLEET_PARK_LIMIT", "dispatcher has no flag --park-limit"},
		{"a shared setting that there is not", "LOADFLEET_LEASE:", "LOADFLEET_LEASES:", "has no flag --leases"},
		{"a grace that the pod has not", "name: LOADFLEET_GRACE\n          value: 1m", "name: LOADFLEET_GRACE\n          value: 85s", "is not 10 s longer"},
		{"a budget as large as the limit", "value: 512MB", "value: 640MB", "of its limit"},
		{"a port that nobody listens on", "containerPort: 8080", "containerPort: 8081", "listens on 8080"},
		{"a probe's port", "path: /readyz\n            port: metrics", "path: /readyz\n            port: metric", `no port "metric"`},
		{"root", "runAsNonRoot: true", "runAsNonRoot: false", "runAsNonRoot"},
		{"a writable root", "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "readOnlyRootFilesystem"},
		{"capabilities", "- ALL", "- NET_RAW", "capabilities"},
		{"no seccomp", "type: RuntimeDefault", "type: Unconfined", "seccomp"},
		{"a token of Kubernetes", "automountServiceAccountToken: false\n      containers", "automountServiceAccountToken: true\n      containers", "automountServiceAccountToken"},
		{"an account that is not there", "serviceAccountName: loadfleet-worker", "serviceAccountName: worker", "no ServiceAccount"},
		{"an undocumented secret", "secretName: loadfleet-seal-key", "secretName: loadfleet-seal", "docs/kubernetes.md does not say"},
		{"another role's seed", "secretName: loadfleet-nats-worker", "secretName: loadfleet-nats-provisioner", "may not have"},
		{"a seal key where none is needed", "name: LOADFLEET_DISPATCH_SCRATCH\n          value: /scratch", "name: LOADFLEET_SEAL_KEY\n          value: file:/scratch", "may not have"},
		{"a file that is not mounted", "mountPath: /etc/loadfleet/seal", "mountPath: /etc/loadfleet/sealed", "is on no volume"},
		{"a volume that is not there", "- emptyDir:\n          sizeLimit: 10Gi\n        name: scratch", "- emptyDir:\n          sizeLimit: 10Gi\n        name: spill", "no volume"},
		{"scratch without an end", "- emptyDir:\n          sizeLimit: 10Gi\n", "- emptyDir: {}\n", "sizeLimit"},
		{"a policy of nothing", "  name: loadfleet-worker-stores\n  namespace: loadfleet\nspec:\n", "  name: loadfleet-worker-stores\n  namespace: loadfleet\nspec:\n  x: y\n", `unknown field "spec.x"`},
		{"a way out for every role", "- fe80::/10\n  podSelector:\n    matchLabels:\n      app.kubernetes.io/component: worker\n", "- fe80::/10\n  podSelector:\n    matchLabels:\n", "goes out of the cluster"},
		{"a way into the cluster", "        - 10.0.0.0/8\n", "", "10.0.0.0/8"},
		{"another port of NATS", "- port: 4222", "- port: 8222", "4222"},
		{"no default", "policyTypes:\n  - Ingress\n  - Egress", "policyTypes:\n  - Ingress", "denies by default"},
		{"less while it rolls", "maxUnavailable: 0", "maxUnavailable: 1", "maxUnavailable"},
		{"replicas beside a scaler", "  revisionHistoryLimit: 3\n  selector:\n    matchLabels:\n      app.kubernetes.io/component: worker", "  replicas: 2\n  revisionHistoryLimit: 3\n  selector:\n    matchLabels:\n      app.kubernetes.io/component: worker", "replicas"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if !strings.Contains(whole, tt.old) {
				t.Fatalf("nothing to damage: %q is not rendered", tt.old)
			}
			m, err := read(strings.ReplaceAll(whole, tt.old, tt.damaged))
			said := fmt.Sprint(err, "\n", strings.Join(m.findings(t), "\n"))
			if !strings.Contains(said, tt.want) {
				t.Errorf("nothing said %q; said: %s", tt.want, said)
			}
		})
	}
}
