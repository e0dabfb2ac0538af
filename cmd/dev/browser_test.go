package main

import (
	"context"
	"os"
	"os/exec"
	"regexp"
	"testing"
)

// The demo in a real browser, cross-origin, and attacks on it: the tests in browser/.
// CHROMIUM is the browser's program.
func TestBrowser(t *testing.T) {
	chromium := os.Getenv("CHROMIUM")
	if chromium == "" {
		t.Skip("needs CHROMIUM; make check runs this test")
	}
	tests, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	page := regexp.MustCompile(`Demo +(http://localhost:\d+)`)
	t.Chdir(t.TempDir())
	api, said, _ := startDev(t)
	t.Chdir(t.TempDir()) // accounts of its own
	_, short, _ := startDev(t, "SESSION_MAX_AGE=3s", "RATE_LIMIT_TOKEN=1/60s")
	t.Chdir(t.TempDir())
	_, strict, _ := startDev(t, "STEP_UP_MAX_AGE=2s", "PASSWORD_COMMON=refuse")
	at := func(said string) string { return page.FindStringSubmatch(said)[1] }
	node := exec.CommandContext(context.Background(), "node", "--test", "--test-concurrency=1")
	node.Dir = tests + "/browser"
	node.Env = append(os.Environ(), "API="+api, "PAGE="+at(said), "SHORT_PAGE="+at(short), "STRICT_PAGE="+at(strict))
	out, err := node.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}
