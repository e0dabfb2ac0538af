package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
	"latchkey/internal/testkit/suite"
)

func TestMain(m *testing.M) { storetest.Main(m) }

const secret = "Zm9ydHktdHdvIGNoYXJhY3RlcnMgb2YgcmFuZG9tbmVzcw"

// dataKey is a DATA_KEY that production accepts.
const dataKey = "q7ZpT2mVx9KdR4wLc8NbY1sHf6JgA3uEoXi5tPyBzWk"

// environment returns the settings of a server behind a proxy, with its own stores.
func environment(t *testing.T, more ...string) []string {
	return slices.Concat(baseSettings(storetest.NewRedis(t), storetest.Mongo(t)), []string{
		"TRUSTED_PROXIES=127.0.0.1",
		"RATE_LIMIT=1000/60s", // tests send many more requests than people do
		"REDIS_TIMEOUT=10s",   // the machine may be busy
		"MONGODB_TIMEOUT=10s",
		"DRAIN_TIME=0",
	}, more)
}

// baseSettings returns the settings that every server needs.
func baseSettings(redis storetest.Redis, mongo string) []string {
	settings := []string{
		"HOST=127.0.0.1",
		"PORT=0",
		"SESSION_SECRET=" + secret,
		"MONGODB_URI=" + mongo,
		fmt.Sprintf("REDIS_URI=redis://%s/%d", redis.Addr, redis.DB),
	}
	if redis.InProcess {
		settings = append(settings, "SESSION_CACHE=off")
	}

	return settings
}

// withoutStores returns the settings of a server whose stores are down.
func withoutStores(more ...string) []string {
	return append([]string{
		"HOST=127.0.0.1",
		"PORT=0",
		"TRUSTED_PROXIES=127.0.0.1",
		"SESSION_SECRET=" + secret,
		"MONGODB_URI=mongodb://u:hunter2@127.0.0.1:1/x",
		"REDIS_URI=redis://u:hunter2@127.0.0.1:1",
	}, more...)
}

// command runs a command with standard input and returns its standard output.
func command(environ []string, input string, args ...string) (string, error) {
	out := &testkit.Buffer{}
	err := run(context.Background(), args, environ, stdio{strings.NewReader(input), out, io.Discard})

	return out.String(), err
}

// runHealthcheck runs "latchkey healthcheck" against a server.
func runHealthcheck(addr string, more ...string) error {
	_, port, _ := net.SplitHostPort(addr)
	_, err := command(append([]string{"HOST=127.0.0.1", "PORT=" + port}, more...), "", "healthcheck")

	return err
}

// listenAddr returns the host:port in the log of a server, or "" if it does not listen yet.
func listenAddr(log string) string {
	for line := range strings.Lines(log) {
		var entry struct{ Msg, Addr string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "listening" {
			return entry.Addr
		}
	}

	return ""
}

// start runs the program in this process until the test ends.
func start(t *testing.T, environ []string) (addr string, log *testkit.Buffer, stop func() error) {
	t.Helper()
	suite.Default(t)

	ctx, cancel := context.WithCancel(context.Background())
	log = &testkit.Buffer{}
	done := make(chan error, 1)
	go func() { done <- run(ctx, nil, environ, stdio{out: log}) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { _ = stop() })

	testkit.Eventually(t, "the server to listen", func() bool {
		select {
		case err := <-done:
			done <- err
			t.Fatalf("the server stopped: %v\n%s", err, log)
		default:
		}
		addr = listenAddr(log.String())

		return addr != ""
	})

	return addr, log, stop
}

// build compiles the program, with flags for the compiler, and returns its path.
func build(t *testing.T, flags ...string) string {
	t.Helper()
	suite.Default(t)

	file := filepath.Join(t.TempDir(), "latchkey")
	args := slices.Concat([]string{"build", "-o", file}, flags, []string{"."})
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}

	return file
}

// process is the program in its own process, for tests that kill or measure it.
type process struct {
	addr   string
	out    *testkit.Buffer
	cmd    *exec.Cmd
	exited chan struct{} // closed when the process has exited
}

