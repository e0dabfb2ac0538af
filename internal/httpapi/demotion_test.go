package httpapi_test

import (
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/apitest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
	"latchkey/internal/testkit/suite"
)

// movedRedis is a pair of Redis servers behind a proxy that forwards new connections to the current
// master.
type movedRedis struct {
	t               *testing.T
	proxy           *storetest.Proxy
	master, standby *storetest.RedisServer
}

func newMovedRedis(t *testing.T) *movedRedis {
	t.Helper()

	m := &movedRedis{t: t, master: storetest.StartRedis(t), standby: storetest.StartRedis(t)}
	m.proxy = storetest.NewProxy(t, m.master.Addr)
	m.demote(m.standby, m.master.Addr)

	return m
}

// demote makes a server a replica of master.
func (m *movedRedis) demote(server *storetest.RedisServer, master string) {
	m.t.Helper()

	host, port, _ := net.SplitHostPort(master)
	_, err := server.Conn(m.t).Do("REPLICAOF", host, port)
	testkit.NoError(m.t, err)
}

// promote makes the standby the master once it has all data, and forwards new connections to it. It
// returns the old master, which is not notified.
func (m *movedRedis) promote() (old *storetest.RedisServer) {
	m.t.Helper()

	m.awaitSync()
	m.master, m.standby = m.standby, m.master
	_, err := m.master.Conn(m.t).Do("REPLICAOF", "NO", "ONE")
	testkit.NoError(m.t, err)
	m.proxy.Retarget(m.master.Addr)

	return m.standby
}

// awaitSync waits until the standby has all writes of the master.
func (m *movedRedis) awaitSync() {
	m.t.Helper()

	conn := m.master.Conn(m.t)
	testkit.Eventually(m.t, "the standby to have all writes", func() bool {
		_, err := conn.Do("SET", "written", "last", "PX", 1)
		testkit.NoError(m.t, err)
		acknowledged, err := redis.Int(conn.Do("WAIT", 1, 100))
		testkit.NoError(m.t, err)

		return acknowledged == 1
	})
}

// A failover moves the host:port of a single Redis to another server, while the old one keeps its
// connections. No request fails, whichever comes first, not even on a Latchkey server that notices
// the failover later.
func TestRedisMoves(t *testing.T) {
	suite.Require(t, suite.Outage)

	m := newMovedRedis(t)
	servers := m.startServers(apitest.Options{})
	for _, first := range movedRequests {
		for name, newMaster := range map[string]func() string{
			"demoted": func() string { return m.master.Addr },
			"demoted without a link to the new master": func() string { return "127.0.0.1:1" },
		} {
			clients := m.signIn(servers)
			m.demote(m.promote(), newMaster())
			for i, s := range servers {
				if failed := m.sendAll(first, clients[i]); len(failed) > 0 {
					t.Errorf("%s, server %d: failed requests: got %s, want none", name, i, strings.Join(failed, ", "))
				}
				s.NewClient().Do("GET", "/readyz", nil).Want(200)
			}

			m.demote(m.standby, m.master.Addr)
		}
	}
}

// If the old Redis hangs, the first request to each Latchkey server times out. No other request fails.
func TestHangingRedisMoves(t *testing.T) {
	suite.Require(t, suite.Outage)

	m := newMovedRedis(t)
	servers := m.startServers(apitest.Options{RealTimeouts: true})
	for _, first := range movedRequests {
		clients := m.signIn(servers)
		old := m.promote()
		old.Pause()
		for i := range servers {
			if failed := m.sendAll(first, clients[i]); len(failed) > 1 {
				t.Errorf("server %d: failed requests: got %s, want at most 1", i, strings.Join(failed, ", "))
			}
		}

		old.Resume()
		m.demote(old, m.master.Addr)
	}
}

// movedRequests are sent after Redis has moved.
var movedRequests = []request{
	{"POST", "/auth/login", apitest.AnnsLogin},
	{"POST", "/auth/rotate-session", nil},
	{"GET", "/auth/session", nil},
	{"POST", "/auth/logout", nil},
}

// startServers starts two servers that share an account.
func (m *movedRedis) startServers(o apitest.Options) []*apitest.Server {
	m.t.Helper()

	o.Redis = &storetest.Redis{Addr: m.proxy.Addr}
	s := apitest.New(m.t, o)
	s.Register("ann@example.com")
	o.MongoURI = s.MongoURI

	return []*apitest.Server{s, apitest.New(m.t, o)}
}

// signIn returns a client for each request to each server. Afterwards each server has connections
// to Redis.
func (m *movedRedis) signIn(servers []*apitest.Server) [][]*apitest.Client {
	m.t.Helper()

	clients := make([][]*apitest.Client, len(servers))
	for i, s := range servers {
		for range movedRequests {
			clients[i] = append(clients[i], s.SignIn())
		}
		testkit.Concurrently(len(clients[i]), func(c int) apitest.Response {
			return clients[i][c].Do("GET", "/auth/session", nil).Want(200)
		})
	}

	return clients
}

// sendAll sends all requests, beginning with first, and returns the ones that got 503.
func (m *movedRedis) sendAll(first request, clients []*apitest.Client) (failed []string) {
	m.t.Helper()

	start := slices.IndexFunc(movedRequests, func(r request) bool { return r.path == first.path })
	for i, c := range clients {
		r := movedRequests[(start+i)%len(movedRequests)]
		a := c.Do(r.method, r.path, r.body)
		switch {
		case a.Status == 503 && a.Cookie == nil:
			failed = append(failed, a.Request)
		case a.Status != 200:
			m.t.Errorf("%s: got %s", a.Request, a.Raw)
		}
	}

	return failed
}
