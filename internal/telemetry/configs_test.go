package telemetry

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"latchkey/internal/testkit"
	"latchkey/internal/testkit/suite"
)

// configs is the directory with the configuration of Prometheus and Grafana.
const configs = "../../configs"

// dashboardQueries returns the PromQL queries in the Grafana dashboard.
func dashboardQueries(t *testing.T) []string {
	t.Helper()

	raw, err := os.ReadFile(filepath.Join(configs, "grafana", "dashboard.json"))
	testkit.NoError(t, err)

	var dashboard struct {
		Panels []struct {
			Targets []struct{ Expr string }
		}
	}
	testkit.NoError(t, json.Unmarshal(raw, &dashboard))

	var exprs []string
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			exprs = append(exprs, target.Expr)
		}
	}

	return exprs
}

var (
	// metricRE matches the name of one of our metrics (group 1) and its label selector, if any
	// (group 2).
	metricRE = regexp.MustCompile(`\b(latchkey_[a-z_]+)(\{[^}]*\})?`)
	// labelRE matches a label name (group 1) and its operator in a label selector.
	labelRE = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)\s*"`)
	// groupingRE matches the by clause of an aggregation. Group 1 lists its labels, separated by
	// commas.
	groupingRE = regexp.MustCompile(`by \(([^)]*)\)`)
)

// exportedLabels returns the label names of each of our metrics, and the set of all label names,
// including those that Prometheus adds.
func exportedLabels(t *testing.T) (byMetric map[string][]string, all map[string]bool) {
	t.Helper()

	byMetric = map[string][]string{}
	all = map[string]bool{"instance": true, "job": true, "le": true}

	families, err := usedMetrics().registry.Gather()
	testkit.NoError(t, err)

	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), namespace+"_") {
			continue
		}

		byMetric[f.GetName()] = []string{}
		for _, pair := range f.GetMetric()[0].GetLabel() {
			byMetric[f.GetName()] = append(byMetric[f.GetName()], pair.GetName())
			all[pair.GetName()] = true
		}
	}

	return byMetric, all
}

// The dashboard and the alerts use all our metrics, and no metric or label that does not exist. If a
// metric were renamed only in the code, a panel would stay empty and an alert would never fire, as if
// all were well.
func TestDashboardAndAlertsUseExistingMetrics(t *testing.T) {
	t.Parallel()

	labelsOf, allLabels := exportedLabels(t)
	rules, err := os.ReadFile(filepath.Join(configs, "alerts.yml"))
	testkit.NoError(t, err)

	used := map[string]bool{}

	for _, expr := range append(dashboardQueries(t), string(rules)) {
		for _, match := range metricRE.FindAllStringSubmatch(expr, -1) {
			name := match[1]
			selector := match[2]
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				if base := strings.TrimSuffix(name, suffix); labelsOf[base] != nil {
					name = base
				}
			}

			labels, ok := labelsOf[name]
			if !ok {
				t.Errorf("got a query for metric %s, want only exported metrics", match[1])
			}

			used[name] = true
			for _, match := range labelRE.FindAllStringSubmatch(selector, -1) {
				if label := match[1]; label != "instance" && !slices.Contains(labels, label) {
					t.Errorf("got label %s in a selector for %s, want instance or one of %q",
						label, name, labels)
				}
			}
		}

		for _, match := range groupingRE.FindAllStringSubmatch(expr, -1) {
			for label := range strings.SplitSeq(match[1], ",") {
				if label = strings.TrimSpace(label); !allLabels[label] {
					t.Errorf("got label %s in %q, want a label that some metric has", label, match[0])
				}
			}
		}
	}

	for _, name := range slices.Sorted(maps.Keys(labelsOf)) {
		if !used[name] {
			t.Errorf("got no query for metric %s, want one in the dashboard or an alert", name)
		}
	}
}

// promtool accepts the configuration, the alerts and the dashboard's queries, and each alert fires
// when it should.
func TestPromtool(t *testing.T) {
	t.Parallel()

	program := suite.Program(t, "promtool") // in Debian's package prometheus
	variables := strings.NewReplacer("$__rate_interval", "5m", "$instance", ".*")
	var rules []map[string]string
	for i, expr := range dashboardQueries(t) {
		rules = append(rules, map[string]string{"record": fmt.Sprintf("panel:%d", i), "expr": variables.Replace(expr)})
	}

	dashboardRules, err := json.Marshal(map[string]any{"groups": []any{map[string]any{"name": "dashboard", "rules": rules}}})
	testkit.NoError(t, err)

	rulesFile := filepath.Join(t.TempDir(), "dashboard.yml") // JSON is valid YAML
	testkit.NoError(t, os.WriteFile(rulesFile, dashboardRules, 0o600))

	for _, args := range [][]string{
		{"check", "config", filepath.Join(configs, "prometheus.yml")},
		{"check", "rules", filepath.Join(configs, "alerts.yml")},
		{"test", "rules", filepath.Join("testdata", "alerts_test.yml")},
		{"check", "rules", rulesFile},
	} {
		if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: got error %v, want none\n%s", strings.Join(args, " "), err, out)
		}
	}
}
