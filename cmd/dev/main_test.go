package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"latchkey/internal/testkit/suite"
)

func TestMain(m *testing.M) { os.Exit(suite.Run(m)) }

// TestDev pastes the printed commands into a shell. They must work as they are, with a .env
// file for other stores. The account must still exist after a restart.
func TestDev(t *testing.T) {
	suite.Program(t, "curl")
	t.Chdir(t.TempDir())

	settings := "NODE_ENV=development\nREDIS_HOST=unknown\nMONGODB_URI=mongodb://unknown/x\nCOOKIE_DOMAIN=localhost\nSESSION_NAME=nestjs.sid\n"
	if err := os.WriteFile(".env", []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}

	server := startDev(t)
	commands := regexp.MustCompile(`(?m)^ +curl (?:.*\\\n)*.*`).FindAllString(server.output, -1)
	if len(commands) != 2 || !strings.Contains(server.output, server.api+"/docs") {
		t.Fatalf("got %d commands, want 2, and the URL of the docs:\n%s", len(commands), server.output)
	}
	for i, status := range []string{"201", "200"} {
		got := shell(t, commands[i]+" -sS -w '%{http_code}'")
		if !strings.HasSuffix(got, status) || !strings.Contains(got, "john@example.com") {
			t.Errorf("%s\n%s\nwant status %s and the user", commands[i], got, status)
		}
	}

	jar, err := os.ReadFile("cookies.txt")
	if err != nil || !strings.Contains(string(jar), "nestjs.sid") {
		t.Errorf("cookies.txt is %q, %v; want a cookie nestjs.sid", jar, err)
	}

	got := shell(t, "curl -sS -X POST "+server.api+"/auth/logout -b cookies.txt; curl -sS "+server.api+"/auth/me -b cookies.txt")
	if !strings.Contains(got, "Logout successful") || !strings.Contains(got, "Please login to continue") {
		t.Errorf("after the logout got %s", got)
	}

	server.stop()
	if files, err := filepath.Glob(dataDir + "/*"); err != nil || len(files) == 0 {
		t.Errorf("%s has %d files, %v; want some", dataDir, len(files), err)
	}

	server = startDev(t)
	res, err := http.Post(server.api+"/auth/login", "application/json", strings.NewReader(`{"email":"john@example.com","password":"correct horse battery staple"}`))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("login after a restart: status %d, want 200", res.StatusCode)
	}
}

func TestArguments(t *testing.T) {
	for _, test := range []struct {
		args    string
		isUsage bool
		want    string // in the output or the error
	}{
		{"--help", false, "FRONTEND_URL=http://localhost:5173"},
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
			t.Errorf("%s: got error %v, want a usage error: %v", test.args, err, test.isUsage)
		}

		got := out.String()
		if err != nil {
			got += err.Error()
		}
		if !strings.Contains(got, test.want) {
			t.Errorf("%s: got %q, want %q", test.args, got, test.want)
		}
	}
}

// TestDoctor runs the doctor for pages that may call the API and for one that may not.
func TestDoctor(t *testing.T) {
	t.Chdir(t.TempDir())

	const frontend = "FRONTEND_URL=http://localhost:5173"

	for spa, wantErr := range map[string]string{
		"http://localhost:5173": "",
		"http://localhost:5174": "1 problem found",
		"":                      "", // the demo
	} {
		args := []string{"doctor"}
		if spa != "" {
			args = append(args, "--spa", spa)
		}

		var out bytes.Buffer
		err := run(t.Context(), args, append(os.Environ(), frontend), &out)
		if got := errorText(err); got != wantErr {
			t.Errorf("doctor --spa %q: got error %q, want %q:\n%s", spa, got, wantErr, out.String())
		}
		if !strings.Contains(out.String(), "CORS: ") {
			t.Errorf("doctor --spa %q: got\n%s\nwant a finding about CORS", spa, out.String())
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}

	return err.Error()
}

// devServer is a running server.
type devServer struct {
	api    string
	demo   string
	outbox string // empty if there is none
	output string // the greeting
	stop   func()
}

var (
	apiPattern    = regexp.MustCompile(`API +(http://localhost:\d+)`)
	demoPattern   = regexp.MustCompile(`Demo +(http://localhost:\d+)`)
	outboxPattern = regexp.MustCompile(`Outbox +(http://localhost:\d+/mail) `)
)

// startDev runs the program on free ports, with more environment variables.
func startDev(t *testing.T, more ...string) devServer {
	t.Helper()
	suite.Default(t)

	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, nil, append(append(os.Environ(), "PORT=0"), more...), w)
		_ = w.Close()
	}()

	stop := func() {
		cancel()
		go func() { _, _ = io.Copy(io.Discard, r) }()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("run: %v", err)
			}
			done <- nil // for the next call
		case <-time.After(20 * time.Second):
			t.Error("the server did not stop within 20 seconds")
		}
	}
	t.Cleanup(stop)

	var text strings.Builder
	buffer := make([]byte, 4096)
	for !strings.Contains(text.String(), "Ctrl+C") {
		n, err := r.Read(buffer)
		if err != nil {
			t.Fatalf("run: %v\n%s", <-done, text.String())
		}
		text.Write(buffer[:n])
	}
	go func() { _, _ = io.Copy(io.Discard, r) }()

	return devServer{
		api:    firstGroup(apiPattern, text.String()),
		demo:   firstGroup(demoPattern, text.String()),
		outbox: firstGroup(outboxPattern, text.String()),
		output: text.String(),
		stop:   stop,
	}
}

// firstGroup returns what the first group of a pattern matches, or an empty string.
func firstGroup(pattern *regexp.Regexp, text string) string {
	match := pattern.FindStringSubmatch(text)
	if match == nil {
		return ""
	}

	return match[1]
}

func shell(t *testing.T, script string) string {
	t.Helper()

	out, err := exec.Command("sh", "-c", script).CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v", script, err)
	}

	return string(out)
}
