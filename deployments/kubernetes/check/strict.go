package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// manifests are the objects, by their kinds.
type manifests struct {
	namespaces  []*corev1.Namespace
	configs     []*corev1.ConfigMap
	secrets     []*corev1.Secret
	services    []*corev1.Service
	deployments []*appsv1.Deployment
	autoscalers []*autoscalingv2.HorizontalPodAutoscaler
	budgets     []*policyv1.PodDisruptionBudget
	policies    []*networkingv1.NetworkPolicy
	ingresses   []*networkingv1.Ingress
}

// decoder refuses members that no object of the kind has, and those that come twice.
func decoder() runtime.Decoder {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		appsv1.AddToScheme, autoscalingv2.AddToScheme, corev1.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme,
	} {
		utilruntime.Must(add(scheme))
	}
	return serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
}

// read takes a stream of YAML documents apart.
func read(from io.Reader) (*manifests, error) {
	m, strict := &manifests{}, decoder()
	var wrong faults
	documents := yaml.NewYAMLReader(bufio.NewReader(from))
	for n := 1; ; n++ {
		text, err := documents.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		o, err := object(strict, text)
		if err == nil {
			err = m.add(o)
		}
		if err != nil {
			wrong.add("document %d: %w", n, err)
		}
	}
	return m, wrong.err()
}

// object makes an object of the API of a document.
func object(strict runtime.Decoder, text []byte) (runtime.Object, error) {
	o, _, err := strict.Decode(text, nil, nil)
	if err != nil {
		return nil, err
	}
	name := title(o)
	// What must be there and is not comes back with no value when it is written again.
	again, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	written, err := yaml.ToJSON(text)
	if err != nil {
		return nil, err
	}
	var given, full any
	if err := errors.Join(json.Unmarshal(written, &given), json.Unmarshal(again, &full)); err != nil {
		return nil, err
	}
	var wrong faults
	if members, ok := full.(map[string]any); ok {
		delete(members, "status") // Kubernetes's own
	}
	compare(&wrong, name, given, full)
	return o, wrong.err()
}

func title(o runtime.Object) string {
	name := o.GetObjectKind().GroupVersionKind().Kind
	if named, ok := o.(metav1.Object); ok {
		name += " " + named.GetName()
	}
	return name
}

// words are the values of members that take no others, wherever they stand.
var words = map[string][]string{
	"protocol":                   {"TCP", "UDP", "SCTP"},
	"policyTypes":                {"Ingress", "Egress"},
	"pathType":                   {"Exact", "Prefix", "ImplementationSpecific"},
	"whenUnsatisfiable":          {"DoNotSchedule", "ScheduleAnyway"},
	"unhealthyPodEvictionPolicy": {"AlwaysAllow", "IfHealthyBudget"},
	"imagePullPolicy":            {"Always", "IfNotPresent", "Never"},
	"restartPolicy":              {"Always", "OnFailure", "Never"},
	"scheme":                     {"HTTP", "HTTPS"},
}

// compare looks at an object as it was given and as it is written again.
func compare(wrong *faults, at string, given, full any) {
	switch full := full.(type) {
	case map[string]any:
		given, _ := given.(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(full)) {
			value, there := given[name]
			switch {
			case !there && absent(full[name]):
			case !there:
				wrong.add("%s: %s is missing", at, name)
			default:
				compare(wrong, at+"."+name, value, full[name])
			}
		}
	case []any:
		given, _ := given.([]any)
		for i := range min(len(given), len(full)) {
			compare(wrong, fmt.Sprintf("%s[%d]", at, i), given[i], full[i])
		}
	case string:
		_, member, _ := strings.Cut(at[strings.LastIndexByte(at, '.'):], ".")
		member, _, _ = strings.Cut(member, "[")
		if allowed := words[member]; allowed != nil && !slices.Contains(allowed, full) {
			wrong.add("%s: %q is none of %s", at, full, strings.Join(allowed, ", "))
		}
	}
}

// absent tells whether a value that nobody has written is one that may be left out: an
// object that has no members either.
func absent(value any) bool {
	members, ok := value.(map[string]any)
	if !ok {
		return false
	}
	for _, member := range members {
		if !absent(member) {
			return false
		}
	}
	return true
}

func (m *manifests) add(o runtime.Object) error {
	switch o := o.(type) {
	case *corev1.Namespace:
		m.namespaces = append(m.namespaces, o)
	case *corev1.ConfigMap:
		m.configs = append(m.configs, o)
	case *corev1.Secret:
		m.secrets = append(m.secrets, o)
	case *corev1.Service:
		m.services = append(m.services, o)
	case *appsv1.Deployment:
		m.deployments = append(m.deployments, o)
	case *autoscalingv2.HorizontalPodAutoscaler:
		m.autoscalers = append(m.autoscalers, o)
	case *policyv1.PodDisruptionBudget:
		m.budgets = append(m.budgets, o)
	case *networkingv1.NetworkPolicy:
		m.policies = append(m.policies, o)
	case *networkingv1.Ingress:
		m.ingresses = append(m.ingresses, o)
	default:
		return fmt.Errorf("%s: nobody looks at this kind yet; add it to fits.go", title(o))
	}
	return nil
}
