package check

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
)

func TestPods(t *testing.T) { each(t, testPods) }

func testPods(t *testing.T, all overlay) {
	require.Equal(t, "restricted", one[*core.Namespace](t, all).Labels["pod-security.kubernetes.io/enforce"])
	for name, pod := range pods(all) {
		t.Run(name+" may do nothing that it does not need", func(t *testing.T) {
			s := pod.Spec.SecurityContext
			require.True(t, *s.RunAsNonRoot)
			require.EqualValues(t, 65532, *s.RunAsUser)
			require.Equal(t, core.SeccompProfileTypeRuntimeDefault, s.SeccompProfile.Type)
			require.False(t, *pod.Spec.AutomountServiceAccountToken)
			require.False(t, *pod.Spec.EnableServiceLinks, "the variables of other Services look like settings")
			require.False(t, pod.Spec.HostNetwork || pod.Spec.HostPID || pod.Spec.HostIPC)
			for _, c := range pod.Spec.Containers {
				require.False(t, *c.SecurityContext.AllowPrivilegeEscalation)
				require.True(t, *c.SecurityContext.ReadOnlyRootFilesystem)
				require.Equal(t, []core.Capability{"ALL"}, c.SecurityContext.Capabilities.Drop)
				require.Empty(t, c.SecurityContext.Capabilities.Add)
				require.NotContains(t, c.Resources.Requests, core.ResourceEphemeralStorage)
				for _, amounts := range []core.ResourceList{c.Resources.Requests, c.Resources.Limits} {
					require.Contains(t, amounts, core.ResourceMemory)
				}
				require.Contains(t, c.Resources.Requests, core.ResourceCPU)
			}
			for _, v := range pod.Spec.Volumes {
				require.NotNil(t, v.EmptyDir, v.Name)
				require.Equal(t, core.StorageMediumDefault, v.EmptyDir.Medium, "memory counts as the container's")
				require.NotNil(t, v.EmptyDir.SizeLimit)
			}
		})
	}
	for name, d := range find[*apps.Deployment](all) {
		c := d.Spec.Template.Spec.Containers[0]
		t.Run(name+" is asked what it answers", func(t *testing.T) {
			documented := documentedPaths(t)
			for _, probe := range []*core.Probe{c.StartupProbe, c.ReadinessProbe, c.LivenessProbe} {
				require.Contains(t, documented, probe.HTTPGet.Path)
				require.True(t, hasPort(c, probe.HTTPGet.Port), probe.HTTPGet.Port)
			}
			require.Equal(t, "/ready", c.ReadinessProbe.HTTPGet.Path)
			require.Equal(t, "/live", c.LivenessProbe.HTTPGet.Path, "a restart repairs no server")
			require.GreaterOrEqual(t, c.ReadinessProbe.TimeoutSeconds, int32(3), "/ready asks the database for up to 2.2 s")
		})
		t.Run(name+" listens where its settings say", func(t *testing.T) {
			env := environment(t, all, d.Spec.Template)
			named := map[string]string{"http": "APP_PORT", "internal": "INTERNAL_PORT"}
			if name == "identity-consumer" {
				named["internal"] = "CONSUMER_PORT"
			}
			for _, port := range c.Ports {
				require.Equal(t, env[named[port.Name]], intstrOf(port.ContainerPort), port.Name)
			}
			require.Equal(t, "0.0.0.0", env["HOST"])
		})
		t.Run(name+" is spread over machines and zones", func(t *testing.T) {
			var keys []string
			for _, s := range d.Spec.Template.Spec.TopologySpreadConstraints {
				keys = append(keys, s.TopologyKey)
				require.True(t, selects(t, s.LabelSelector, d.Spec.Template.Labels))
			}
			require.ElementsMatch(t, []string{"kubernetes.io/hostname", "topology.kubernetes.io/zone"}, keys)
		})
	}
	t.Run("an api hashes as many passwords as its memory has room for", func(t *testing.T) {
		limits := find[*apps.Deployment](all)["identity-api"].Spec.Template.Spec.Containers[0].Resources.Limits
		const hash, rest = 19 << 20, 192 << 20
		require.Contains(t, limits, core.ResourceCPU, "without a limit as many are hashed as the node has processors")
		require.Greater(t, limits.Memory().Value(), limits.Cpu().Value()*hash+rest)
	})
	t.Run("an api has room for its uploads", func(t *testing.T) {
		pod := find[*apps.Deployment](all)["identity-api"].Spec.Template.Spec
		require.Equal(t, "/tmp", pod.Containers[0].VolumeMounts[0].MountPath)
		require.Equal(t, pod.Volumes[0].Name, pod.Containers[0].VolumeMounts[0].Name)
		require.Greater(t, pod.Volumes[0].EmptyDir.SizeLimit.Value(), int64(4*16<<20))
	})
	t.Run("the migration runs once, before the processes are ready", func(t *testing.T) {
		job := one[*batch.Job](t, all)
		require.Equal(t, []string{"migrate", "up"}, job.Spec.Template.Spec.Containers[0].Args)
		require.Equal(t, "false", find[*core.ConfigMap](all)["identity-settings"].Data["DB_AUTO_MIGRATE"])
		require.NotNil(t, job.Spec.TTLSecondsAfterFinished)
	})
}

