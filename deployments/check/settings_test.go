package check

import (
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/smap-platform/identity/config"
)

// programs are what the pods run, by the name that template.env has for it.
var programs = map[string]config.Role{
	"identity-api": config.API, "identity-consumer": config.Consumer, "identity-migrate": config.Migrate,
}

// environment returns the variables of a pod's only container.
func environment(t *testing.T, o overlay, pod core.PodTemplateSpec) map[string]string {
	t.Helper()
	require.Len(t, pod.Spec.Containers, 1)
	c := pod.Spec.Containers[0]
	all := map[string]string{}
	for _, from := range c.EnvFrom {
		require.NotNil(t, from.ConfigMapRef, "a whole Secret is more than a program needs")
		maps.Copy(all, find[*core.ConfigMap](o)["identity-settings"].Data)
		require.Equal(t, find[*core.ConfigMap](o)["identity-settings"].Name, from.ConfigMapRef.Name)
	}
	secrets := find[*core.Secret](o)["identity-secrets"]
	for _, v := range c.Env {
		require.NotNil(t, v.ValueFrom, v.Name)
		ref := v.ValueFrom.SecretKeyRef
		require.NotNil(t, ref, v.Name)
		require.Equal(t, secrets.Name, ref.Name)
		require.Equal(t, v.Name, ref.Key)
		require.Contains(t, secrets.Data, ref.Key)
		all[v.Name] = string(secrets.Data[ref.Key])
	}
	return all
}

func TestSettings(t *testing.T) { each(t, testSettings) }

func testSettings(t *testing.T, all overlay) {
	t.Run("are those of template.env, the secrets apart", func(t *testing.T) {
		var public, secret []string
		for _, s := range settings(t) {
			if s.secret {
				secret = append(secret, s.name)
			} else {
				public = append(public, s.name)
			}
		}
		require.ElementsMatch(t, public, slices.Collect(maps.Keys(find[*core.ConfigMap](all)["identity-settings"].Data)))
		require.ElementsMatch(t, secret, slices.Collect(maps.Keys(find[*core.Secret](all)["identity-secrets"].Data)))
	})
	t.Run("a program gets the secrets that it uses, and no others", func(t *testing.T) {
		for name, pod := range pods(all) {
			var want, got []string
			optional := func(s string, is bool) string { return s + map[bool]string{true: " (optional)"}[is] }
			for _, s := range settings(t) {
				role := string(programs[name])
				if s.secret && slices.Contains(s.usedBy, role) {
					want = append(want, optional(s.name, !slices.Contains(s.requiredBy, role)))
				}
			}
			for _, v := range pod.Spec.Containers[0].Env {
				got = append(got, optional(v.Name, v.ValueFrom.SecretKeyRef.Optional != nil && *v.ValueFrom.SecretKeyRef.Optional))
			}
			require.ElementsMatch(t, want, got, name)
		}
	})
	for name, role := range programs {
		t.Run("the program takes them: "+name, func(t *testing.T) {
			cfg := load(t, role, environment(t, all, pods(all)[name]))
			require.Equal(t, "production", cfg.Service.Env)
			require.Empty(t, cfg.Warnings())
			require.Empty(t, cfg.Risks())
			if role == config.Consumer {
				require.Empty(t, cfg.SMTP.Warnings())
			}
		})
	}
}

// load loads the configuration of role from env and from nothing else.
func load(t *testing.T, role config.Role, env map[string]string) config.Config {
	t.Helper()
	for _, s := range settings(t) {
		t.Setenv(s.name, env[s.name])
	}
	cfg, err := config.Load(role)
	require.NoError(t, err)
	return cfg
}

func TestScaling(t *testing.T) { each(t, testScaling) }

