package check

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/stretchr/testify/require"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/json"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// kinds make an object of every kind that the manifests may have.
var kinds = map[string]func() meta.Object{
	"v1/Namespace":                            func() meta.Object { return &core.Namespace{} },
	"v1/ConfigMap":                            func() meta.Object { return &core.ConfigMap{} },
	"v1/Secret":                               func() meta.Object { return &core.Secret{} },
	"v1/Service":                              func() meta.Object { return &core.Service{} },
	"apps/v1/Deployment":                      func() meta.Object { return &apps.Deployment{} },
	"batch/v1/Job":                            func() meta.Object { return &batch.Job{} },
	"policy/v1/PodDisruptionBudget":           func() meta.Object { return &policy.PodDisruptionBudget{} },
	"autoscaling/v2/HorizontalPodAutoscaler":  func() meta.Object { return &autoscaling.HorizontalPodAutoscaler{} },
	"networking.k8s.io/v1/NetworkPolicy":      func() meta.Object { return &networking.NetworkPolicy{} },
	"networking.k8s.io/v1/Ingress":            func() meta.Object { return &networking.Ingress{} },
	"keda.sh/v1alpha1/ScaledObject":           func() meta.Object { return &scaledObject{} },
	"keda.sh/v1alpha1/TriggerAuthentication":  func() meta.Object { return &triggerAuthentication{} },
	"monitoring.coreos.com/v1/PodMonitor":     func() meta.Object { return &monitoring.PodMonitor{} },
	"monitoring.coreos.com/v1/PrometheusRule": func() meta.Object { return &monitoring.PrometheusRule{} },
}

// overlay is a folder of overlays as a cluster gets it.
type overlay []meta.Object

// each runs test with every folder of overlays: production, and the copies of it that were made for other clusters.
func each(t *testing.T, test func(t *testing.T, all overlay)) {
	t.Helper()
	folders, err := os.ReadDir(filepath.Join(root, "deployments/kubernetes/overlays"))
	require.NoError(t, err)
	require.NotEmpty(t, folders)
	for _, folder := range folders {
		if folder.IsDir() {
			t.Run(folder.Name(), func(t *testing.T) { test(t, render(t, folder.Name())) })
		}
	}
}

// render renders an overlay with secrets made for it: those of a cluster are in no repository.
func render(t *testing.T, name string) overlay {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Join(root, "deployments/kubernetes"))))
	folder := filepath.Join(dir, "overlays", name)
	example, err := os.ReadFile(filepath.Join(folder, "secrets.example.env"))
	require.NoError(t, err)
	secrets := assignment.ReplaceAllStringFunc(string(example), func(line string) string { return line + made(line) })
	require.NoError(t, os.WriteFile(filepath.Join(folder, "secrets.env"), []byte(secrets), 0o600))

	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	require.NoError(t, err)
	var all overlay
	for _, r := range resources.Resources() {
		text, err := r.MarshalJSON()
		require.NoError(t, err)
		object, err := decode(strings.TrimPrefix(r.GetApiVersion()+"/"+r.GetKind(), "/"), text)
		require.NoError(t, err, r.CurId())
		all = append(all, object)
	}
	return all
}

// made returns a value for the secret of a line of secrets.example.env.
func made(line string) string {
	switch name := strings.TrimSuffix(line, "="); name {
	case "RABBITMQ_URL":
		return "amqps://identity:" + made("P=") + "@rabbitmq.smap.example:5671/smap"
	case "RABBITMQ_MANAGEMENT_URL":
		return "https://identity:" + made("P=") + "@rabbitmq.smap.example:15671"
	default:
		return base64.URLEncoding.EncodeToString([]byte(fmt.Sprintf("%-32s", name))[:32])
	}
}

// decode decodes an object. A field that its kind does not have is an error, and so is one that is there twice.
func decode(kind string, text []byte) (meta.Object, error) {
	newObject := kinds[kind]
	if newObject == nil {
		return nil, fmt.Errorf("%s is not a kind that is checked here", kind)
	}
	object := newObject()
	if file := definitions[kind]; file != "" {
		if err := checkDefinition(file, text); err != nil {
			return nil, err
		}
		return object, yaml.Unmarshal(text, object)
	}
	strict, err := json.UnmarshalStrict(text, object)
	if err != nil {
		return nil, err
	}
	if len(strict) > 0 {
		return nil, strict[0]
	}
	return object, nil
}

