package suite

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Suite is a group of tests that are selected together.
type Suite string

// The suites.
const (
	// Ordinary is every test that does not call Require.
	Ordinary Suite = "ordinary"
	// Outage tests the behavior when stores fail, on stores that the test starts itself.
	Outage Suite = "outage"
	// Race runs conflicting requests at the same time.
	Race Suite = "race"
	// Memory ends sessions that several servers have in memory. It needs a real Redis.
	Memory Suite = "memory"
	// Model plays random request histories and compares the responses with a model.
	Model Suite = "model"
	// Timing compares response times of existing and unknown accounts.
	Timing Suite = "timing"
	// Flood measures how a flood of logins affects other requests.
	Flood Suite = "flood"
	// Failover kills Redis servers under load.
	Failover Suite = "failover"
	// Rolling replaces servers behind nginx under load.
	Rolling Suite = "rolling"
	// Soak runs the program under steady traffic and looks for leaks.
	Soak Suite = "soak"
	// Postman runs the Postman collection with newman.
	Postman Suite = "postman"
	// Browser runs the demo in Chromium.
	Browser Suite = "browser"
	// Clients generates API clients from the OpenAPI document and compiles them.
	Clients Suite = "clients"
	// Backends runs the example backends, which need npm and Python packages.
	Backends Suite = "backends"
)

// all lists every suite; defaultSuites lists those that run without TEST_SUITES.
var (
	all           = []Suite{Ordinary, Outage, Race, Memory, Model, Timing, Flood, Failover, Rolling, Soak, Postman, Browser, Clients, Backends}
	defaultSuites = []Suite{Ordinary, Outage, Race, Model, Timing, Flood}
)

// variable is the environment variable that lists the suites to run.
const variable = "TEST_SUITES"

// requested returns the suites in TEST_SUITES, or nil if the variable is not set.
var requested = sync.OnceValue(func() []Suite {
	var suites []Suite
	for _, name := range strings.FieldsFunc(os.Getenv(variable), func(r rune) bool { return r == ',' || r == ' ' }) {
		suites = append(suites, Suite(name))
	}

	return suites
})

// Selected reports whether the tests of a suite run.
func Selected(s Suite) bool {
	selected := requested()
	if selected == nil {
		selected = defaultSuites
	}

	return slices.Contains(selected, s)
}

var (
	mu         sync.Mutex
	suiteTests = map[string]bool{} // names of top-level tests that called Require
	ranSuites  = map[Suite]bool{}  // suites with a test that ran and was not skipped
)

// topLevel returns the name of the test function that t belongs to.
func topLevel(t testing.TB) string {
	name, _, _ := strings.Cut(t.Name(), "/")

	return name
}

// Require marks the test as belonging to suites, and skips it if none of them is
// selected. Call it first.
func Require(t testing.TB, suites ...Suite) {
	t.Helper()

	mu.Lock()
	suiteTests[topLevel(t)] = true
	mu.Unlock()

	if !slices.ContainsFunc(suites, Selected) {
		t.Skipf("not selected: set %s to one of %v", variable, suites)
	}

	t.Cleanup(func() {
		if t.Skipped() {
			return
		}

		mu.Lock()
		defer mu.Unlock()
		for _, s := range suites {
			ranSuites[s] = true
		}
	})
}

// Default skips a test that belongs to no suite if Ordinary is not selected. Shared
// fixtures call it, so that tests need not.
func Default(t testing.TB) {
	t.Helper()

	mu.Lock()
	inSuite := suiteTests[topLevel(t)]
	mu.Unlock()

	if !inSuite && !Selected(Ordinary) {
		t.Skipf("%s selects other suites", variable)
	}
}

// Program returns the path of a program that the test runs. Without it the test is
// skipped, but fails where TEST_SUITES or TEST_REDIS asks for a complete run.
func Program(t testing.TB, name string) string {
	t.Helper()

	path, err := exec.LookPath(name)
	complete := requested() != nil || os.Getenv("TEST_REDIS") != "" // every make target except test
	switch {
	case err != nil && complete:
		t.Fatalf("%s is not installed", name)
	case err != nil:
		t.Skipf("%s is not installed; make check runs this test", name)
	}

	return path
}

// Run runs the tests of a package and returns the exit code. It fails if TEST_SUITES has
// an unknown suite. It also fails if TEST_SUITES leaves out Ordinary and no test of a
// suite that it names ran: a run that tested nothing must not look like a success.
func Run(m *testing.M) (code int) {
	for _, s := range requested() {
		if !slices.Contains(all, s) {
			fmt.Fprintf(os.Stderr, "%s: unknown suite %q, want any of %v\n", variable, s, all)

			return 2
		}
	}

	code = m.Run()
	if code != 0 || Selected(Ordinary) {
		return code
	}

	for _, s := range requested() {
		if !ranSuites[s] {
			fmt.Fprintf(os.Stderr, "%s: no test of suite %q ran in this package\n", variable, s)
			code = 1
		}
	}

	return code
}
