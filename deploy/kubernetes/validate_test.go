package kubernetes

import (
	"encoding/json"
	"errors"
	"fmt"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	podtemplate "k8s.io/kubernetes/pkg/api/pod"
	"k8s.io/kubernetes/pkg/apis/apps"
	_ "k8s.io/kubernetes/pkg/apis/apps/install" // their versions and defaults
	appsvalidation "k8s.io/kubernetes/pkg/apis/apps/validation"
	"k8s.io/kubernetes/pkg/apis/autoscaling"
	_ "k8s.io/kubernetes/pkg/apis/autoscaling/install"
	autoscalingvalidation "k8s.io/kubernetes/pkg/apis/autoscaling/validation"
	"k8s.io/kubernetes/pkg/apis/batch"
	_ "k8s.io/kubernetes/pkg/apis/batch/install"
	batchvalidation "k8s.io/kubernetes/pkg/apis/batch/validation"
	"k8s.io/kubernetes/pkg/apis/core"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	corevalidation "k8s.io/kubernetes/pkg/apis/core/validation"
	"k8s.io/kubernetes/pkg/apis/networking"
	_ "k8s.io/kubernetes/pkg/apis/networking/install"
	networkingvalidation "k8s.io/kubernetes/pkg/apis/networking/validation"
	"k8s.io/kubernetes/pkg/apis/policy"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
	policyvalidation "k8s.io/kubernetes/pkg/apis/policy/validation"
	podsecurity "k8s.io/pod-security-admission/api"
	security "k8s.io/pod-security-admission/policy"
)

// validate is the API server's own judgement of a document: values that are none of those that a field may have,
// numbers out of their range, fields that must not stand together.
func validate(text []byte) error {
	object, _, err := legacyscheme.Codecs.UniversalDecoder().Decode(text, nil, nil)
	if err != nil {
		return err
	}
	if named, err := meta.Accessor(object); err != nil {
		return err
	} else if _, is := object.(*core.Namespace); !is && named.GetNamespace() == "" {
		named.SetNamespace("default") // kubectl's to say
	}
	switch o := object.(type) {
	case *core.Namespace:
		return corevalidation.ValidateNamespace(o).ToAggregate()
	case *core.ServiceAccount:
		return corevalidation.ValidateServiceAccount(o).ToAggregate()
	case *core.ConfigMap:
		return corevalidation.ValidateConfigMap(o).ToAggregate()
	case *core.Service:
		if o.Spec.ClusterIPs == nil && o.Spec.ClusterIP != "" {
			o.Spec.ClusterIPs = []string{o.Spec.ClusterIP} // the API server's to say
		}
		return corevalidation.ValidateServiceCreate(o).ToAggregate()
	case *apps.Deployment:
		return appsvalidation.ValidateDeployment(o, podtemplate.GetValidationOptionsFromPodTemplate(&o.Spec.Template, nil)).ToAggregate()
	case *batch.Job:
		o.Spec.Selector = &metav1.LabelSelector{MatchLabels: o.Spec.Template.Labels} // the API server's to say
		return batchvalidation.ValidateJobSpec(&o.Spec, nil, field.NewPath("spec"), podtemplate.GetValidationOptionsFromPodTemplate(&o.Spec.Template, nil)).ToAggregate()
	case *policy.PodDisruptionBudget:
		return policyvalidation.ValidatePodDisruptionBudget(o, policyvalidation.PodDisruptionBudgetValidationOptions{}).ToAggregate()
	case *networking.NetworkPolicy:
		return networkingvalidation.ValidateNetworkPolicy(o, networkingvalidation.NetworkPolicyValidationOptions{}).ToAggregate()
	case *autoscaling.HorizontalPodAutoscaler:
		return autoscalingvalidation.ValidateHorizontalPodAutoscaler(o, autoscalingvalidation.HorizontalPodAutoscalerSpecValidationOptions{
			MinReplicasLowerBound: 1,
		}).ToAggregate()
	default:
		return fmt.Errorf("the tests do not validate %T", object)
	}
}

// autoscaler is what KEDA makes of a ScaledObject.
func (s *scaledObject) autoscaler() []byte {
	minimum, average := int32(s.Spec.Min), resource.MustParse(s.Spec.Triggers[0].Metadata["threshold"])
	made := autoscalingv2.HorizontalPodAutoscaler{
		TypeMeta:   metav1.TypeMeta{APIVersion: "autoscaling/v2", Kind: "HorizontalPodAutoscaler"},
		ObjectMeta: metav1.ObjectMeta{Name: s.Spec.Advanced.HPA.Name, Namespace: "default"},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: s.Spec.ScaleTargetRef.Name},
			MinReplicas:    &minimum,
			MaxReplicas:    int32(s.Spec.Max),
			Behavior:       &s.Spec.Advanced.HPA.Behavior,
			Metrics: []autoscalingv2.MetricSpec{{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{
				Metric: autoscalingv2.MetricIdentifier{Name: "s0-prometheus"},
				Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: &average},
			}}},
		},
	}
	text, err := json.Marshal(made)
	if err != nil {
		panic(err) // it has no such fields
	}
	return text
}

// restricted is what Pod Security would say of a pod in a namespace that enforces its strictest level.
func restricted(about *metav1.ObjectMeta, spec *corev1.PodSpec) error {
	evaluator, err := security.NewEvaluator(security.DefaultChecks(), nil)
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range evaluator.EvaluatePod(podsecurity.LevelVersion{Level: podsecurity.LevelRestricted, Version: podsecurity.LatestVersion()}, about, spec) {
		if !r.Allowed {
			errs = append(errs, errors.New(r.ForbiddenReason+": "+r.ForbiddenDetail))
		}
	}
	return errors.Join(errs...)
}