func hasPort(c core.Container, port intstr.IntOrString) bool {
	for _, p := range c.Ports {
		if port.String() == p.Name || port == intstr.FromInt32(p.ContainerPort) {
			return true
		}
	}
	return false
}

func intstrOf(port int32) string { n := intstr.FromInt32(port); return n.String() }

func selects(t *testing.T, selector *meta.LabelSelector, of map[string]string) bool {
	t.Helper()
	s, err := meta.LabelSelectorAsSelector(selector)
	require.NoError(t, err)
	return s.Matches(labels.Set(of))
}

func TestNetwork(t *testing.T) { each(t, testNetwork) }

func testNetwork(t *testing.T, all overlay) {
	// chosen returns the pods that a selector chooses, by the name of what makes them.
	chosen := func(t *testing.T, selector *meta.LabelSelector) (names []string) {
		for name, pod := range pods(all) {
			if selects(t, selector, pod.Labels) {
				names = append(names, name)
			}
		}
		return names
	}
	t.Run("a Service leads to an api, each to its port", func(t *testing.T) {
		for name, port := range map[string]string{"identity-api": "http", "identity-internal": "internal"} {
			s := find[*core.Service](all)[name]
			require.Equal(t, []string{"identity-api"}, chosen(t, &meta.LabelSelector{MatchLabels: s.Spec.Selector}))
			require.Len(t, s.Spec.Ports, 1)
			require.Equal(t, port, s.Spec.Ports[0].TargetPort.String())
		}
	})
	t.Run("the world reaches the api's port, with TLS, and no other", func(t *testing.T) {
		spec := one[*networking.Ingress](t, all).Spec
		require.Nil(t, spec.DefaultBackend)
		for _, rule := range spec.Rules {
			require.Contains(t, spec.TLS[0].Hosts, rule.Host)
			for _, path := range rule.HTTP.Paths {
				require.Equal(t, "identity-api", path.Backend.Service.Name)
				require.Equal(t, "http", path.Backend.Service.Port.Name)
			}
		}
	})
	t.Run("a budget lets one pod of each go", func(t *testing.T) {
		for name, b := range find[*policy.PodDisruptionBudget](all) {
			require.Equal(t, []string{name}, chosen(t, b.Spec.Selector))
			require.Equal(t, "1", b.Spec.MaxUnavailable.String())
		}
	})
	t.Run("metrics are read where both have them", func(t *testing.T) {
		monitor := one[*monitoring.PodMonitor](t, all)
		require.ElementsMatch(t, []string{"identity-api", "identity-consumer"}, chosen(t, &monitor.Spec.Selector))
		require.Contains(t, documentedPaths(t), monitor.Spec.PodMetricsEndpoints[0].Path)
		for _, d := range find[*apps.Deployment](all) {
			port := intstr.FromString(*monitor.Spec.PodMetricsEndpoints[0].Port)
			require.True(t, hasPort(d.Spec.Template.Spec.Containers[0], port))
		}
	})
	t.Run("nothing is open that no policy names", func(t *testing.T) {
		policies := find[*networking.NetworkPolicy](all)
		nothing := policies["identity-nothing"].Spec
		require.Equal(t, meta.LabelSelector{}, nothing.PodSelector)
		require.ElementsMatch(t, []networking.PolicyType{"Ingress", "Egress"}, nothing.PolicyTypes)
		require.Empty(t, nothing.Ingress)
		require.Empty(t, nothing.Egress)
		for name, p := range policies {
			for _, from := range p.Spec.Ingress {
				require.NotEmpty(t, from.From, "%s: everybody", name)
				require.NotEmpty(t, from.Ports, name)
			}
			for _, to := range p.Spec.Egress {
				require.NotEmpty(t, to.Ports, "%s: every port", name)
			}
		}
	})
	t.Run("every server can be reached by those that use it", func(t *testing.T) {
		for _, d := range find[*apps.Deployment](all) {
			env := environment(t, all, d.Spec.Template)
			wanted := []string{env["POSTGRES_PORT"], env["REDIS_PORT"], portOf(env["RABBITMQ_URL"]), portOf(env["OTEL_EXPORTER_OTLP_ENDPOINT"])}
			if d.Name == "identity-consumer" {
				wanted = append(wanted, env["SMTP_PORT"], portOf(env["RABBITMQ_MANAGEMENT_URL"]))
			}
			require.Subset(t, opened(t, all, d.Spec.Template.Labels), wanted, d.Name)
		}
		require.Contains(t, opened(t, all, one[*batch.Job](t, all).Spec.Template.Labels), "5432")
	})
}

// opened returns the ports to which pods with these labels may connect.
func opened(t *testing.T, all overlay, of map[string]string) (ports []string) {
	for _, p := range find[*networking.NetworkPolicy](all) {
		if !selects(t, &p.Spec.PodSelector, of) {
			continue
		}
		for _, to := range p.Spec.Egress {
			for _, port := range to.Ports {
				ports = append(ports, port.Port.String())
			}
		}
	}
	return ports
}

func portOf(url string) string {
	rest := url[strings.LastIndex(url, ":")+1:]
	port, _, _ := strings.Cut(rest, "/")
	return port
}
