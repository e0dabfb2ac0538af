package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"latchkey/internal/testkit"
	"latchkey/internal/testkit/suite"
)

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		main()
		return
	}

	os.Exit(suite.Run(m))
}

// TestDev pastes the printed commands into a shell. They must work as they are, with a .env
// file for other stores. The account must still exist after a restart.
func TestDev(t *testing.T) {
	suite.Program(t, "curl")
	t.Chdir(t.TempDir())

	settings := "NODE_ENV=development\nREDIS_HOST=unknown\nMONGODB_URI=mongodb://unknown/x\nCOOKIE_DOMAIN=localhost\nSESSION_NAME=nestjs.sid\n"
	testkit.NoError(t, os.WriteFile(".env", []byte(settings), 0o600))

	server := startDev(t)
	commands := regexp.MustCompile(`(?m)^ +curl (?:.*\\\n)*.*`).FindAllString(server.output, -1)
	if len(commands) != 2 || !strings.Contains(server.output, server.api+"/docs") {
		t.Fatalf("got %d commands, want 2, and the URL of the docs:\n%s", len(commands), server.output)
	}
	for i, status := range []string{"201", "200"} {
		got := shell(t, commands[i]+" -sS -w '%{http_code}'")
		if !strings.HasSuffix(got, status) || !strings.Contains(got, "john@example.com") {
			t.Errorf("%s\ngot:\n%s\nwant the user and status %s", commands[i], got, status)
		}
	}

	jar, err := os.ReadFile("cookies.txt")
	if err != nil || !strings.Contains(string(jar), "nestjs.sid") {
		t.Errorf("cookies.txt: got %q, %v; want it to contain a cookie nestjs.sid", jar, err)
	}

	got := shell(t, "curl -sS -X POST "+server.api+"/auth/logout -b cookies.txt; curl -sS "+server.api+"/auth/me -b cookies.txt")
	if !strings.Contains(got, "Logout successful") || !strings.Contains(got, "Please login to continue") {
		t.Errorf("logout, then GET /auth/me: got %s, want a successful logout and a request to log in", got)
	}

	server.stop()
	if files, err := filepath.Glob(dataDir + "/*"); err != nil || len(files) == 0 {
		t.Errorf("files in %s: got %d, %v; want at least 1", dataDir, len(files), err)
	}

	server = startDev(t)
	if got := shell(t, "curl -sS "+server.api+"/auth/me -b cookies.txt"); !strings.Contains(got, "Please login to continue") {
		t.Errorf("GET /auth/me after a logout and a restart: got %s, want a request to log in", got)
	}
	if got := post(t, server.api+"/auth/login", `{"email":"john@example.com","password":"correct horse battery"}`); !strings.Contains(got, "john@example.com") {
		t.Errorf("login after a restart: got %s, want it to contain the user", got)
	}
}

func TestArguments(t *testing.T) {
	for _, test := range []struct {
		args    string
		isUsage bool
		want    string // in the output or the error
	}{
		{"--help", false, "FRONTEND_URL=https://localhost:5173"},
		{"--help", false, "RATE_LIMIT=100/60s"},
		{"doctor --help", false, "--spa"},
		{"help", true, `unexpected argument "help"`},
		{"docter", true, `unexpected argument "docter"`},
		{"--port 3100", true, "unknown flag: --port"},
		{"doctor --spas x", true, "unknown flag: --spas"},
		{"doctor x", true, `unexpected argument "x"`},
	} {
		var out bytes.Buffer
		err := run(t.Context(), strings.Fields(test.args), nil, &out)
		if errors.Is(err, errUsage) != test.isUsage || (err == nil) == test.isUsage {
			t.Errorf("%s: got error %v, want a usage error: %t", test.args, err, test.isUsage)
		}

		if got := out.String() + fmt.Sprint(err); !strings.Contains(got, test.want) {
			t.Errorf("%s: got %q, want it to contain %q", test.args, got, test.want)
		}
	}
}

// TestDoctor runs the doctor for pages that may call the API and for one that may not.
func TestDoctor(t *testing.T) {
	t.Chdir(t.TempDir())

	for spa, want := range map[string]string{
		"http://localhost:5173": "<nil>",
		"http://localhost:5174": "<nil>", // any port of this machine
		"http://box.local:5173": "2 problems found",
		"":                      "<nil>", // the demo
	} {
		args := []string{"doctor"}
		if spa != "" {
			args = append(args, "--spa", spa)
		}

		var out bytes.Buffer
		err := run(t.Context(), args, append(os.Environ(), "FRONTEND_URL=http://localhost:5173"), &out)
		if fmt.Sprint(err) != want || !strings.Contains(out.String(), "CORS: ") {
			t.Errorf("doctor --spa %q: got error %v, want %s and a finding about CORS:\n%s", spa, err, want, out.String())
		}
	}

	// The built-in pages need no other settings, as in the server.
	// So does REQUIRE_MFA=all, because the server creates a DATA_KEY.
	for _, setting := range []string{"PAGES=on", "REQUIRE_MFA=all"} {
		if err := run(t.Context(), []string{"doctor"}, append(os.Environ(), setting), io.Discard); err != nil {
			t.Errorf("doctor with %s: got error %v, want none", setting, err)
		}
	}
}

// devServer is a running server.
type devServer struct {
	api    string
	demo   string
	outbox string // empty if there is none
	output string // the greeting
	stop   func()
}

// startDev runs the program on free ports, with additional environment variables.
func startDev(t *testing.T, more ...string) devServer {
	t.Helper()
	suite.Default(t)

	ctx, cancel := context.WithCancel(context.Background())
	out := &testkit.Buffer{}
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, nil, slices.Concat(os.Environ(), []string{"PORT=0", "BCRYPT_COST=4"}, more), out)
	}()
	stop := sync.OnceFunc(func() {
		cancel()
		testkit.NoError(t, testkit.Receive(t, "the server to stop", done))
	})
	t.Cleanup(stop)

	testkit.Eventually(t, "the greeting", func() bool {
		select {
		case err := <-done:
			done <- err
			t.Fatalf("run: %v\n%s", err, out)
		default:
		}

		return strings.Contains(out.String(), "Ctrl+C")
	})

	find := func(pattern string) string {
		match := regexp.MustCompile(pattern).FindStringSubmatch(out.String())
		if match == nil {
			return ""
		}

		return match[1]
	}

	return devServer{
		api:    find(`API +(http://localhost:\d+)`),
		demo:   find(`Demo +(http://localhost:\d+)`),
		outbox: find(`Outbox +(http://localhost:\d+/mail) `),
		output: out.String(),
		stop:   stop,
	}
}

func shell(t *testing.T, script string) string {
	t.Helper()

	out, err := exec.Command("sh", "-c", script).CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v", script, err)
	}

	return string(out)
}
