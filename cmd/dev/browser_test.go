package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
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
	tests += "/browser"
	// The providers have to know where the servers will be, and the servers where the
	// providers are: the ports of the servers are chosen first.
	port, free := takePorts(t)
	strictPort, freeStrict := takePorts(t)
	providers := startProviders(t, tests, "http://localhost:"+port, "http://localhost:"+strictPort)
	page := regexp.MustCompile(`Demo +(http://localhost:\d+)`)
	start := func(settings ...string) (api, at string) {
		t.Chdir(t.TempDir()) // accounts of its own
		api, said, _ := startDev(t, settings...)
		return api, page.FindStringSubmatch(said)[1]
	}
	free()
	api, at := start(slices.Concat(providers, []string{"PORT=" + port})...)
	_, short := start("SESSION_MAX_AGE=3s", "RATE_LIMIT_TOKEN=1/60s")
	freeStrict()
	_, strict := start(slices.Concat(providers, []string{"PORT=" + strictPort, "STEP_UP_MAX_AGE=2s", "PASSWORD_COMMON=refuse"})...)
	node := exec.CommandContext(context.Background(), "node", "--test", "--test-concurrency=1")
	node.Dir = tests
	node.Env = append(slices.Concat(os.Environ(), providers), "API="+api, "PAGE="+at, "SHORT_PAGE="+short, "STRICT_PAGE="+strict)
	out, err := node.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}

// startProviders starts those with whose accounts one signs in and returns the settings
// that name them. apis are the origins of their clients.
func startProviders(t *testing.T, dir string, apis ...string) (settings []string) {
	t.Helper()
	node := exec.CommandContext(context.Background(), "node", "providers.mjs")
	node.Dir = dir
	node.Env = append(os.Environ(), "APIS="+strings.Join(apis, " "))
	var failed bytes.Buffer
	node.Stderr = &failed
	in, err := node.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close() // which ends it
		if err := node.Wait(); err != nil || t.Failed() {
			t.Errorf("the providers: %v\n%s", err, failed.String())
		}
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "ready" {
		settings = append(settings, lines.Text())
	}
	if lines.Text() != "ready" {
		t.Fatal("the providers do not start")
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	return settings
}

// takePorts takes a port and the one after it, which is that of the demo, until free is
// called.
func takePorts(t *testing.T) (port string, free func()) {
	t.Helper()
	for range 100 {
		api, err := net.Listen("tcp", "localhost:0")
		if err != nil {
			t.Fatal(err)
		}
		number := api.Addr().(*net.TCPAddr).Port
		demo, err := net.Listen("tcp", net.JoinHostPort("localhost", strconv.Itoa(number+1)))
		if err == nil {
			return strconv.Itoa(number), func() { _ = api.Close(); _ = demo.Close() }
		}
		_ = api.Close()
	}
	t.Fatal("no two free ports")
	return "", nil
}
