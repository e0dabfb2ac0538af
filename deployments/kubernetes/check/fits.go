package main

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// stopTime is what the server takes to stop, at most: see internal/app and internal/auth.
const stopTime = 20 * time.Second

// fits tells what names something that is not there. Kubernetes takes all of it without a
// word, and then nothing is selected, nothing is reached, or no pod starts.
func (m *manifests) fits() error {
	var wrong faults
	if len(m.deployments) != 1 || len(m.namespaces) != 1 {
		wrong.add("there are %d Deployments and %d Namespaces, and must be one of each", len(m.deployments), len(m.namespaces))
		return wrong.err()
	}
	d := m.deployments[0]
	pod, on := d.Spec.Template, d.Namespace
	if on != m.namespaces[0].Name {
		wrong.add("the Deployment is in the namespace %q, which is not among these", on)
	}
	selects := func(what metav1.ObjectMeta, s *metav1.LabelSelector) {
		if what.Namespace != on {
			wrong.add("%s: is in the namespace %q", what.Name, what.Namespace)
		}
		selector, err := metav1.LabelSelectorAsSelector(s)
		switch {
		case err != nil:
			wrong.add("%s: %w", what.Name, err)
		case !selector.Matches(labels.Set(pod.Labels)):
			wrong.add("%s: its selector %q does not select the pods", what.Name, selector)
		}
	}
	selects(d.ObjectMeta, d.Spec.Selector)
	for _, s := range m.services {
		selects(s.ObjectMeta, &metav1.LabelSelector{MatchLabels: s.Spec.Selector})
		for _, p := range s.Spec.Ports {
			m.reaches(&wrong, "the Service "+s.Name, p.TargetPort)
		}
	}
	for _, b := range m.budgets {
		selects(b.ObjectMeta, b.Spec.Selector)
	}
	for _, p := range m.policies {
		selects(p.ObjectMeta, &p.Spec.PodSelector)
		for _, rule := range p.Spec.Ingress {
			for _, to := range rule.Ports {
				if to.Port != nil {
					m.reaches(&wrong, "the NetworkPolicy "+p.Name, *to.Port)
				}
			}
		}
	}
	for _, spread := range pod.Spec.TopologySpreadConstraints {
		selects(d.ObjectMeta, spread.LabelSelector)
	}
	for _, a := range m.autoscalers {
		if ref := a.Spec.ScaleTargetRef; ref.Kind != "Deployment" || ref.APIVersion != "apps/v1" || ref.Name != d.Name {
			wrong.add("the HorizontalPodAutoscaler %s scales the %s %s, which is not there", a.Name, ref.Kind, ref.Name)
		}
		if a.Spec.MinReplicas == nil || *a.Spec.MinReplicas < 2 || a.Spec.MaxReplicas < *a.Spec.MinReplicas {
			wrong.add("the HorizontalPodAutoscaler %s must keep two replicas at least", a.Name)
		}
		if d.Spec.Replicas != nil {
			wrong.add("the Deployment has a number of replicas beside the HorizontalPodAutoscaler")
		}
	}
	for _, i := range m.ingresses {
		m.leads(&wrong, i)
	}
	m.runs(&wrong, pod.Spec)
	return wrong.err()
}

// reaches tells whether a container has a port.
func (m *manifests) reaches(wrong *faults, who string, port intstr.IntOrString) {
	for _, c := range m.deployments[0].Spec.Template.Spec.Containers {
		for _, p := range c.Ports {
			if p.Name == port.StrVal && port.Type == intstr.String || p.ContainerPort == port.IntVal && port.Type == intstr.Int {
				return
			}
		}
	}
	wrong.add("%s names the port %s, which no container has", who, port.String())
}

// leads tells whether an Ingress leads to a port of a Service.
func (m *manifests) leads(wrong *faults, i *networkingv1.Ingress) {
	for _, rule := range i.Spec.Rules {
		for _, p := range rule.HTTP.Paths {
			to := p.Backend.Service
			if to == nil || !slices.ContainsFunc(m.services, func(s *corev1.Service) bool {
				return s.Name == to.Name && slices.ContainsFunc(s.Spec.Ports, func(p corev1.ServicePort) bool {
					return p.Name == to.Port.Name && p.Name != "" || p.Port == to.Port.Number
				})
			}) {
				wrong.add("the Ingress %s leads to a port of a Service that is not there", i.Name)
			}
		}
		if !slices.ContainsFunc(i.Spec.TLS, func(t networkingv1.IngressTLS) bool { return slices.Contains(t.Hosts, rule.Host) }) {
			wrong.add("the Ingress %s has no TLS for %s, and the cookie is Secure", i.Name, rule.Host)
		}
	}
}