// find returns the objects of a kind by name. A generated name's suffix is left out.
func find[T meta.Object](o overlay) map[string]T {
	found := map[string]T{}
	for _, object := range o {
		if of, ok := object.(T); ok {
			name := object.GetName()
			for _, generated := range []string{"identity-settings", "identity-secrets"} {
				if strings.HasPrefix(name, generated+"-") {
					name = generated
				}
			}
			found[name] = of
		}
	}
	return found
}

// one returns the only object of a kind.
func one[T meta.Object](t *testing.T, o overlay) T {
	t.Helper()
	found := find[T](o)
	require.Len(t, found, 1)
	for _, object := range found {
		return object
	}
	panic("unreachable")
}

func TestOverlay(t *testing.T) { each(t, testOverlay) }

func testOverlay(t *testing.T, all overlay) {
	t.Run("has every object once", func(t *testing.T) {
		var names []string
		for _, object := range all {
			kind := fmt.Sprintf("%T", object)
			kind = kind[strings.Index(kind, ".")+1:]
			names = append(names, strings.ToUpper(kind[:1])+kind[1:]+" "+object.GetName())
			require.Empty(t, validation.IsDNS1123Subdomain(object.GetName()))
			if _, ok := object.(*core.Namespace); !ok {
				require.Equal(t, "identity", object.GetNamespace(), object.GetName())
			}
		}
		for i, name := range names {
			for _, generated := range []string{"ConfigMap identity-settings", "Secret identity-secrets"} {
				if strings.HasPrefix(name, generated+"-") {
					names[i] = generated
				}
			}
		}
		require.ElementsMatch(t, []string{
			"Namespace identity", "ConfigMap identity-settings", "ConfigMap identity-grants", "Secret identity-secrets",
			"Job identity-migrate", "Deployment identity-api", "Deployment identity-consumer",
			"Service identity-api", "Service identity-internal", "Ingress identity",
			"PodDisruptionBudget identity-api", "PodDisruptionBudget identity-consumer",
			"HorizontalPodAutoscaler identity-api", "ScaledObject identity-consumer", "TriggerAuthentication identity-rabbitmq",
			"NetworkPolicy identity-nothing", "NetworkPolicy identity-servers", "NetworkPolicy identity-api",
			"NetworkPolicy identity-consumer", "PodMonitor identity", "PrometheusRule identity",
		}, names)
	})
	t.Run("refuses a field that a kind does not have", func(t *testing.T) {
		for kind, text := range map[string]string{
			"apps/v1/Deployment":                      `{"spec":{"template":{"spec":{"containers":[{"livenessprobe":{}}]}}}}`,
			"monitoring.coreos.com/v1/PrometheusRule": `{"spec":{"groups":[{"rules":[{"alarm":"X"}]}]}}`,
		} {
			_, err := decode(kind, []byte(text))
			require.ErrorContains(t, err, "unknown field", kind)
		}
		_, err := decode("v1/Service", []byte(`{"spec":{"type":"ClusterIP","type":"NodePort"}}`))
		require.ErrorContains(t, err, "duplicate field")
		_, err = decode("v1/Pod", []byte(`{}`))
		require.Error(t, err)
	})
	t.Run("has the rules of alerts.yaml", func(t *testing.T) {
		var rules monitoring.PrometheusRuleSpec
		strict, err := json.UnmarshalStrict(toJSON(t, read(t, "deployments/alerts.yaml")), &rules)
		require.NoError(t, err)
		require.Empty(t, strict)
		require.NotEmpty(t, rules.Groups)
		require.Equal(t, rules, one[*monitoring.PrometheusRule](t, all).Spec, "run make generate")
	})
	t.Run("takes the images of one release", func(t *testing.T) {
		tags := map[string]bool{}
		for name, pod := range pods(all) {
			for _, c := range pod.Spec.Containers {
				repository, tag, ok := strings.Cut(c.Image, ":")
				require.True(t, ok && tag != "latest", "%s: %s", name, c.Image)
				require.Contains(t, repository, "/", "%s: the overlay does not say where the image is", name)
				tags[tag] = true
			}
		}
		require.Len(t, tags, 1)
	})
}

// pods returns the pods of the manifests, by the name of what makes them.
func pods(o overlay) map[string]core.PodTemplateSpec {
	found := map[string]core.PodTemplateSpec{}
	for name, d := range find[*apps.Deployment](o) {
		found[name] = d.Spec.Template
	}
	for name, j := range find[*batch.Job](o) {
		found[name] = j.Spec.Template
	}
	return found
}
