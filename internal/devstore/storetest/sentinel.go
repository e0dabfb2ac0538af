package storetest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/testkit/suite"
)

// SentinelName is the master's name in the Sentinels' configuration.
const SentinelName = "sessions"

// SentinelRedis is a Redis master with two replicas and three Sentinels.
type SentinelRedis struct {
	Redis
	servers []*RedisServer
}

// StartSentinel starts a SentinelRedis for a test that fails over between its servers.
func StartSentinel(t testing.TB) *SentinelRedis {
	t.Helper()
	suite.Default(t)

	s, err := startSentinel(t.Cleanup, t.TempDir())
	check(t, err)
	return s
}

func startSentinel(cleanup func(func()), dir string) (*SentinelRedis, error) {
	s := &SentinelRedis{Redis: Redis{Master: SentinelName}}

	for i := range 3 {
		args := slices.Clone(replicatedArgs)
		if i > 0 {
			host, port, _ := net.SplitHostPort(s.Addr)
			args = append(args, "--replicaof", host, port)
		}

		server, err := startRedis(cleanup, filepath.Join(dir, strconv.Itoa(i)), args...)
		if err != nil {
			return s, err
		}

		s.servers = append(s.servers, server)
		s.Addr = s.servers[0].Addr
	}

	for i := range 3 {
		sentinel, err := runSentinel(cleanup, filepath.Join(dir, "sentinel"+strconv.Itoa(i)), s.Addr)
		if err != nil {
			return s, err
		}

		s.Sentinels = append(s.Sentinels, sentinel.Addr)
	}

	return s, s.awaitReady()
}

// runSentinel starts a Sentinel that considers the master at addr down after a second.
func runSentinel(cleanup func(func()), dir, addr string) (*RedisServer, error) {
	masterHost, masterPort, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}

	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}

	config := filepath.Join(dir, "sentinel.conf")
	settings := fmt.Sprintf("sentinel monitor %[1]s %s %s 2\n"+
		"sentinel down-after-milliseconds %[1]s 1000\n"+
		"sentinel failover-timeout %[1]s 2000\n",
		SentinelName, masterHost, masterPort)
	if err := os.WriteFile(config, []byte(settings), 0o600); err != nil {
		return nil, err
	}

	return startServer(cleanup, dir, "+monitor", config, "--sentinel")
}

// awaitReady waits until every Sentinel knows the other Sentinels and both replicas.
func (s *SentinelRedis) awaitReady() error {
	return eventually("the Sentinels know each other and the replicas", func() error {
		var errs []error
		for _, sentinel := range s.Sentinels {
			errs = append(errs, checkSentinel(sentinel))
		}

		return errors.Join(errs...)
	})
}

// checkSentinel returns an error unless a Sentinel knows the other Sentinels and both
// replicas.
func checkSentinel(sentinel string) error {
	info, err1 := redis.String(query(sentinel, "INFO", "sentinel"))
	replicas, err2 := redis.Values(query(sentinel, "SENTINEL", "REPLICAS", SentinelName))
	if err := errors.Join(err1, err2); err != nil {
		return err
	}

	text := fmt.Sprintf("%s", replicas)
	complete := strings.Contains(info, "status=ok") && strings.Contains(info, "slaves=2,sentinels=3")
	healthy := strings.Count(text, "flags slave ") == 2 && strings.Count(text, "master-link-status ok ") == 2
	if !complete || !healthy {
		return fmt.Errorf("sentinel %s: %s\n%s", sentinel, info, text)
	}

	return nil
}

// Failover makes the Sentinels promote a replica although the master is healthy, and waits
// until all of them name the new master.
func (s *SentinelRedis) Failover(t testing.TB) {
	t.Helper()
	previous := s.masterAddr(t, 0)
	_, err := query(s.Sentinels[0], "SENTINEL", "FAILOVER", SentinelName)
	check(t, err)

	check(t, eventually("all Sentinels name a new master", func() error {
		for i := range s.Sentinels {
			if s.masterAddr(t, i) == previous {
				return fmt.Errorf("sentinel %s still names %s", s.Sentinels[i], previous)
			}
		}

		return nil
	}))
}

// AwaitFailoverStart waits until a Sentinel has told a replica to become the master. From
// then on the failover completes even if the old master recovers.
func (s *SentinelRedis) AwaitFailoverStart(t testing.TB) {
	t.Helper()
	startedStates := []string{"send_slaveof_noone", "wait_promotion", "reconf_slaves"}

	check(t, eventually("a failover starts", func() error {
		for _, sentinel := range s.Sentinels {
			state, err := redis.StringMap(query(sentinel, "SENTINEL", "MASTER", SentinelName))
			if err != nil || slices.Contains(startedStates, state["failover-state"]) {
				return err
			}
		}

		return errors.New("no Sentinel has started a failover")
	}))
}

// Rejoin restarts a killed server as a replica of the current master, and waits until the
// setup is complete again.
func (s *SentinelRedis) Rejoin(t testing.TB, failed *RedisServer) {
	t.Helper()
	host, port, err := net.SplitHostPort(s.CurrentMaster(t).Addr)
	check(t, err)

	failed.args = append(failed.args, "--replicaof", host, port) // the last one counts
	failed.Restart(t)
	check(t, s.awaitReady())
}

// CurrentMaster returns the server that the first Sentinel names.
func (s *SentinelRedis) CurrentMaster(t testing.TB) *RedisServer {
	t.Helper()
	addr := s.masterAddr(t, 0)
	for _, server := range s.servers {
		if server.Addr == addr {
			return server
		}
	}

	t.Fatalf("the Sentinel names an unknown master: %s", addr)

	return nil
}

// masterAddr returns the host:port of the master that a Sentinel names.
func (s *SentinelRedis) masterAddr(t testing.TB, sentinel int) string {
	t.Helper()
	hostAndPort, err := redis.Strings(query(s.Sentinels[sentinel], "SENTINEL", "GET-MASTER-ADDR-BY-NAME", SentinelName))
	check(t, err)
	return net.JoinHostPort(hostAndPort[0], hostAndPort[1])
}

// query sends one command on a new connection.
func query(addr, command string, args ...any) (any, error) {
	conn, err := redis.Dial("tcp", addr, redis.DialConnectTimeout(time.Second), redis.DialReadTimeout(time.Second))
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	return conn.Do(command, args...)
}

// eventually polls check until it returns nil, for up to two minutes. That is enough for a
// Sentinel on a busy machine, which stops trusting itself for 30 seconds after a delay.
func eventually(what string, check func() error) error {
	deadline := time.Now().Add(2 * time.Minute)

	for {
		err := check()
		if err == nil {
			return nil
		}

		if time.Now().After(deadline) {
			return fmt.Errorf("timed out waiting until %s: %w", what, err)
		}

		time.Sleep(20 * time.Millisecond)
	}
}
