package storetest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
)

// SentinelName is what the Sentinels of a test call the server that they watch.
const SentinelName = "sessions"

// SentinelRedis is a Redis with two replicas and three Sentinels.
type SentinelRedis struct {
	Redis
	servers []*RedisServer
}

// StartSentinel starts servers for a test that takes one away.
func StartSentinel(t testing.TB) *SentinelRedis {
	t.Helper()
	s, stop, err := startSentinel(t.TempDir())
	t.Cleanup(stop)
	fatal(t, err)
	return s
}

func startSentinel(dir string) (s *SentinelRedis, stop func(), err error) {
	var started []*RedisServer
	stop = func() {
		for _, server := range started {
			server.Kill()
		}
	}
	s = &SentinelRedis{Redis: Redis{Master: SentinelName}}
	for i := range 3 {
		args := slices.Clone(replicated)
		if i > 0 {
			host, port, _ := net.SplitHostPort(s.Addr)
			args = append(args, "--replicaof", host, port)
		}
		server, err := startRedis(filepath.Join(dir, itoa(int64(i))), args...)
		if err != nil {
			return nil, stop, err
		}
		started = append(started, server)
		s.servers = append(s.servers, server)
		s.Addr = s.servers[0].Addr
	}
	for i := range 3 {
		sentinel, err := runSentinel(filepath.Join(dir, "sentinel"+itoa(int64(i))), s.Addr)
		if err != nil {
			return nil, stop, err
		}
		started = append(started, sentinel)
		s.Sentinels = append(s.Sentinels, sentinel.Addr)
	}
	return s, stop, s.ready(2)
}

// runSentinel starts a Sentinel that takes the server at addr for dead after a second.
func runSentinel(dir, addr string) (*RedisServer, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "sentinel.conf")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	settings := fmt.Sprintf("sentinel monitor %[1]s %s %s 2\nsentinel down-after-milliseconds %[1]s 1000\nsentinel failover-timeout %[1]s 2000\n",
		SentinelName, host, port)
	if err := os.WriteFile(config, []byte(settings), 0o600); err != nil {
		return nil, err
	}
	own, err := freePort()
	if err != nil {
		return nil, err
	}
	s := &RedisServer{
		Redis: Redis{Addr: "127.0.0.1:" + own}, ready: "+monitor",
		args: []string{config, "--sentinel", "--port", own, "--bind", "127.0.0.1", "--dir", dir},
	}
	return s, s.start()
}

// ready waits until every Sentinel knows the others and so many replicas.
func (s *SentinelRedis) ready(replicas int) error {
	return eventually("the Sentinels know each other and the replicas", func() error {
		for _, addr := range s.Sentinels {
			state, err := redis.StringMap(ask(addr, "SENTINEL", "MASTER", SentinelName))
			if err != nil {
				return err
			}
			if state["num-slaves"] != itoa(int64(replicas)) || state["num-other-sentinels"] != "2" || state["flags"] != "master" {
				return fmt.Errorf("%s knows %s replicas, %s Sentinels and a %s", addr, state["num-slaves"], state["num-other-sentinels"], state["flags"])
			}
			slaves, err := redis.Values(ask(addr, "SENTINEL", "REPLICAS", SentinelName))
			if err != nil {
				return err
			}
			for _, slave := range slaves {
				state, err := redis.StringMap(slave, nil)
				if err != nil {
					return err
				}
				if state["master-link-status"] != "ok" || state["flags"] != "slave" {
					return fmt.Errorf("replica %s: link %s, %s", state["name"], state["master-link-status"], state["flags"])
				}
			}
		}
		return nil
	})
}

// Switch has a replica put in the place of a server that is well, and waits until all
// Sentinels say so.
func (s *SentinelRedis) Switch(t testing.TB) {
	t.Helper()
	before := s.at(t, 0)
	_, err := ask(s.Sentinels[0], "SENTINEL", "FAILOVER", SentinelName)
	fatal(t, err)
	fatal(t, eventually("a replica has the place", func() error {
		for i := range s.Sentinels {
			if s.at(t, i) == before {
				return fmt.Errorf("%s names %s", s.Sentinels[i], before)
			}
		}
		return nil
	}))
}

// Failing waits until a Sentinel tells a replica to take the place of the server. From
// there on it no longer matters how that one is.
func (s *SentinelRedis) Failing(t testing.TB) {
	t.Helper()
	fatal(t, eventually("a failover begins", func() error {
		for _, addr := range s.Sentinels {
			state, err := redis.StringMap(ask(addr, "SENTINEL", "MASTER", SentinelName))
			if err != nil || slices.Contains([]string{"send_slaveof_noone", "wait_promotion", "reconf_slaves"}, state["failover-state"]) {
				return err
			}
		}
		return errors.New("no Sentinel has begun one")
	}))
}

// Rejoin starts a server that was killed as a replica of the one that has its place,
// and waits until all is as it was at the start.
func (s *SentinelRedis) Rejoin(t testing.TB, failed *RedisServer) {
	t.Helper()
	host, port, err := net.SplitHostPort(s.Current(t).Addr)
	fatal(t, err)
	if i := slices.Index(failed.args, "--replicaof"); i >= 0 {
		failed.args = slices.Delete(slices.Clone(failed.args), i, i+3)
	}
	failed.args = append(failed.args[:len(failed.args):len(failed.args)], "--replicaof", host, port)
	failed.Restart(t)
	fatal(t, s.ready(2))
}

// Current is the server that the Sentinels name.
func (s *SentinelRedis) Current(t testing.TB) *RedisServer {
	t.Helper()
	at := s.at(t, 0)
	for _, server := range s.servers {
		if server.Addr == at {
			return server
		}
	}
	t.Fatalf("the Sentinels name %s", at)
	return nil
}

// at is the address that a Sentinel names.
func (s *SentinelRedis) at(t testing.TB, sentinel int) string {
	t.Helper()
	at, err := redis.Strings(ask(s.Sentinels[sentinel], "SENTINEL", "GET-MASTER-ADDR-BY-NAME", SentinelName))
	fatal(t, err)
	return net.JoinHostPort(at[0], at[1])
}

// ask sends one command on a connection of its own.
func ask(addr, command string, args ...any) (any, error) {
	conn, err := redis.Dial("tcp", addr, redis.DialConnectTimeout(time.Second), redis.DialReadTimeout(time.Second))
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	return conn.Do(command, args...)
}

// eventually asks until there is no error, for two minutes: a Sentinel that finds itself
// held up trusts nobody for half a one.
func eventually(what string, check func() error) error {
	for deadline := time.Now().Add(2 * time.Minute); ; {
		err := check()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waiting until %s: %w", what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