// runs tells whether a pod can start, and stop in time.
func (m *manifests) runs(wrong *faults, pod corev1.PodSpec) {
	grace := 30 * time.Second
	if pod.TerminationGracePeriodSeconds != nil {
		grace = time.Duration(*pod.TerminationGracePeriodSeconds) * time.Second
	}
	// Services would be variables like REDIS_PORT, which are settings.
	if pod.EnableServiceLinks == nil || *pod.EnableServiceLinks {
		wrong.add("enableServiceLinks must be false: a Service called redis would set REDIS_PORT to an address")
	}
	for _, c := range pod.Containers {
		before := time.Duration(0)
		if c.Lifecycle != nil && c.Lifecycle.PreStop != nil && c.Lifecycle.PreStop.Sleep != nil {
			before = time.Duration(c.Lifecycle.PreStop.Sleep.Seconds) * time.Second
		}
		if grace < before+stopTime {
			wrong.add("%s: terminationGracePeriodSeconds must be %d at least", c.Name, int((before + stopTime).Seconds()))
		}
		for what, probe := range map[string]*corev1.Probe{"startup": c.StartupProbe, "liveness": c.LivenessProbe, "readiness": c.ReadinessProbe} {
			if probe == nil || probe.HTTPGet == nil {
				wrong.add("%s: the %s probe is missing", c.Name, what)
				continue
			}
			m.reaches(wrong, "the "+what+" probe of "+c.Name, probe.HTTPGet.Port)
		}
		volumes := map[string]corev1.Volume{}
		for _, v := range pod.Volumes {
			volumes[v.Name] = v
		}
		for _, mount := range c.VolumeMounts {
			if _, ok := volumes[mount.Name]; !ok {
				wrong.add("%s: there is no volume %s", c.Name, mount.Name)
			}
		}
		if _, err := m.variables(c, pod, ""); err != nil {
			wrong.add("%s: %w", c.Name, err)
		}
	}
}

// variables are the environment of a container. What is the path of a file of a Secret is
// one in dir, if that is given. Where there is no Secret, nothing is said of its files.
func (m *manifests) variables(c corev1.Container, pod corev1.PodSpec, dir string) (map[string]string, error) {
	env := map[string]string{}
	for _, from := range c.EnvFrom {
		i := slices.IndexFunc(m.configs, func(o *corev1.ConfigMap) bool {
			return from.ConfigMapRef != nil && o.Name == from.ConfigMapRef.Name
		})
		if i < 0 {
			return nil, fmt.Errorf("an envFrom names no ConfigMap that is there")
		}
		maps.Copy(env, m.configs[i].Data)
	}
	for _, v := range c.Env {
		env[v.Name] = v.Value
	}
	for name, value := range env {
		if !strings.HasSuffix(name, "_FILE") {
			continue
		}
		secret, key := mounted(c, pod, value)
		if secret == "" {
			return nil, fmt.Errorf("%s: %s is in no Secret that is mounted", name, value)
		}
		if len(m.secrets) > 0 && !slices.ContainsFunc(m.secrets, func(s *corev1.Secret) bool {
			_, ok := s.StringData[key]
			return s.Name == secret && ok
		}) {
			return nil, fmt.Errorf("%s: the Secret %s has no %s", name, secret, key)
		}
		if dir != "" {
			env[name] = path.Join(dir, key)
		}
	}
	return env, nil
}

// mounted names the Secret and its key that a file is, or nothing.
func mounted(c corev1.Container, pod corev1.PodSpec, file string) (secret, key string) {
	for _, mount := range c.VolumeMounts {
		for _, v := range pod.Volumes {
			if v.Name == mount.Name && v.Secret != nil && path.Dir(file) == path.Clean(mount.MountPath) {
				return v.Secret.SecretName, path.Base(file)
			}
		}
	}
	return "", ""
}
