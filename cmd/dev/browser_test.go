package main

import (
	"bufio"
	"bytes"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"latchkey/internal/app"
	"latchkey/internal/config"
	"latchkey/internal/testkit"
	"latchkey/internal/testkit/suite"
)

// TestBrowser runs the tests in the folder browser, which open the demo and attack it in
// Chromium. CHROMIUM is the path of the browser. BROWSER_TESTS selects files; the default is
// all of them.
func TestBrowser(t *testing.T) {
	suite.Require(t, suite.Browser)

	if os.Getenv("CHROMIUM") == "" {
		t.Fatal("set CHROMIUM to the path of Chromium")
	}
	dir, err := os.Getwd()
	testkit.NoError(t, err)
	dir += "/browser"

	// Providers and servers need each other's URLs when they start, so the ports of the
	// servers are reserved first.
	port, release := reservePorts(t)
	strictPort, releaseStrict := reservePorts(t)
	builtInPort, releaseBuiltIn := reservePorts(t)
	invitedPort, releaseInvited := reservePorts(t)
	unverifiedPort, releaseUnverified := reservePorts(t)
	requiredPort, releaseRequired := reservePorts(t)
	providers := startProviders(t, dir, "http://localhost:"+port, "http://localhost:"+strictPort, "http://localhost:"+builtInPort)

	busy := []string{"REDIS_TIMEOUT=10s", "MONGODB_TIMEOUT=10s"} // the machine may be busy
	separate := func() { t.Chdir(t.TempDir()) }                  // from the accounts of other servers
	start := func(settings ...string) devServer {
		separate()
		return startDev(t, append(settings, busy...)...)
	}
	release()
	server := start(slices.Concat(providers, []string{"PORT=" + port})...)
	short := start("SESSION_MAX_AGE=3s", "RATE_LIMIT_TOKEN=1/60s")
	releaseStrict()
	strict := start(slices.Concat(providers, []string{"PORT=" + strictPort, "STEP_UP_MAX_AGE=5s", "PASSWORD_COMMON=refuse"})...)
	releaseBuiltIn()
	builtIn := start(slices.Concat(providers, []string{"PORT=" + builtInPort, "PAGES=on", "APP_NAME=Odd & Co", "APP_COLOR=#ffdd00"})...)
	releaseUnverified()
	// A second link within MAIL_INTERVAL is not sent. It would void the first one.
	unverified := start("PORT="+unverifiedPort, "PAGES=on", "REQUIRE_VERIFIED_EMAIL=true", "STEP_UP_MAX_AGE=5s", "MAIL_INTERVAL=30m")

	releaseRequired()
	required := start("PORT="+requiredPort, "PAGES=on", "REQUIRE_MFA=all")

	separate()
	inviteOnly := []string{"PORT=" + invitedPort, "PUBLIC_URL=http://localhost:" + invitedPort, "PAGES=on", "REGISTRATION=invite", "REQUIRE_VERIFIED_EMAIL=true"}
	invitation := invite(t, inviteOnly)
	releaseInvited()
	invited := startDev(t, append(inviteOnly, busy...)...)

	// The spec reporter repeats the failed tests at the end, where a long log is not cut.
	args := append([]string{"--test", "--test-concurrency=1", "--test-reporter=spec"}, strings.Fields(os.Getenv("BROWSER_TESTS"))...)
	node := exec.Command("node", args...)
	node.Dir = dir
	node.Env = append(slices.Concat(os.Environ(), providers),
		"API="+server.api, "PAGE="+server.demo, "BUILT_IN="+builtIn.api, "OUTBOX="+builtIn.demo, "SHORT_PAGE="+short.demo, "STRICT_PAGE="+strict.demo,
		"INVITED="+invited.api, "INVITED_OUTBOX="+invited.demo, "INVITATION="+invitation,
		"UNVERIFIED="+unverified.api, "UNVERIFIED_OUTBOX="+unverified.demo,
		"REQUIRED="+required.api, "REQUIRED_PAGE="+required.demo)
	node.Stdout = t.Output()
	node.Stderr = t.Output()

	testkit.NoError(t, node.Run())
}

// invite invites two people to the server that will start in this directory, as latchkey users invite
// does: one gets an email from the server, and the link for the other one is returned. It cannot run
// later, because only the server itself can reach its stores.
func invite(t *testing.T, settings []string) (link string) {
	t.Helper()

	vars, err := config.Environ(slices.Concat(os.Environ(), settings), ".env")
	testkit.NoError(t, err)

	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	stop, err := useDevStores(vars, log)
	testkit.NoError(t, err)
	defer stop()
	testkit.NoError(t, setSecrets(vars, log))
	setDefaults(vars)
	// The emails wait for the server, which sends them to its outbox.
	vars["SMTP_URL"] = "smtp://localhost:1"
	vars["MAIL_FROM"] = "test@example.com"

	c, err := config.Load(vars)
	testkit.NoError(t, err)
	admin, err := app.OpenAdmin(c, t.Output())
	testkit.NoError(t, err)
	defer admin.Close()

	_, err = admin.Invite(t.Context(), "bob@example.com", "")
	testkit.NoError(t, err)
	link, err = admin.InviteWithLink(t.Context(), "ann@example.com", "Ann & Co")
	testkit.NoError(t, err)

	return link
}

// startProviders starts the OAuth providers and returns the settings for them. apis are the
// origins of the servers that use them.
func startProviders(t *testing.T, dir string, apis ...string) (settings []string) {
	t.Helper()

	node := exec.Command("node", "providers.mjs")
	node.Dir = dir
	node.Env = append(os.Environ(), "APIS="+strings.Join(apis, " "))
	var stderr bytes.Buffer
	node.Stderr = &stderr
	in, err := node.StdinPipe()
	testkit.NoError(t, err)
	out, err := node.StdoutPipe()
	testkit.NoError(t, err)
	testkit.NoError(t, node.Start())

	t.Cleanup(func() {
		_ = in.Close() // providers.mjs exits
		if err := node.Wait(); err != nil || t.Failed() {
			t.Errorf("providers.mjs: %v\n%s", err, stderr.String())
		}
	})

	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "ready" {
		settings = append(settings, lines.Text())
	}
	if lines.Text() != "ready" {
		t.Fatal("providers.mjs did not start")
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()

	return settings
}

// reservePorts listens on a free port and on the one after it, which the demo uses, until
// release is called.
func reservePorts(t *testing.T) (port string, release func()) {
	t.Helper()

	for range 100 {
		api, err := net.Listen("tcp", "localhost:0")
		testkit.NoError(t, err)

		number := api.Addr().(*net.TCPAddr).Port
		demo, err := net.Listen("tcp", net.JoinHostPort("localhost", strconv.Itoa(number+1)))
		if err == nil {
			return strconv.Itoa(number), func() { _ = api.Close(); _ = demo.Close() }
		}
		_ = api.Close()
	}

	t.Fatal("cannot find two consecutive free ports")
	return "", nil
}