func testScaling(t *testing.T, all overlay) {
	api := find[*apps.Deployment](all)["identity-api"]
	consumer := find[*apps.Deployment](all)["identity-consumer"]
	cfg := load(t, config.Consumer, environment(t, all, consumer.Spec.Template))
	hpa, scaled := one[*autoscaling.HorizontalPodAutoscaler](t, all), one[*scaledObject](t, all)
	limit := func(annotations map[string]string, name string) int {
		n, err := strconv.Atoi(annotations["identity.smap.example/"+name])
		require.NoError(t, err)
		return n
	}
	// While pods are replaced, those that come and those that go are there together.
	pods := func(d *apps.Deployment, most int32) int {
		require.Nil(t, d.Spec.Replicas, "the autoscaler's number would be overwritten")
		more := d.Spec.Strategy.RollingUpdate.MaxSurge.IntValue() + d.Spec.Strategy.RollingUpdate.MaxUnavailable.IntValue()
		require.Equal(t, intstr.Int, d.Spec.Strategy.RollingUpdate.MaxSurge.Type)
		require.Positive(t, more)
		return int(most) + more
	}

	t.Run("keeps two of each", func(t *testing.T) {
		require.GreaterOrEqual(t, *hpa.Spec.MinReplicas, int32(2))
		require.Equal(t, int32(2), scaled.Spec.MinReplicaCount)
		require.Nil(t, scaled.Spec.IdleReplicaCount)
	})
	t.Run("stays below what the mail server takes", func(t *testing.T) {
		most := pods(consumer, scaled.Spec.MaxReplicaCount) * cfg.SMTP.Connections
		require.LessOrEqual(t, most, limit(scaled.Annotations, "smtp-connections"))
	})
	t.Run("stays below what the database takes", func(t *testing.T) {
		const migrations = 1
		most := pods(api, hpa.Spec.MaxReplicas) + pods(consumer, scaled.Spec.MaxReplicaCount) + migrations
		require.LessOrEqual(t, most*cfg.Postgres.MaxConns, limit(hpa.Annotations, "postgres-connections"))
	})
	t.Run("follows what is ready in the two queues of mails", func(t *testing.T) {
		require.Equal(t, consumer.Name, scaled.Spec.ScaleTargetRef.Name)
		require.Equal(t, api.Name, hpa.Spec.ScaleTargetRef.Name)
		authentication := one[*triggerAuthentication](t, all)
		require.Equal(t, find[*core.Secret](all)["identity-secrets"].Name, authentication.Spec.SecretTargetRef[0].Name)
		require.Equal(t, "RABBITMQ_URL", authentication.Spec.SecretTargetRef[0].Key)
		var queues []string
		for _, trigger := range scaled.Spec.Triggers {
			require.Equal(t, "rabbitmq", trigger.Type)
			require.Equal(t, authentication.Name, trigger.AuthenticationRef.Name)
			// The scaler's metadata is text to KEDA's own types.
			require.ElementsMatch(t, []string{"protocol", "queueName", "mode", "value"}, slices.Collect(maps.Keys(trigger.Metadata)))
			require.Equal(t, "QueueLength", trigger.Metadata["mode"])
			require.Equal(t, "amqp", trigger.Metadata["protocol"], "over HTTP what is being handled counts as well")
			queues = append(queues, trigger.Metadata["queueName"])
		}
		require.ElementsMatch(t, []string{"identity.email", "identity.invitation"}, queues)
	})
	t.Run("leaves time to stop and to start", func(t *testing.T) {
		for _, d := range []*apps.Deployment{api, consumer} {
			pod, c := d.Spec.Template.Spec, d.Spec.Template.Spec.Containers[0]
			grace := time.Duration(*pod.TerminationGracePeriodSeconds) * time.Second
			require.GreaterOrEqual(t, grace, cfg.Service.ShutdownTimeout+5*time.Second)
			require.Less(t, cfg.Service.DrainDelay, cfg.Service.ShutdownTimeout/2)
			require.Positive(t, cfg.Service.DrainDelay)
			starting := time.Duration(c.StartupProbe.PeriodSeconds*c.StartupProbe.FailureThreshold) * time.Second
			require.Greater(t, starting, cfg.Service.StartTimeout)
			require.Greater(t, time.Duration(*d.Spec.ProgressDeadlineSeconds)*time.Second, starting)
		}
		require.Equal(t, 0, api.Spec.Strategy.RollingUpdate.MaxUnavailable.IntValue())
	})
}
