package storetest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"latchkey/internal/testkit"
	"latchkey/internal/testkit/suite"
)

// errNoRedisServer is returned if redis-server is not on the PATH.
var errNoRedisServer = errors.New("redis-server is not installed")

// RedisServer is a redis-server process that belongs to one test.
type RedisServer struct {
	Redis
	args  []string
	ready string // the text in the output that means that the server is ready
	cmd   *exec.Cmd
}

// durableArgs make a server keep its data across restarts, like configs/redis.conf.
var durableArgs = []string{"--appendonly", "yes", "--appendfsync", "everysec"}

// replicatedArgs are for servers with replicas. A new replica gets its data immediately; by
// default the master waits 5 seconds for more replicas.
var replicatedArgs = append(slices.Clone(durableArgs), "--repl-diskless-sync-delay", "0")

// StartRedis starts a redis-server for a test that pauses, kills or restarts it.
func StartRedis(t testing.TB) *RedisServer {
	t.Helper()
	suite.Default(t)

	s, err := startRedis(t.Cleanup, t.TempDir(), durableArgs...)
	check(t, err)
	return s
}

// startRedis starts a redis-server. It passes cleanup a function that kills the server.
func startRedis(cleanup func(func()), dir string, args ...string) (*RedisServer, error) {
	common := []string{"--save", "", "--databases", strconv.Itoa(maxDatabases)}
	return startServer(cleanup, dir, "Ready to accept connections", append(common, args...)...)
}

// startServer starts a redis-server on a free port, with its files in a directory, and waits for
// the text ready in its output.
func startServer(cleanup func(func()), dir, ready string, args ...string) (*RedisServer, error) {
	s := &RedisServer{ready: ready}
	if _, err := exec.LookPath("redis-server"); err != nil {
		return s, errNoRedisServer
	}

	port, err := testkit.FreePort()
	if err := errors.Join(err, os.MkdirAll(dir, 0o700)); err != nil {
		return s, err
	}

	s.Addr = "127.0.0.1:" + port
	s.args = slices.Concat(args, []string{"--port", port, "--bind", "127.0.0.1", "--dir", dir})

	return s, s.start(cleanup)
}

// start starts the process, waits until it is ready, and passes Kill to cleanup.
func (s *RedisServer) start(cleanup func(func())) error {
	s.cmd = exec.Command("redis-server", s.args...)

	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		return err
	}

	if err := s.cmd.Start(); err != nil {
		return err
	}

	var output strings.Builder
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if strings.Contains(lines.Text(), s.ready) {
			cleanup(s.Kill)
			go func() { _, _ = io.Copy(io.Discard, stdout) }()
			return nil
		}

		fmt.Fprintln(&output, lines.Text())
	}

	return fmt.Errorf("start redis-server: %w\n%s", s.cmd.Wait(), output.String())
}

// Pause suspends the process (SIGSTOP). Connections stay open, but get no replies.
func (s *RedisServer) Pause() { _ = s.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume resumes the process after Pause.
func (s *RedisServer) Resume() { _ = s.cmd.Process.Signal(syscall.SIGCONT) }

// Kill kills the process (SIGKILL). Restart starts it again.
func (s *RedisServer) Kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// Restart starts the server again after Kill, with the same port and data.
func (s *RedisServer) Restart(t testing.TB) {
	t.Helper()
	check(t, s.start(t.Cleanup))
}