// startProcess runs the program in its own process until the test ends.
func startProcess(t *testing.T, file string, environ []string) *process {
	t.Helper()

	p := &process{out: &testkit.Buffer{}, cmd: exec.Command(file), exited: make(chan struct{})}
	p.cmd.Env = environ
	p.cmd.Dir = t.TempDir()
	p.cmd.Stdout = p.out
	p.cmd.Stderr = p.out
	testkit.NoError(t, p.cmd.Start())
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait()
	}()
	t.Cleanup(p.stop)

	testkit.Eventually(t, "the server to listen", func() bool {
		select {
		case <-p.exited:
			t.Fatalf("the server stopped: %v\n%s", p.cmd.ProcessState, p.out)
		default:
		}
		p.addr = listenAddr(p.out.String())

		return p.addr != ""
	})

	return p
}

// stop terminates the process as an operator does, with SIGTERM.
func (p *process) stop() {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); errors.Is(err, os.ErrProcessDone) {
		<-p.exited
		return
	}

	select {
	case <-p.exited:
	case <-time.After(20 * time.Second):
		p.kill()
	}
}

// kill terminates the process with SIGKILL.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// startProgram runs an external program until the test ends. Its output is logged if the
// test fails.
func startProgram(t *testing.T, name string, args ...string) {
	t.Helper()
	startCommand(t, exec.Command(name, args...))
}

// startCommand is startProgram for a command.
func startCommand(t *testing.T, cmd *exec.Cmd) {
	t.Helper()

	out := &testkit.Buffer{}
	cmd.Stdout = out
	cmd.Stderr = out
	testkit.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("output of %s:\n%s", cmd.Path, out)
		}
	})
}

// waitForListener waits until a program listens.
func waitForListener(t *testing.T, addr string) {
	t.Helper()

	testkit.Eventually(t, "a listener on "+addr, func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			_ = conn.Close()
		}

		return err == nil
	})
}

// response is a response with its body.
type response struct {
	*http.Response
	text string
}

// status returns the status code, or 0 if there is no response.
func (r response) status() int {
	if r.Response == nil {
		return 0
	}

	return r.StatusCode
}

// cookie returns the first cookie of the response as "name=value", or "".
func (r response) cookie() string {
	pair, _, _ := strings.Cut(r.Header.Get("Set-Cookie"), ";")

	return pair
}

// fetch sends a request, with body as JSON unless it is empty. headers are pairs of a name and a
// value. A header with an empty value is not sent, and "Host" sets the request's host.
func fetch(c *http.Client, method, url, body string, headers ...string) (response, error) {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return response{}, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for pair := range slices.Chunk(headers, 2) {
		name := pair[0]
		value := pair[1]
		switch {
		case value == "":
		case name == "Host":
			req.Host = value
		default:
			req.Header.Set(name, value)
		}
	}

	res, err := c.Do(req)
	if err != nil {
		return response{}, err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)

	return response{res, string(text)}, err
}

// send is like fetch, but fails the test if there is an error.
func send(t *testing.T, method, url, body string, headers ...string) response {
	t.Helper()

	res, err := fetch(http.DefaultClient, method, url, body, headers...)
	testkit.NoError(t, err)

	return res
}

// mustSend sends a request and fails the test unless the response has the given status.
func mustSend(t *testing.T, want int, method, url, body string) response {
	t.Helper()

	res := send(t, method, url, body)
	if res.StatusCode != want {
		t.Fatalf("%s %s: got %d %.300s, want %d", method, url, res.StatusCode, res.text, want)
	}

	return res
}

// failures counts the errors of concurrent clients.
type failures struct {
	mu     sync.Mutex
	counts map[string]int
}

// add counts an error. It ignores nil.
func (f *failures) add(err error) {
	if err == nil {
		return
	}

	f.mu.Lock()
	defer f.mu.Unlock()
	if f.counts == nil {
		f.counts = map[string]int{}
	}
	f.counts[err.Error()]++
}

// report fails the test if there were errors.
func (f *failures) report(t *testing.T) {
	t.Helper()

	for message, count := range f.counts {
		t.Errorf("%d times: %s", count, message)
	}
}

// wantGet sends a GET request and fails the test unless the response has the given status and
// contains the given text.
func wantGet(t *testing.T, url string, status int, text string) {
	t.Helper()

	if res := send(t, "GET", url, ""); res.StatusCode != status || !strings.Contains(res.text, text) {
		t.Errorf("GET %s: got %d %.300s, want %d and a body that contains %q", url, res.StatusCode, res.text, status, text)
	}
}
