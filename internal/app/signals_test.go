package app

import (
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/smap-platform/identity/internal/status"
)

// alert is a rule of deployments/alerts.yaml.
type alert struct {
	Alert       string
	Expr        string
	Labels      map[string]string
	Annotations map[string]string
}

func readAlerts(t *testing.T) []alert {
	t.Helper()
	var file struct{ Groups []struct{ Rules []alert } }
	parse(t, "alerts.yaml", &file)
	require.Len(t, file.Groups, 1)
	return file.Groups[0].Rules
}

func parse(t *testing.T, name string, into any) {
	t.Helper()
	raw, err := os.ReadFile("../../deployments/" + name)
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(raw, into)) // JSON is YAML
}

func TestAlerts(t *testing.T) {
	t.Parallel()
	rules := readAlerts(t)
	names := map[string]bool{}
	t.Run("each leads to its section of the runbook, and says what to do", func(t *testing.T) {
		for _, r := range rules {
			names[r.Alert] = true
			require.Equal(t, "https://github.com/smap-platform/identity/blob/main/docs/runbook.md#"+status.Anchor(r.Alert),
				r.Annotations["runbook_url"])
			require.NotEmpty(t, r.Annotations["summary"], r.Alert)
			require.NotEmpty(t, r.Annotations["action"], r.Alert)
			require.Contains(t, []string{"page", "ticket"}, r.Labels["severity"], r.Alert)
		}
		require.Len(t, names, len(rules))
	})
	t.Run("each fires in one test and is silent in another", func(t *testing.T) {
		var file struct {
			Tests []struct {
				Name  string
				Tests []struct {
					Samples []struct{ Labels string } `yaml:"exp_samples"`
				} `yaml:"promql_expr_test"`
			}
		}
		parse(t, "alerts_test.yaml", &file)
		fires, silent := map[string]bool{}, false
		for _, test := range file.Tests {
			require.Len(t, test.Tests, 1, test.Name)
			silent = silent || len(test.Tests[0].Samples) == 0
			for _, s := range test.Tests[0].Samples {
				fires[regexp.MustCompile(`"(\w+)"`).FindStringSubmatch(s.Labels)[1]] = true
			}
		}
		require.True(t, silent, "all are silent in one")
		require.Equal(t, slices.Sorted(maps.Keys(names)), slices.Sorted(maps.Keys(fires)))
	})
	t.Run("what status finds wrong has an alert", func(t *testing.T) {
		source, err := os.ReadFile("../status/judge.go")
		require.NoError(t, err)
		found := regexp.MustCompile(`(?m)Alert: +"(\w+)"|\{f\.\w+, "\w+", "(\w+)"`).FindAllStringSubmatch(string(source), -1)
		require.Greater(t, len(found), 10)
		for _, m := range found {
			require.True(t, names[m[1]+m[2]], m[0])
		}
	})
}

// TestSignals proves that whatever an alert or a panel asks for is what the binaries expose.
func TestSignals(t *testing.T) {
	p := start(t, t.TempDir())
	p.ok(t, http.StatusCreated, http.MethodPost, "/authentication/register", fields{"email": "a@example.com", "password": "a long enough one"})
	require.Eventually(t, func() bool { // a histogram shows what it is once it has seen something
		return strings.Contains(get(t, p.MonitorURL()+"/metrics"), "event_handler_duration_seconds_count")
	}, 20*time.Second, 10*time.Millisecond)
	exposed := readExposition(t, p.metrics.registry)
	questions := map[string]string{}
	for _, r := range readAlerts(t) {
		questions[r.Alert] = r.Expr
		for _, m := range regexp.MustCompile(`\$labels\.(\w+)`).FindAllStringSubmatch(r.Annotations["summary"]+r.Annotations["action"], -1) {
			require.Regexp(t, `\b`+m[1]+`\b`, r.Expr, "%s: its result has no label %s", r.Alert, m[1])
		}
	}
	var board any
	parse(t, "grafana/identity.json", &board)
	panels := len(questions)
	expressions(board, func(title, expr string) { questions[title] = expr })
	require.Greater(t, len(questions), panels+15, "the board's panels have titles of their own")
	for where, expr := range questions {
		exposed.check(t, where, expr)
	}
	t.Run("a name that is not exposed is found", func(t *testing.T) {
		for _, expr := range []string{
			`max(outbox_rowz) > 1`, `sum by (quue) (dead_letters)`, `dead_letters{quue="identity.email"}`,
			`rate(outbox_rows_bucket[5m])`, `dependency_up{dependency="postgres"}`, `a_metric unless on() outbox_up`,
		} {
			require.NotEmpty(t, exposed.missing(expr), expr)
		}
	})
}

