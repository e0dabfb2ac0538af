package storetest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// errNoRedisServer says that redis-server is not on the PATH.
var errNoRedisServer = errors.New("redis-server is not installed")

// RedisServer is a redis-server process of a test's own.
type RedisServer struct {
	Redis
	args  []string
	ready string // what it says when it can be used
	cmd   *exec.Cmd
}

// lasting are the settings of a server that keeps what it is told, as
// configs/redis.conf has them.
var lasting = []string{"--appendonly", "yes", "--appendfsync", "everysec"}

// replicated are those of one of several servers: a replica gets what it lacks at once,
// and not when the 5 seconds are over in which others could want the same.
var replicated = append(slices.Clone(lasting), "--repl-diskless-sync-delay", "0")

// StartRedis starts a redis-server for a test that takes it away.
func StartRedis(t testing.TB) *RedisServer {
	t.Helper()
	s, err := startRedis(t.TempDir(), lasting...)
	fatal(t, err)
	t.Cleanup(s.Kill)
	return s
}

func startRedis(dir string, args ...string) (*RedisServer, error) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		return nil, errNoRedisServer
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s := &RedisServer{
		Redis: Redis{Addr: "127.0.0.1:" + port}, ready: "Ready to accept connections",
		args: append([]string{
			"--port", port, "--bind", "127.0.0.1", "--dir", dir, "--save", "",
			"--databases", itoa(maxDatabases),
		}, args...),
	}
	return s, s.start()
}

// start runs the server and returns once it accepts commands.
func (s *RedisServer) start() error {
	s.cmd = exec.Command("redis-server", s.args...)
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	var said strings.Builder
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.Contains(lines.Text(), s.ready) {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return nil
		}
		fmt.Fprintln(&said, lines.Text())
	}
	return fmt.Errorf("redis-server did not start: %w\n%s", s.cmd.Wait(), said.String())
}

// Pause stops the process where it is (SIGSTOP): connections stay open and
// nothing answers.
func (s *RedisServer) Pause() { _ = s.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume lets a paused process go on.
func (s *RedisServer) Resume() { _ = s.cmd.Process.Signal(syscall.SIGCONT) }

// Kill ends the process at once (SIGKILL). It can be started again.
func (s *RedisServer) Kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// Demote makes the server a replica of one that does not answer, as one is that was
// cut off and finds that it was replaced.
func (s *RedisServer) Demote(t testing.TB) {
	t.Helper()
	_, err := ask(s.Addr, "REPLICAOF", "127.0.0.1", "1")
	fatal(t, err)
}

// Restart starts a killed server again, on its port and its data.
func (s *RedisServer) Restart(t testing.TB) {
	t.Helper()
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}
