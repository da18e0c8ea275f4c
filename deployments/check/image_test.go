package check

import (
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/stretchr/testify/require"
	apps "k8s.io/api/apps/v1"
)

// stage is one FROM of the Dockerfile.
type stage struct {
	base   string
	args   []string
	labels map[string]string
	user   string
	ports  []string
}

// stages returns those of the Dockerfile by name.
func stages(t *testing.T) map[string]*stage {
	t.Helper()
	result, err := parser.Parse(strings.NewReader(read(t, "deployments/Dockerfile")))
	require.NoError(t, err)
	require.Empty(t, result.Warnings)
	all := map[string]*stage{}
	var current *stage
	for _, instruction := range result.AST.Children {
		var words []string
		for n := instruction.Next; n != nil; n = n.Next {
			words = append(words, n.Value)
		}
		switch strings.ToUpper(instruction.Value) {
		case "FROM":
			require.Len(t, words, 3, "FROM image AS name")
			current = &stage{base: words[0], labels: map[string]string{}}
			all[words[2]] = current
		case "ARG":
			if current != nil {
				name, _, _ := strings.Cut(words[0], "=")
				current.args = append(current.args, name)
			}
		case "LABEL": // name, value, and what stood between them
			for i := 0; i+1 < len(words); i += 3 {
				current.labels[words[i]] = strings.Trim(words[i+1], `"`)
			}
		case "USER":
			current.user = words[0]
		case "EXPOSE":
			current.ports = append(current.ports, words...)
		}
	}
	return all
}

func TestImages(t *testing.T) {
	all := stages(t)
	t.Run("say what they are", func(t *testing.T) {
		for _, name := range []string{"api", "consumer", "inbox"} {
			labels := map[string]string{}
			for s := all[name]; s != nil; s = all[s.base] {
				for label, value := range s.labels {
					if labels[label] == "" {
						labels[label] = value
						if strings.HasPrefix(value, "${") {
							require.Contains(t, s.args, strings.Trim(value, "${}"), "an ARG ends with its stage")
						}
					}
				}
			}
			const prefix = "org.opencontainers.image."
			require.Equal(t, "identity-"+name, labels[prefix+"title"])
			require.Equal(t, "${VERSION}", labels[prefix+"version"])
			require.Equal(t, "${REVISION}", labels[prefix+"revision"])
			require.NotEmpty(t, labels[prefix+"description"])
			require.Equal(t, "https://github.com/smap-platform/identity", labels[prefix+"source"])
		}
	})
	t.Run("run as the user of the manifests, and open their ports", func(t *testing.T) {
		for name, d := range find[*apps.Deployment](render(t, "production")) {
			s := all[strings.TrimPrefix(name, "identity-")]
			require.Equal(t, "base", s.base)
			require.Equal(t, "65532:65532", all["base"].user)
			for _, port := range s.ports {
				require.Equal(t, port, intstrOf(d.Spec.Template.Spec.Containers[0].Ports[0].ContainerPort))
			}
			require.Len(t, s.ports, 1)
		}
	})
}
