package config

import (
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// documented is one variable as template.env describes it.
type documented struct {
	name, value, standalone string
	usedBy, requiredBy      []string
}

var (
	assignment = regexp.MustCompile(`^([A-Z0-9_]+)=(.*)$`)
	usedBy     = regexp.MustCompile(`Used by: ([a-z, ]+)\.`)
	requiredBy = regexp.MustCompile(`Required by: ([a-z, ]+)\.`)
	standalone = regexp.MustCompile(`Standalone: (\S+)\.$`)
)

func readTemplate(t *testing.T) []documented {
	t.Helper()
	text, err := os.ReadFile("../template.env")
	require.NoError(t, err)

	var all []documented
	for paragraph := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n\n") {
		var d documented
		for line := range strings.Lines(paragraph) {
			line = strings.TrimSpace(line)
			if m := assignment.FindStringSubmatch(line); m != nil {
				require.Empty(t, d.name, "one variable per paragraph: %s", line)
				d.name, d.value = m[1], m[2]
				continue
			}
			require.True(t, strings.HasPrefix(line, "#"), "neither comment nor variable: %q", line)
			require.Empty(t, d.name, "comments go before the variable: %s", line)
			if m := usedBy.FindStringSubmatch(line); m != nil {
				d.usedBy = strings.Split(m[1], ", ")
			}
			if m := requiredBy.FindStringSubmatch(line); m != nil {
				d.requiredBy = strings.Split(m[1], ", ")
			}
			if m := standalone.FindStringSubmatch(line); m != nil {
				d.standalone = m[1]
			}
		}
		if d.name != "" {
			all = append(all, d)
		}
	}
	return all
}

func TestTemplate(t *testing.T) {
	t.Run("describes every variable", func(t *testing.T) {
		var got []documented
		for _, d := range readTemplate(t) {
			d.requiredBy = nil
			got = append(got, d)
		}
		var want []documented
		for _, v := range variables {
			var roles []string
			for _, role := range v.roles {
				roles = append(roles, string(role))
			}
			want = append(want, documented{name: v.name, value: v.fallback, standalone: v.standalone, usedBy: roles})
		}
		require.ElementsMatch(t, want, got)
	})

	t.Run("names the roles that require a variable", func(t *testing.T) {
		clearEnvironment(t)
		for _, role := range all {
			var want []string
			for _, d := range readTemplate(t) {
				for _, r := range d.requiredBy {
					if r == string(role) {
						want = append(want, d.name)
					}
				}
			}
			_, err := Load(role)
			require.ElementsMatch(t, want, variablesOf(err), "role %s with nothing set", role)
		}
	})
}

func variablesOf(err error) []string {
	problems, _ := errors.AsType[Problems](err)
	var names []string
	for _, p := range problems {
		names = append(names, p.Variable)
	}
	return names
}

// clearEnvironment unsets every variable; t.Setenv restores it.
func clearEnvironment(t *testing.T) {
	t.Helper()
	for _, v := range variables {
		t.Setenv(v.name, "")
	}
}
