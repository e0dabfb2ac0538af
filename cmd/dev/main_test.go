package main

import (
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The command of the README, and the commands that it prints, pasted into a
// shell: they work as they stand, and the account is there after a restart.
func TestDev(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		if os.Getenv("TEST_REDIS") == "server" {
			t.Fatal("needs curl")
		}
		t.Skip("needs curl on the PATH; make check runs this test")
	}
	t.Chdir(t.TempDir())
	if err := os.WriteFile(".env", []byte("NODE_ENV=development\nREDIS_HOST=nowhere\nMONGODB_URI=mongodb://nowhere/x\nCOOKIE_DOMAIN=localhost\nSESSION_NAME=nestjs.sid\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	base, said, stop := startDev(t)
	var commands []string
	for _, c := range regexp.MustCompile(`(?m)^ +curl (?:.*\\\n)*.*`).FindAllString(said, -1) {
		commands = append(commands, c+" -sS -w '%{http_code}'")
	}
	if len(commands) != 2 || !strings.Contains(said, base+"/docs") {
		t.Fatalf("it says\n%s", said)
	}
	for i, want := range []string{"201", "200"} {
		if got := shell(t, commands[i]); !strings.HasSuffix(got, want) || !strings.Contains(got, "john@example.com") {
			t.Errorf("%s\n%s", commands[i], got)
		}
	}
	jar, err := os.ReadFile("cookies.txt")
	if err != nil || !strings.Contains(string(jar), "nestjs.sid") {
		t.Errorf("cookie jar %s, %v", jar, err)
	}
	if got := shell(t, "curl -sS -X POST "+base+"/auth/logout -b cookies.txt; curl -sS "+base+"/auth/me -b cookies.txt"); !strings.Contains(got, "Logout successful") || !strings.Contains(got, "Please login to continue") {
		t.Errorf("logout: %s", got)
	}
	stop()
	if files, err := filepath.Glob(dataDir + "/*"); err != nil || len(files) == 0 {
		t.Errorf("nothing in %s, %v", dataDir, err)
	}

	base, _, _ = startDev(t)
	res, err := http.Post(base+"/auth/login", "application/json", strings.NewReader(`{"email":"john@example.com","password":"password123"}`))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("login after a restart: %s", res.Status)
	}
}

// startDev runs the program on a free port and returns what it has said.
func startDev(t *testing.T, more ...string) (base, said string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- run(ctx, append(append(os.Environ(), "PORT=0"), more...), w); _ = w.Close() }()
	stop = func() {
		cancel()
		go func() { _, _ = io.Copy(io.Discard, r) }()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("run: %v", err)
			}
			done <- nil
		case <-time.After(20 * time.Second):
			t.Error("it does not stop")
		}
	}
	t.Cleanup(stop)
	var text strings.Builder
	buffer := make([]byte, 4096)
	for !strings.Contains(text.String(), "Ctrl+C") {
		n, err := r.Read(buffer)
		if err != nil {
			t.Fatalf("%v\n%s", <-done, text.String())
		}
		text.Write(buffer[:n])
	}
	go func() { _, _ = io.Copy(io.Discard, r) }()
	base = regexp.MustCompile(`API +(http://localhost:\d+)`).FindStringSubmatch(text.String())[1]
	return base, text.String(), stop
}

func shell(t *testing.T, script string) string {
	t.Helper()
	out, err := exec.Command("sh", "-c", script).CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v", script, err)
	}
	return string(out)
}
