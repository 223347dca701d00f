// Package kubernetes holds the fleet's manifests to Kubernetes' own types, to the program that they start, and its
// scaler to its arithmetic. It needs no cluster.
package kubernetes

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	strict "sigs.k8s.io/json"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

const (
	base       = "base"
	production = "overlays/production"
)

// render is what `kubectl kustomize DIRECTORY` prints.
func render(t *testing.T, dir string) string {
	t.Helper()
	made, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		t.Fatal(err)
	}
	text, err := made.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// scaledObject is what of KEDA's type the manifests use.
type scaledObject struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		ScaleTargetRef struct {
			Name string `json:"name"`
		} `json:"scaleTargetRef"`
		PollingInterval int      `json:"pollingInterval"`
		Min             int      `json:"minReplicaCount"`
		Max             int      `json:"maxReplicaCount"`
		Fallback        fallback `json:"fallback"`
		Advanced        struct {
			HPA struct {
				Name     string                                        `json:"name"`
				Behavior autoscalingv2.HorizontalPodAutoscalerBehavior `json:"behavior"`
			} `json:"horizontalPodAutoscalerConfig"`
		} `json:"advanced"`
		Triggers []trigger `json:"triggers"`
	} `json:"spec"`
}

type fallback struct {
	FailureThreshold int    `json:"failureThreshold"`
	Replicas         int    `json:"replicas"`
	Behavior         string `json:"behavior"`
}

type trigger struct {
	Type       string            `json:"type"`
	MetricType string            `json:"metricType"`
	Metadata   map[string]string `json:"metadata"`
}

// manifests is what a rendered directory holds.
type manifests struct {
	namespaces  []*corev1.Namespace
	accounts    []*corev1.ServiceAccount
	configs     []*corev1.ConfigMap
	services    []*corev1.Service
	deployments []*appsv1.Deployment
	jobs        []*batchv1.Job
	disruptions []*policyv1.PodDisruptionBudget
	policies    []*networkingv1.NetworkPolicy
	scaled      []*scaledObject
}

// read decodes each document as strictly as an API server that is asked to (fields that there are not, in another
// case, or twice are errors), and validates it as it would.
func read(text string) (*manifests, error) {
	m := &manifests{}
	var errs []error
	for _, doc := range documents(text) {
		if err := m.add(doc); err != nil {
			errs = append(errs, err)
		}
	}
	return m, errors.Join(errs...)
}

func documents(text string) (all []string) {
	for _, doc := range strings.Split("\n"+text, "\n---\n") {
		if strings.TrimSpace(doc) != "" {
			all = append(all, doc)
		}
	}
	return all
}

func (m *manifests) add(doc string) error {
	// YAML says a key twice: the converter refuses it. The rest is judged as JSON.
	text, err := yaml.YAMLToJSONStrict([]byte(doc))
	if err != nil {
		return err
	}
	var what metav1.PartialObjectMetadata
	if err := strict.UnmarshalCaseSensitivePreserveInts(text, &what); err != nil {
		return err
	}
	switch kind := what.APIVersion + " " + what.Kind; kind {
	case "v1 Namespace":
		return decode(text, &m.namespaces)
	case "v1 ServiceAccount":
		return decode(text, &m.accounts)
	case "v1 ConfigMap":
		return decode(text, &m.configs)
	case "v1 Service":
		return decode(text, &m.services)
	case "apps/v1 Deployment":
		return decode(text, &m.deployments)
	case "batch/v1 Job":
		return decode(text, &m.jobs)
	case "policy/v1 PodDisruptionBudget":
		return decode(text, &m.disruptions)
	case "networking.k8s.io/v1 NetworkPolicy":
		return decode(text, &m.policies)
	case "keda.sh/v1alpha1 ScaledObject":
		if err := scaledObjectSchema()(text); err != nil {
			return fmt.Errorf("ScaledObject %s: %w", what.Name, err)
		}
		return decode(text, &m.scaled)
	default:
		return fmt.Errorf("%s %s: the tests know no such kind", kind, what.Name)
	}
}

func decode[T any](text []byte, all *[]*T) error {
	one := new(T)
	wrong, err := strict.UnmarshalStrict(text, one)
	if err := errors.Join(append(wrong, err)...); err != nil {
		return fmt.Errorf("%T: %w", *one, err)
	}
	*all = append(*all, one)
	if scaled, ok := any(one).(*scaledObject); ok {
		text = scaled.autoscaler()
	}
	if err := validate(text); err != nil {
		return fmt.Errorf("%T: %w", *one, err)
	}
	return nil
}

// scaledObjectSchema judges by the schema of KEDA's own definition, closed: the API server would drop what it does not
// know, and a scaler that lacks its fallback by a slip of the pen looks well until it is needed.
var scaledObjectSchema = sync.OnceValue(func() func([]byte) error {
	text, err := os.ReadFile("testdata/keda/keda.sh_scaledobjects.yaml")
	if err != nil {
		panic(err)
	}
	var crd struct {
		Spec struct {
			Versions []struct {
				Schema struct {
					OpenAPI map[string]any `json:"openAPIV3Schema"`
				} `json:"schema"`
			} `json:"versions"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(text, &crd); err != nil {
		panic(err)
	}
	root := crd.Spec.Versions[0].Schema.OpenAPI
	closed(root)
	// Kubernetes' own, which a definition leaves open.
	root["properties"].(map[string]any)["metadata"] = map[string]any{"type": "object"}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("scaledobject.json", root); err != nil {
		panic(err)
	}
	schema := compiler.MustCompile("scaledobject.json")
	return func(text []byte) error {
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			return err
		}
		return schema.Validate(value)
	}
})

// closed refuses properties that a schema does not name.
func closed(schema map[string]any) {
	if _, ok := schema["properties"]; ok {
		schema["additionalProperties"] = false
	}
	for _, v := range schema {
		switch v := v.(type) {
		case map[string]any:
			closed(v)
		case []any:
			for _, v := range v {
				if v, ok := v.(map[string]any); ok {
					closed(v)
				}
			}
		}
	}
}

// TestSourcesAreStrict finds what rendering hides: a key that a file has twice.
func TestSourcesAreStrict(t *testing.T) {
	for _, dir := range []string{base, production} {
		files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", dir, len(files), err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if filepath.Base(file) == "kustomization.yaml" {
				if _, err := yaml.YAMLToJSONStrict(text); err != nil {
					t.Errorf("%s: %v", file, err)
				}
				continue // kustomize itself refuses fields that it does not know
			}
			if _, err := read(string(text)); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}
