package main

import (
	"flag"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
	"latchkey/internal/testkit/suite"
)

var (
	replacements    = flag.Int("replacements", 4, "number of servers that TestRollingRestart replaces")
	requestsBetween = flag.Int64("between", 1000, "minimum number of requests between two replacements")
	loadClients     = flag.Int("clients", 16, "number of keep-alive clients in TestRollingRestart")
)

// Two servers behind nginx are replaced repeatedly without a failed request.
func TestRollingRestart(t *testing.T) {
	suite.Require(t, suite.Rolling)
	suite.Program(t, "nginx")

	file := build(t)
	addrs := []string{testkit.FreeAddr(t), testkit.FreeAddr(t)}
	settings := append(baseSettings(storetest.NewRedis(t), storetest.Mongo(t)), "TRUSTED_PROXIES=127.0.0.1", "RATE_LIMIT=off", "DRAIN_TIME=1s")
	run := func(i int) *process {
		_, port, _ := net.SplitHostPort(addrs[i])

		return startProcess(t, file, slices.Concat(settings, []string{"PORT=" + port}))
	}
	servers := []*process{run(0), run(1)}
	base := startNginx(t, addrs[0]+" max_fails=0; server "+addrs[1], "127.0.0.1:1")

	var done atomic.Bool
	var requests atomic.Int64
	var failed failures
	clients := make([]*loadClient, *loadClients)
	for i := range clients {
		clients[i] = newLoadClient(base)
		account := fmt.Sprintf(`{"name":"Ann","email":"ann%d@example.com","password":"a long password"}`, i)
		testkit.NoError(t, clients[i].do("POST", "/auth/register", account, http.StatusCreated))
	}

	var running sync.WaitGroup
	for _, c := range clients {
		running.Go(func() {
			defer c.http.CloseIdleConnections()

			for n := 0; !done.Load(); n++ {
				method := http.MethodGet
				path := "/auth/session"
				if n%4 == 3 {
					method = http.MethodPost
					path = "/auth/rotate-session"
				}
				requests.Add(1)
				failed.add(c.do(method, path, "", http.StatusOK))
			}
		})
	}

	for n := range *replacements {
		before := requests.Load()
		testkit.Eventually(t, "requests between two replacements", func() bool {
			return requests.Load() >= before+*requestsBetween
		})

		old := servers[n%2]
		old.stop()
		if state := old.cmd.ProcessState; state.ExitCode() != 0 {
			t.Errorf("exit status of server %d: got %v, want 0; log:\n%s", n%2, state, old.out)
		}
		servers[n%2] = run(n % 2)
	}
	done.Store(true)
	running.Wait()

	t.Logf("%d requests", requests.Load())
	failed.report(t)
}

// loadClient is an HTTP client that keeps its connection alive and stores its session cookie.
type loadClient struct {
	http   *http.Client
	base   string
	cookie string
}

func newLoadClient(base string) *loadClient {
	transport := &http.Transport{MaxIdleConnsPerHost: 1}

	return &loadClient{http: &http.Client{Transport: transport, Timeout: 20 * time.Second}, base: base}
}

// do sends a request and returns an error unless the response has the given status.
func (c *loadClient) do(method, path, body string, want int) error {
	res, err := fetch(c.http, method, c.base+path, body, "Host", "api.example.com", "Cookie", c.cookie)
	if err == nil && res.StatusCode != want {
		err = fmt.Errorf("got %d %s, want %d", res.StatusCode, res.text, want)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}

	if cookie := res.cookie(); strings.HasPrefix(cookie, "__Host-sid=") {
		c.cookie = cookie
	}

	return nil
}
