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

// TestShort checks that the table is complete and has numbers in the right cells. It does not judge
// the numbers.
func TestShort(t *testing.T) {
	if os.Getenv("TEST_REDIS") != "server" {
		t.Skip("needs wrk, redis-server and an idle machine; make check-redis runs this test")
	}

	program := filepath.Join(t.TempDir(), "bench")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}

	var stdout, stderr bytes.Buffer
	cmd := exec.Command(program, "-rounds", "1", "-duration", "1s", "-sessions", "20000", "-logouts", "3")
	cmd.Stdout = &stdout
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, &stderr, &stdout)
	}

	out := stdout.String()
	t.Log(out)
	if !regexp.MustCompile(`^\d+ processors, go1\.\S+ linux/\w+, Redis \d`).MatchString(out) {
		t.Errorf("got %.100q, want a first line with the cores and versions", out)
	}

	// The numbers in each row: s for the server, b for the baseline, r for their ratio.
	_, text, _ := strings.Cut(out, "\n| --- |")
	rows := strings.Split(strings.TrimSpace(text), "\n")[1:]
	type row struct{ what, figures string }
	var want []row
	for _, connections := range []string{"1", "16", "64", "256"} {
		what := "`GET /auth/session`, connections: " + connections + "; "
		want = append(want,
			row{what + "requests/s", "sbr"},
			row{what + "p99, ms", "sbr"},
			row{what + "bytes/response", "sbr"},
			row{what + "Redis commands/request", "s"},
		)
	}
	want = append(want, []row{
		{"`GET /auth/me`, connections: 64; requests/s", "sbr"},
		{"`GET /auth/me`, connections: 64; p99, ms", "sbr"},
		{"`GET /auth/session`, first check of a session, ", "sbr"},
		{"`GET /auth/session`, first check of a session, ", "sbr"},
		{"`GET /auth/session` with `SESSION_CACHE=off`, connections: 64; requests/s", "sbr"},
		{"`GET /auth/session` with `SESSION_CACHE=off`, connections: 64; p99, ms", "sbr"},
		{"`GET /auth/session` with `SESSION_CACHE=off`, connections: 64; Redis commands/request", "sbr"},
		{"`POST /auth/login`, ", "sbr"},
		{"Core-seconds for one password", "b"},
		{"A session with its index in Redis, of 20000; bytes", "s"},
		{"Resident memory of a server under load; MiB", "s"},
		{"The same with 20000 sessions in memory; MiB", "s"},
		{"The difference per session; bytes", "sbr"},
		{"`POST /auth/logout`, servers with the session in memory: 1; p50, ms", "sbr"},
		{"`POST /auth/logout`, servers with the session in memory: 1; p99, ms", "sbr"},
		{"`POST /auth/logout`, servers with the session in memory: 2; p50, ms", "sbr"},
		{"`POST /auth/logout`, servers with the session in memory: 2; p99, ms", "sbr"},
		{"`POST /auth/logout`, servers with the session in memory: 3; p50, ms", "sbr"},
		{"`POST /auth/logout`, servers with the session in memory: 3; p99, ms", "sbr"},
		{"`POST /auth/logout`, one of 3 servers suspended; first logout, ms", "s"},
		{"`POST /auth/logout`, one of 3 servers suspended, later logouts; p50, ms", "sbr"},
		{"`POST /auth/logout`, one of 3 servers suspended, later logouts; p99, ms", "sbr"},
	}...)
	if len(rows) != len(want) {
		t.Fatalf("got %d rows, want %d", len(rows), len(want))
	}
	figure := regexp.MustCompile(`^[1-9]\d*(\.\d+)?$|^0\.\d*[1-9]\d*$`)
	for i, row := range rows {
		cells := strings.Split(row, " | ")
		if len(cells) != 6 || !strings.HasPrefix(cells[0], "| "+want[i].what) {
			t.Errorf("got row %s, want 6 cells and the text %s in the first", row, want[i].what)
			continue
		}
		for name, cell := range map[string]string{"s": cells[1], "b": cells[3], "r": cells[4]} {
			if figure.MatchString(cell) != strings.Contains(want[i].figures, name) {
				t.Errorf("got cell %q in row %s, want a number only in the columns %s", cell, row, want[i].figures)
			}
		}
	}
}

// TestRatio checks that a ratio is the median of the rounds, so that outliers do not matter.
func TestRatio(t *testing.T) {
	t.Parallel()
	samples := func(rates ...float64) (all []sample) {
		for _, rate := range rates {
			all = append(all, sample{Count: rate, Seconds: 1})
		}
		return all
	}
	server := samples(80, 10, 900)
	baseline := samples(100, 12.5, 900)
	if got := ratio(server, baseline, sample.rate); got != 0.8 {
		t.Errorf("got ratio %v, want 0.8", got)
	}
	if got := median(server, sample.rate); got != 80 {
		t.Errorf("got median %v, want 80", got)
	}
}

// TestRunSample rejects samples with too many errors or without successes.
func TestRunSample(t *testing.T) {
	t.Parallel()
	for report, ok := range map[string]bool{
		`{"count":1000,"errors":10}`: true,
		`{"count":1000,"errors":11}`: false,
		`{"count":0,"errors":0}`:     false,
		`unable to connect`:          false,
	} {
		if _, err := runSample(exec.Command("printf", `Running 1s test\n%s\n`, report)); (err == nil) != ok {
			t.Errorf("%s: got error %v, want success: %v", report, err, ok)
		}
	}
}

// TestRefuses checks that wrong flags and missing programs are reported before anything starts.
func TestRefuses(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for want, args := range map[string][]string{
		"wrk is not on the PATH": nil,
		"unexpected argument":    {"now"},
		"unknown section":        {"-only", "disk"},
		"must be at least 1":     {"-logouts", "0"},
	} {
		var stdout bytes.Buffer
		err := run(t.Context(), args, &stdout, &bytes.Buffer{})
		if err == nil || !strings.Contains(err.Error(), want) || stdout.Len() > 0 {
			t.Errorf("%v: got error %v and output %q, want error %q", args, err, &stdout, want)
		}
	}
}
