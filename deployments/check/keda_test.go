package check

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	_ "github.com/kedacore/keda/v2/version" // the module's definitions are read: its own types need 500 packages more
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// scaledObject has what is looked at here. The whole of it has been checked by its definition.
type scaledObject struct {
	meta.TypeMeta   `json:",inline"`
	meta.ObjectMeta `json:"metadata"`

	Spec struct {
		ScaleTargetRef   struct{ Name string }
		MinReplicaCount  int32
		MaxReplicaCount  int32
		IdleReplicaCount *int32
		Triggers         []struct {
			Type              string
			Metadata          map[string]string
			AuthenticationRef struct{ Name string }
		}
	} `json:"spec"`
}

type triggerAuthentication struct {
	meta.TypeMeta   `json:",inline"`
	meta.ObjectMeta `json:"metadata"`

	Spec struct {
		SecretTargetRef []struct{ Parameter, Name, Key string }
	} `json:"spec"`
}

// definitions are the files of KEDA's custom resource definitions.
var definitions = map[string]string{
	"keda.sh/v1alpha1/ScaledObject":          "keda.sh_scaledobjects.yaml",
	"keda.sh/v1alpha1/TriggerAuthentication": "keda.sh_triggerauthentications.yaml",
}

// kedaFolder returns where KEDA's module is.
var kedaFolder = sync.OnceValues(func() (string, error) {
	folder, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/kedacore/keda/v2").Output()
	return strings.TrimSpace(string(folder)), err
})

// checkDefinition checks an object against the definition of its kind, as strictly as a type would be.
func checkDefinition(file string, text []byte) error {
	module, err := kedaFolder()
	if err != nil {
		return err
	}
	source, err := os.ReadFile(filepath.Join(module, "config/crd/bases", file))
	if err != nil {
		return err
	}
	var definition struct {
		Spec struct {
			Versions []struct {
				Schema struct{ OpenAPIV3Schema map[string]any }
			}
		}
	}
	if err := yaml.Unmarshal(source, &definition); err != nil {
		return err
	}
	schema := definition.Spec.Versions[0].Schema.OpenAPIV3Schema
	refuseOthers(schema)
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(file, schema); err != nil {
		return err
	}
	compiled, err := compiler.Compile(file)
	if err != nil {
		return err
	}
	object, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return compiled.Validate(object)
}

// refuseOthers refuses the properties that a schema does not name. Metadata is every kind's, and named by none.
func refuseOthers(schema map[string]any) {
	properties, _ := schema["properties"].(map[string]any)
	for name, property := range properties {
		if name != "metadata" {
			refuseOthers(property.(map[string]any))
		}
	}
	if _, ok := schema["additionalProperties"]; !ok && properties != nil && schema["x-kubernetes-preserve-unknown-fields"] != true {
		schema["additionalProperties"] = false
	}
	if items, ok := schema["items"].(map[string]any); ok {
		refuseOthers(items)
	}
}

func TestDefinitions(t *testing.T) {
	const kind = "keda.sh/v1alpha1/ScaledObject"
	for text, want := range map[string]string{
		`{"spec":{"scaleTargetRef":{"name":"a"},"triggers":[],"minReplicas":2}}`:                            "additional properties 'minReplicas' not allowed",
		`{"spec":{"scaleTargetRef":{"name":"a"}}}`:                                                          "missing property 'triggers'",
		`{"spec":{"scaleTargetRef":{"name":"a"},"triggers":[{"type":"rabbitmq","metadata":{"value":50}}]}}`: "got number, want string",
	} {
		_, err := decode(kind, []byte(text))
		require.ErrorContains(t, err, want)
	}
}
