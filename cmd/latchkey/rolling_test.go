package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/internal/devstore/storetest"
)

var (
	replacements = flag.Int("replacements", 0, "how often TestRollingRestart replaces a server; 0 leaves it out")
	between      = flag.Int64("between", 1000, "how many requests there are from one replacement to the next, at least")
	loadClients  = flag.Int("clients", 64, "how many keep-alive clients there are")
)

// Two servers behind nginx are replaced again and again, and no client notices.
func TestRollingRestart(t *testing.T) {
	needsNginx(t)
	if *replacements == 0 {
		t.Skip("make check-rolling runs this test, with the machine to itself")
	}
	file, ports := build(t), []string{freePort(t), freePort(t)}
	redis := storetest.NewRedis(t)
	environ := []string{
		"HOST=127.0.0.1", "TRUSTED_PROXIES=127.0.0.1", "SESSION_SECRET=" + secret, "MONGODB_URI=" + storetest.Mongo(t),
		fmt.Sprintf("REDIS_URI=redis://%s/%d", redis.Addr, redis.DB), "RATE_LIMIT=off", "DRAIN_TIME=1s",
	}
	run := func(i int) *process { return startProcess(t, file, append(environ, "PORT="+ports[i])) }
	servers := []*process{run(0), run(1)}
	base := startNginx(t, "127.0.0.1:"+ports[0]+" max_fails=0; server 127.0.0.1:"+ports[1], "127.0.0.1:1")

	var done atomic.Bool
	var asked, failed atomic.Int64
	var first sync.Once
	var clients sync.WaitGroup
	for i := range *loadClients {
		c := newLoadClient(base)
		if err := c.do("POST", "/auth/register", fmt.Sprintf(`{"name":"Ann","email":"ann%d@example.com","password":"a long password"}`, i), http.StatusCreated); err != nil {
			t.Fatal(err)
		}
		clients.Go(func() {
			defer c.http.CloseIdleConnections()
			for n := 0; !done.Load(); n++ {
				method, path := http.MethodGet, "/auth/session"
				if n%4 == 3 {
					method, path = http.MethodPost, "/auth/rotate-session"
				}
				asked.Add(1)
				if err := c.do(method, path, "", http.StatusOK); err != nil {
					failed.Add(1)
					first.Do(func() { t.Error(err) })
				}
			}
		})
	}
	began := time.Now()
	for n := range *replacements {
		for before := asked.Load(); asked.Load() < before+*between; {
			time.Sleep(10 * time.Millisecond)
		}
		servers[n%2].stop()
		if state := servers[n%2].cmd.ProcessState; state.ExitCode() != 0 {
			t.Errorf("a server ended with %v:\n%s", state, servers[n%2].out)
		}
		servers[n%2] = run(n % 2)
	}
	done.Store(true)
	clients.Wait()
	t.Logf("%d replacements in %.0f s: %d requests by %d clients, %d failed", *replacements, time.Since(began).Seconds(), asked.Load(), *loadClients, failed.Load())
}

// loadClient is a browser that keeps its connection and its cookie.
type loadClient struct {
	http   *http.Client
	base   string
	cookie string
}

func newLoadClient(base string) *loadClient {
	return &loadClient{http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}, Timeout: 20 * time.Second}, base: base}
}

func (c *loadClient) do(method, path, body string, want int) error {
	req, err := http.NewRequest(method, c.base+path, bytes.NewBufferString(body))
	if err != nil {
		return err
	}
	req.Host = "api.example.com"
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.cookie != "" {
		req.Header.Set("Cookie", c.cookie)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil || res.StatusCode != want {
		return fmt.Errorf("%s %s: %d %s %w", method, path, res.StatusCode, text, err)
	}
	for _, set := range res.Header["Set-Cookie"] {
		if pair, _, _ := strings.Cut(set, ";"); strings.HasPrefix(pair, "__Host-sid=") {
			c.cookie = pair
		}
	}
	return nil
}

// freePort is a port that nobody listens at.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}
