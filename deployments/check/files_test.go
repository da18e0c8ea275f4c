package check

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// root is the folder of the repository.
const root = "../.."

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	require.NoError(t, err)
	return string(text)
}

// setting is one variable as template.env describes it.
type setting struct {
	name, value string
	secret      bool
	usedBy      []string
	requiredBy  []string
}

var (
	assignment = regexp.MustCompile(`(?m)^([A-Z0-9_]+)=(.*)$`)
	usedBy     = regexp.MustCompile(`Used by: ([a-z, ]+)\.`)
	requiredBy = regexp.MustCompile(`Required by: ([a-z, ]+)\.`)
	isSecret   = regexp.MustCompile(`(?m)^# Secret\.`)
)

// settings returns those of template.env that a program on servers reads.
func settings(t *testing.T) (all []setting) {
	t.Helper()
	for paragraph := range strings.SplitSeq(read(t, "template.env"), "\n\n") {
		m := assignment.FindStringSubmatch(paragraph)
		if m == nil {
			continue
		}
		s := setting{name: m[1], value: m[2], secret: isSecret.MatchString(paragraph)}
		s.usedBy = strings.Split(usedBy.FindStringSubmatch(paragraph)[1], ", ")
		if m := requiredBy.FindStringSubmatch(paragraph); m != nil {
			s.requiredBy = strings.Split(m[1], ", ")
		}
		if strings.Join(s.usedBy, "") != "standalone" {
			all = append(all, s)
		}
	}
	require.Greater(t, len(all), 60)
	return all
}

// documentedPaths returns the paths of api/openapi.yaml.
func documentedPaths(t *testing.T) map[string]any {
	t.Helper()
	var document struct {
		Paths map[string]any `json:"paths"`
	}
	require.NoError(t, yaml.Unmarshal([]byte(read(t, "api/openapi.yaml")), &document))
	require.NotEmpty(t, document.Paths)
	return document.Paths
}

func toJSON(t *testing.T, text string) []byte {
	t.Helper()
	converted, err := yaml.YAMLToJSONStrict([]byte(text))
	require.NoError(t, err)
	return converted
}