// expressions calls each with every expression below a node of a dashboard, and the title around it.
func expressions(node any, each func(title, expr string)) {
	var walk func(node any, title string)
	walk = func(node any, title string) {
		switch node := node.(type) {
		case map[string]any:
			if own, ok := node["title"].(string); ok {
				title = own
			}
			if expr, ok := node["expr"].(string); ok {
				legend, _ := json.Marshal(node["legendFormat"])
				each(title+" "+string(legend), expr)
			}
			for _, child := range node {
				walk(child, title)
			}
		case []any:
			for _, child := range node {
				walk(child, title)
			}
		}
	}
	walk(node, "")
}

// exposition is what a registry exposes: metrics with their labels, and which values each label has.
type exposition struct {
	labels map[string][]string
	values map[string]map[string]bool // by metric and label, as "metric/label"
}

// changing are labels whose values come with what happens, or differ between the standalone and the other binaries.
var changing = []string{"route", "status", "method", "version", "role", "routing_key", "phase", "error_type", "outcome", "le"}

func readExposition(t *testing.T, r *prometheus.Registry) exposition {
	t.Helper()
	e := exposition{map[string][]string{}, map[string]map[string]bool{}}
	descs := make(chan *prometheus.Desc)
	go func() {
		r.Describe(descs)
		close(descs)
	}()
	described := regexp.MustCompile(`^Desc\{fqName: "(\w+)", .*constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)
	for d := range descs {
		m := described.FindStringSubmatch(strings.ReplaceAll(d.String(), "\n", " "))
		require.NotNil(t, m, d.String())
		e.labels[m[1]] = regexp.MustCompile(`\w+`).FindAllString(regexp.MustCompile(`".*?"`).ReplaceAllString(m[2], "")+" "+m[3], -1)
	}
	families, err := r.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetMetric()[0].GetHistogram() != nil {
			e.labels[f.GetName()+"_bucket"] = append(slices.Clone(e.labels[f.GetName()]), "le")
			e.labels[f.GetName()+"_count"] = e.labels[f.GetName()]
			e.labels[f.GetName()+"_sum"] = e.labels[f.GetName()]
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				key := f.GetName() + "/" + l.GetName()
				if e.values[key] == nil {
					e.values[key] = map[string]bool{}
				}
				e.values[key][l.GetValue()] = true
			}
		}
	}
	return e
}

func (e exposition) check(t *testing.T, where, expr string) {
	t.Helper()
	require.Empty(t, e.missing(expr), "%s: %s", where, expr)
}

var (
	grouping  = regexp.MustCompile(`\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)`)
	selector  = regexp.MustCompile(`\b([a-zA-Z_]\w*)\s*(?:\{([^}]*)\}|([(])?)`)
	matcher   = regexp.MustCompile(`(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"`)
	rangeSpan = regexp.MustCompile(`\[[^\]]*\]`)
	operators = []string{"and", "or", "unless", "bool", "offset"}
	// ofPrometheus are series that Prometheus makes itself.
	ofPrometheus = []string{"ALERTS"}
)

// missing returns what expr asks for that is not exposed. Prometheus itself adds job and instance.
func (e exposition) missing(expr string) (missing []string) {
	expr = rangeSpan.ReplaceAllString(expr, "")
	known := []string{"instance", "job"}
	for _, m := range selector.FindAllStringSubmatch(grouping.ReplaceAllString(expr, ""), -1) {
		name, matchers, function := m[1], m[2], m[3] != ""
		if function || slices.Contains(slices.Concat(operators, ofPrometheus), name) {
			continue
		}
		labels, ok := e.labels[name]
		if !ok {
			missing = append(missing, "the metric "+name)
			continue
		}
		known = append(known, labels...)
		for _, l := range matcher.FindAllStringSubmatch(matchers, -1) {
			values := e.values[name+"/"+l[1]]
			switch {
			case !slices.Contains(append(labels, "instance", "job"), l[1]):
				missing = append(missing, "the label "+l[1]+" of "+name)
			case l[2] == "=" && values != nil && !values[l[3]] && !slices.Contains(changing, l[1]):
				missing = append(missing, "the value "+l[3]+" of "+name+"{"+l[1]+"}")
			}
		}
	}
	for _, m := range grouping.FindAllStringSubmatch(expr, -1) {
		for _, label := range regexp.MustCompile(`\w+`).FindAllString(m[1], -1) {
			if !slices.Contains(known, label) {
				missing = append(missing, "the label "+label)
			}
		}
	}
	return missing
}
