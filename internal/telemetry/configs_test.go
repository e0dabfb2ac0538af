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
)

// configs is where the files for Prometheus and Grafana are.
const configs = "../../configs"

// panel is what is looked at of a panel of Grafana.
type panel struct {
	Title   string
	Type    string
	Targets []struct{ Expr string }
	GridPos struct{ X, Y, W, H int }
}

func dashboard(t *testing.T) (panels []panel, exprs []string) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(configs, "grafana", "dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d struct{ Panels []panel }
	if err := json.Unmarshal(raw, &d); err != nil {
		t.Fatal(err)
	}
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			exprs = append(exprs, target.Expr)
		}
	}
	return d.Panels, exprs
}

var (
	// metric is the name of one of ours, and what it is selected by.
	metric = regexp.MustCompile(`\b(latchkey_[a-z_]+)(\{[^}]*\})?`)
	// matcher is one label of those, and grouping the labels that a sum is by.
	matcher  = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)\s*"`)
	grouping = regexp.MustCompile(`by \(([^)]*)\)`)
)

// A dashboard of a metric that was renamed shows nothing, and an alert on it never fires:
// both look as if all were well.
func TestDashboardAndAlertsUseWhatThereIs(t *testing.T) {
	t.Parallel()
	exported := map[string][]string{}
	labels := map[string]bool{"instance": true, "job": true, "le": true}
	for name, f := range families(t, used()) {
		exported[name] = strings.Split(labelsOf(f), ",")
		for _, label := range exported[name] {
			labels[label] = true
		}
	}
	rules, err := os.ReadFile(filepath.Join(configs, "alerts.yml"))
	if err != nil {
		t.Fatal(err)
	}
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
				t.Errorf("%s is not exported", found[1])
			}
			seen[name] = true
			for _, by := range matcher.FindAllStringSubmatch(found[2], -1) {
				if label := by[1]; label != "instance" && !slices.Contains(has, label) {
					t.Errorf("%s has no label %s", name, label)
				}
			}
		}
		for _, by := range grouping.FindAllStringSubmatch(expr, -1) {
			for label := range strings.SplitSeq(by[1], ",") {
				if label = strings.TrimSpace(label); !labels[label] {
					t.Errorf("nothing has a label %s: %s", label, by[0])
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(exported)) {
		if !seen[name] {
			t.Errorf("nobody looks at %s", name)
		}
	}
}

func TestDashboardHasItsRows(t *testing.T) {
	t.Parallel()
	panels, _ := dashboard(t)
	var rows []string
	for i, p := range panels {
		if p.Type == "row" {
			rows = append(rows, p.Title)
		} else if len(p.Targets) == 0 {
			t.Errorf("%s shows nothing", p.Title)
		}
		for _, q := range panels[:i] {
			a, b := p.GridPos, q.GridPos
			if a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
				t.Errorf("%s lies upon %s", p.Title, q.Title)
			}
		}
	}
	want := []string{"Requests", "Sessions", "Logins and passwords", "Limits", "Stores", "Mail", "Process"}
	if !slices.Equal(rows, want) {
		t.Errorf("%q, want %q", rows, want)
	}
}

// promtool is Prometheus's own word: the settings are of its form, each alert fires when
// it should, and what the dashboard asks is PromQL.
func TestPromtool(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("TEST_REDIS") != "" {
			t.Fatal("needs promtool (Debian has it in the package prometheus)")
		}
		t.Skip("needs promtool on the PATH; make check runs this test")
	}
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
	asked, err := json.Marshal(map[string]any{"groups": []any{map[string]any{"name": "dashboard", "rules": rules}}})
	if err != nil {
		t.Fatal(err)
	}
	ofDashboard := filepath.Join(t.TempDir(), "dashboard.yml") // JSON is YAML
	if err := os.WriteFile(ofDashboard, asked, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"check", "config", filepath.Join(configs, "prometheus.yml")},
		{"check", "rules", filepath.Join(configs, "alerts.yml")},
		{"test", "rules", filepath.Join("testdata", "alerts_test.yml")},
		{"check", "rules", ofDashboard},
	} {
		if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}
