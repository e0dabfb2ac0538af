package main

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"syscall"

	"latchkey/internal/testkit"
)

// Settings of a server.
var (
	fromMemory = map[string]string{"SESSION_CACHE": "64MiB"}
	fromRedis  = map[string]string{"SESSION_CACHE": "off"}
)

// server is a running server.
type server struct {
	bench   *bench
	url     string
	opsURL  string // if OPS_ADDR is set
	process *os.Process
	stop    func()
}

// startServer starts a server with production settings, but without rate limits.
func (b *bench) startServer(settings map[string]string) (*server, error) {
	port, err := testkit.FreePort()
	if err != nil {
		return nil, err
	}

	environment := maps.Clone(b.environment)
	environment["PORT"] = port
	maps.Copy(environment, settings)

	cmd := b.command(b.program)
	cmd.Dir = b.dir // without a .env file
	cmd.Env = []string{}
	for name, value := range environment {
		cmd.Env = append(cmd.Env, name+"="+value)
	}

	s := &server{
		bench:  b,
		url:    "http://127.0.0.1:" + port,
		opsURL: "http://" + environment["OPS_ADDR"],
	}
	s.stop, err = b.start(cmd, func() error {
		_, _, err := b.send(request{method: http.MethodGet, url: s.url + "/readyz"})
		return err
	})
	s.process = cmd.Process

	return s, err
}

// suspend stops the process without closing its connections, until resume.
func (s *server) suspend() error { return s.process.Signal(syscall.SIGSTOP) }

func (s *server) resume() { _ = s.process.Signal(syscall.SIGCONT) }

// metric returns the value of a metric without labels.
func (s *server) metric(name string) (float64, error) {
	_, metrics, err := s.bench.send(request{method: http.MethodGet, url: s.opsURL + "/metrics"})
	if err != nil {
		return 0, err
	}

	return findNumber(metrics, name+" ")
}

// residentBytes returns how much physical memory the process uses.
func (s *server) residentBytes() (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.process.Pid))
	if err != nil {
		return 0, err
	}

	kilobytes, err := findNumber(status, "VmRSS:")

	return kilobytes * 1024, err
}

// findNumber returns the number in the line of a text that starts with a prefix.
func findNumber(text []byte, prefix string) (float64, error) {
	match := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(prefix) + `\s*(\S+)`).FindSubmatch(text)
	if match == nil {
		return 0, fmt.Errorf("no line starts with %q", prefix)
	}

	return strconv.ParseFloat(string(match[1]), 64)
}
