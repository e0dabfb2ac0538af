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

// panel contains the fields of a Grafana panel that the tests check.
type panel struct {
	Title   string
	Type    string
	Targets []struct{ Expr string }
	GridPos struct{ X, Y, W, H int }
}

func dashboard(t *testing.T) (panels []panel, exprs []string) {
	t.Helper()

	raw, err := os.ReadFile(filepath.Join(configs, "grafana", "dashboard.json"))
	testkit.NoError(t, err)

	var d struct{ Panels []panel }
	testkit.NoError(t, json.Unmarshal(raw, &d))

	for _, p := range d.Panels {
		for _, target := range p.Targets {
			exprs = append(exprs, target.Expr)
		}
	}

	return d.Panels, exprs
}

var (
	// metric matches the name of one of our metrics and its label selector.
	metric = regexp.MustCompile(`\b(latchkey_[a-z_]+)(\{[^}]*\})?`)
	// matcher matches one label of a selector.
	matcher = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)\s*"`)
	// grouping matches the labels of an aggregation.
	grouping = regexp.MustCompile(`by \(([^)]*)\)`)
)

// The dashboard and the alerts only use existing metrics and labels. If a metric is renamed, a
// dashboard is empty and an alert never fires, which looks as if everything was fine.
func TestDashboardAndAlertsUseExistingMetrics(t *testing.T) {
	t.Parallel()

	exported := map[string][]string{}
	labels := map[string]bool{"instance": true, "job": true, "le": true}

	for name, f := range families(t, usedMetrics()) {
		exported[name] = strings.Split(labelsOf(f), ",")
		for _, label := range exported[name] {
			labels[label] = true
		}
	}

	rules, err := os.ReadFile(filepath.Join(configs, "alerts.yml"))
	testkit.NoError(t, err)

	_, exprs := dashboard(t)
	seen := map[string]bool{}

	for _, expr := range append(exprs, string(rules)) {
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

func TestDashboardLayout(t *testing.T) {
	t.Parallel()

	panels, _ := dashboard(t)
	var rows []string

	for i, p := range panels {
		if p.Type == "row" {
			rows = append(rows, p.Title)
		} else if len(p.Targets) == 0 {
			t.Errorf("got panel %q without a query", p.Title)
		}

		for _, q := range panels[:i] {
			a := p.GridPos
			b := q.GridPos
			if a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
				t.Errorf("got overlapping panels %q and %q", p.Title, q.Title)
			}
		}
	}

	want := []string{"Requests", "Sessions", "Logins and passwords", "Rate limits", "Stores", "Email", "Process"}
	if !slices.Equal(rows, want) {
		t.Errorf("got rows %q, want %q", rows, want)
	}
}

// promtool accepts the configuration, the alerts and the queries of the dashboard, and each alert
// fires when it should.
func TestPromtool(t *testing.T) {
	t.Parallel()

	program := suite.Program(t, "promtool") // Debian has it in the package prometheus
	_, exprs := dashboard(t)
	type rule struct {
		Record string `json:"record"`
		Expr   string `json:"expr"`
	}

	var rules []rule
	variables := strings.NewReplacer("$__rate_interval", "5m", "$instance", ".*")

	for i, expr := range exprs {
		rules = append(rules, rule{fmt.Sprintf("panel:%d", i), variables.Replace(expr)})
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
