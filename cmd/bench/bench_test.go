package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The tables come out whole, with a figure in every cell. What the figures are says
// nothing here.
func TestShort(t *testing.T) {
	if os.Getenv("TEST_REDIS") != "server" {
		t.Skip("needs wrk, redis-server and most of the processors; make check runs this test")
	}
	program := filepath.Join(t.TempDir(), "bench")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(program, "-short")
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, &stderr, &stdout)
	}
	out := stdout.String()
	t.Log(out)
	if !regexp.MustCompile(`^\d+ processors, go1\.\S+ linux/\w+, Redis \d`).MatchString(out) {
		t.Errorf("the first line is %.100q", out)
	}
	// How many lines each table has below its head.
	for title, want := range map[string]int{
		"Checking a session":                                            4,
		"Processor time for one of these requests, µs":                  6,
		"Commands of Redis for one request":                             3,
		"Logging in":                                                    1,
		"Processor time for one login, ms":                              8,
		"GET /auth/session in a flood of logins, against the quiet":     2,
		"Memory of the server":                                          4,
		"Memory of Redis for one session":                               3,
		"GET /auth/session by connections, against net/http with a GET": 4,
		"GET /auth/session by how many sessions there are":              2,
		"Goals": 8,
	} {
		_, rest, found := strings.Cut(out, "\n### "+title+"\n")
		text, _, _ := strings.Cut(rest, "\n### ")
		rows := regexp.MustCompile(`(?m)^\|.*\|$`).FindAllString(text, -1)
		if !found || len(rows) != want+2 {
			t.Errorf("%s has %d lines, want %d: %q", title, len(rows)-2, want, text)
			continue
		}
		columns := strings.Count(rows[0], "|")
		for _, row := range rows[2:] {
			if strings.Count(row, "|") != columns || strings.Contains(row, "NaN") || strings.Contains(row, "Inf") || strings.Contains(row, "|  |") {
				t.Errorf("%s has the line %q", title, row)
			}
		}
	}
}

// What cannot run says so, and starts nothing.
func TestRefuses(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for want, args := range map[string][]string{
		"wrk is not on the PATH": {"-short"},
		"takes no arguments":     {"now"},
		"no section":             {"-only", "checks,elsewhere"},
	} {
		var stdout bytes.Buffer
		err := run(t.Context(), args, &stdout, &bytes.Buffer{})
		if err == nil || !strings.Contains(err.Error(), want) || stdout.Len() > 0 {
			t.Errorf("%v: %v\n%s", args, err, &stdout)
		}
	}
}
