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

// configs is the directory of the files for Prometheus and Grafana.
const configs = "../../configs"

// dashboardQueries returns the queries of the Grafana dashboard.
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
	// metric matches the name of one of our metrics and its label selector.
	metric = regexp.MustCompile(`\b(latchkey_[a-z_]+)(\{[^}]*\})?`)
	// matcher matches one label of a selector.
	matcher = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)\s*"`)
	// grouping matches the labels of an aggregation.
	grouping = regexp.MustCompile(`by \(([^)]*)\)`)
)

// exportedLabels returns the labels of each of our metrics, and all labels.
func exportedLabels(t *testing.T) (exported map[string][]string, labels map[string]bool) {
	t.Helper()

	exported = map[string][]string{}
	labels = map[string]bool{"instance": true, "job": true, "le": true}

	families, err := usedMetrics().registry.Gather()
	testkit.NoError(t, err)

	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), namespace+"_") {
			continue
		}

		exported[f.GetName()] = []string{}
		for _, pair := range f.GetMetric()[0].GetLabel() {
			exported[f.GetName()] = append(exported[f.GetName()], pair.GetName())
			labels[pair.GetName()] = true
		}
	}

	return exported, labels
}

// The dashboard and the alerts only use existing metrics and labels. If a metric is renamed, a
// dashboard is empty and an alert never fires, which looks as if everything was fine.
func TestDashboardAndAlertsUseExistingMetrics(t *testing.T) {
	t.Parallel()

	exported, labels := exportedLabels(t)
	rules, err := os.ReadFile(filepath.Join(configs, "alerts.yml"))
	testkit.NoError(t, err)

	seen := map[string]bool{}

	for _, expr := range append(dashboardQueries(t), string(rules)) {
		for _, found := range metric.FindAllStringSubmatch(expr, -1) {
			name := found[1]
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				if base := strings.TrimSuffix(name, suffix); exported[base] != nil {
					name = base
				}
			}

			has, ok := exported[name]
			if !ok {
				t.Errorf("got metric %s, which is not exported", found[1])
			}

			seen[name] = true
			for _, by := range matcher.FindAllStringSubmatch(found[2], -1) {
				if label := by[1]; label != "instance" && !slices.Contains(has, label) {
					t.Errorf("got label %s of %s, which does not exist", label, name)
				}
			}
		}

		for _, by := range grouping.FindAllStringSubmatch(expr, -1) {
			for label := range strings.SplitSeq(by[1], ",") {
				if label = strings.TrimSpace(label); !labels[label] {
					t.Errorf("got label %s in %q, which no metric has", label, by[0])
				}
			}
		}
	}

	for _, name := range slices.Sorted(maps.Keys(exported)) {
		if !seen[name] {
			t.Errorf("got no use of metric %s, want one in the dashboard or an alert", name)
		}
	}
}

// promtool accepts the configuration, the alerts and the queries of the dashboard, and each alert
// fires when it should.
func TestPromtool(t *testing.T) {
	t.Parallel()

	program := suite.Program(t, "promtool") // Debian has it in the package prometheus
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
