package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
	"latchkey/internal/testkit/suite"
)

var soak = flag.Duration("soak", 2*time.Minute, "duration of TestSoak; from 10m on the slope of memory usage is checked")

const (
	soakRate    = 300 // requests per second
	soakClients = 16  // each has a connection and an account
	soakWindows = 12

	// Short, so that many sessions time out during a run.
	soakIdle     = 20 * time.Second
	soakTouch    = 2 * time.Second
	soakAbsolute = 90 * time.Second
	// soakSlack is the maximum difference between the clocks of Redis and this process.
	soakSlack = time.Second
)

// soakPlan lists the actions of clients with their weights.
var soakPlan = []struct {
	name   string
	weight int
	do     func(*soakClient)
}{
	{"session", 165, func(c *soakClient) { c.read("/auth/session") }},
	{"me", 20, func(c *soakClient) { c.read("/auth/me") }},
	{"list", 8, func(c *soakClient) { c.read("/auth/sessions") }},
	{"rotate", 30, (*soakClient).rotate},
	{"login", 4, (*soakClient).login},
	{"wrong login", 1, func(c *soakClient) {
		c.expect(c.send("POST", "/auth/login", c.credentials("wrong horse battery"), ""), http.StatusUnauthorized)
	}},
	{"logout", 2, (*soakClient).logout},
	{"revoke others", 1, (*soakClient).revokeOthers},
	{"rename", 3, func(c *soakClient) { c.use("PUT", "/profile", `{"name":"S"}`) }},
	{"ended cookie", 15, (*soakClient).replay},
	{"wrong cookie", 15, func(c *soakClient) {
		c.expect(c.send("GET", "/auth/session", "", randomToken()), http.StatusUnauthorized)
	}},
	{"malformed cookie", 10, func(c *soakClient) { c.expect(c.send("GET", "/auth/session", "", "nonsense"), http.StatusUnauthorized) }},
	{"no cookie", 5, func(c *soakClient) { c.expect(c.send("GET", "/auth/me", "", ""), http.StatusUnauthorized) }},
	{"new connection", 8, func(c *soakClient) {
		c.closeAfter = true
		c.read("/auth/session")
		c.closeAfter = false
	}},
	{"aborted request", 5, (*soakClient).abort},
	{"half a request", 3, (*soakClient).sendHalf},
	{"bad body", 3, func(c *soakClient) { c.expect(c.send("POST", "/auth/login", `{"email":`, ""), http.StatusBadRequest) }},
	{"health", 2, func(c *soakClient) {
		c.expect(c.send("GET", "/healthz", "", ""), http.StatusOK)
		c.expect(c.send("GET", "/readyz", "", ""), http.StatusOK)
	}},
}

// A server that runs for a long time leaks nothing, and Redis keeps only live sessions. The
// server runs in its own process; the clients and MongoDB run in this one.
func TestSoak(t *testing.T) {
	suite.Require(t, suite.Soak)

	length := *soak
	redis := storetest.NewRedis(t)
	mongo := storetest.Mongo(t)
	ops := testkit.FreeAddr(t)
	p := startProcess(t, build(t), append(baseSettings(redis, mongo),
		"APP_ENV=development",
		"LOG_FORMAT=json",
		"OPS_ADDR="+ops,
		"SESSION_MAX_AGE="+soakIdle.String(),
		"SESSION_TOUCH_INTERVAL="+soakTouch.String(),
		"SESSION_ABSOLUTE_MAX_AGE="+soakAbsolute.String(),
		"RATE_LIMIT=2000/60s",
		"BCRYPT_COST=10"))
	s := &soakRun{t: t, addr: p.addr, errors: map[string]int{}}
	w := newSoakWatch(t, p, redis, mongo, ops)

	var plan []func(*soakClient)
	for _, action := range soakPlan {
		plan = append(plan, slices.Repeat([]func(*soakClient){action.do}, action.weight)...)
	}
	for i := range soakClients {
		c := &soakClient{
			soakRun: s,
			number:  i,
			email:   fmt.Sprintf("soak%d@example.com", i),
			http:    &http.Client{Transport: &http.Transport{}, Timeout: 20 * time.Second},
		}
		c.register()
		s.clients = append(s.clients, c)
	}

	for n := range soakWindows {
		s.runClients(length/soakWindows, plan, w)
		select {
		case <-p.exited:
			log := p.out.String()
			t.Fatalf("the server stopped: %v\n%s", p.cmd.ProcessState, log[max(0, len(log)-4000):])
		default:
		}
		w.measure(s, n)
	}
	w.report(length, s)

	p.stop()
	if !p.cmd.ProcessState.Success() {
		t.Errorf("exit status: got %v, want success", p.cmd.ProcessState)
	}
	if strings.Contains(p.out.String(), `"level":"ERROR"`) {
		t.Errorf("the log has errors:\n%.2000s", p.out)
	}
}

// soakRun is the traffic of a run.
type soakRun struct {
	t       *testing.T
	addr    string
	clients []*soakClient

	mu        sync.Mutex
	requests  int
	errors    map[string]int // unexpected responses
	latencies []time.Duration
}

// soakSession is a session as its client knows it. It was last extended between seenFrom
// and seenTo.
type soakSession struct {
	token     string
	createdAt time.Time
	seenFrom  time.Time
	seenTo    time.Time
}

// aliveAt reports whether a session is certainly alive at a time, and whether it may be.
func (s *soakSession) aliveAt(at time.Time) (certain, possible bool) {
	age := at.Sub(s.createdAt)
	certain = at.Sub(s.seenFrom) < soakIdle-soakSlack && age < soakAbsolute-soakSlack
	possible = at.Sub(s.seenTo) < soakIdle+soakSlack && age < soakAbsolute+soakSlack

	return certain, possible
}

// soakClient has an account and some sessions. It sends one request at a time.
type soakClient struct {
	*soakRun
	number     int
	email      string
	http       *http.Client
	closeAfter bool // close the connection after the response
	actions    int  // number of actions so far
	sessions   []*soakSession
	ended      []string // tokens of sessions that ended recently
	tokens     int      // number of tokens received so far
}

// runClients runs the clients at a steady pace and then closes their connections.
func (s *soakRun) runClients(length time.Duration, plan []func(*soakClient), w *soakWatch) {
	var clients sync.WaitGroup
	startedAt := time.Now()
	stop := make(chan struct{})
	go w.sampleMemory(stop)
	for _, c := range s.clients {
		clients.Go(func() {
			for i := 0; ; i++ {
				due := startedAt.Add(time.Duration(i*soakClients+c.number) * time.Second / soakRate)
				if due.Sub(startedAt) >= length {
					break
				}
				time.Sleep(time.Until(due))
				// Steps of 113 visit every entry of the plan in a mixed order.
				plan[(c.actions*113+c.number*19)%len(plan)](c)
				c.actions++
			}
			c.http.CloseIdleConnections()
		})
	}
	clients.Wait()
	close(stop)
}

// soakReply is a response. Its status is 0 after an error, which was recorded.
type soakReply struct {
	request string
	status  int
	token   string // of the new cookie
}

func (s *soakRun) fail(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.errors[fmt.Sprintf(format, args...)]++
}

func (c *soakClient) send(method, path, body, token string) soakReply {
	req, err := http.NewRequest(method, "http://"+c.addr+path, strings.NewReader(body))
	if err != nil {
		c.t.Error(err)
		return soakReply{}
	}
	req.Close = c.closeAfter
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Cookie", "sid="+token)
	}

	sentAt := time.Now()
	res, err := c.http.Do(req)
	if err != nil {
		c.fail("%s %s: %v", method, path, err)
		return soakReply{}
	}
	_, err = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()

	c.mu.Lock()
	c.requests++
	c.latencies = append(c.latencies, time.Since(sentAt))
	c.mu.Unlock()
	if err != nil {
		c.fail("%s %s: %v", method, path, err)
		return soakReply{}
	}

	r := soakReply{request: method + " " + path, status: res.StatusCode}
	for _, cookie := range res.Cookies() {
		if cookie.Name == "sid" {
			r.token = cookie.Value
		}
	}

	return r
}

// expect reports whether a response has the wanted status, and records it otherwise.
func (c *soakClient) expect(r soakReply, want int) bool {
	if r.status != want && r.status != 0 {
		c.fail("%s: got %d, want %d", r.request, r.status, want)
	}

	return r.status == want
}

func (c *soakClient) credentials(password string) string {
	return fmt.Sprintf(`{"email":%q,"password":%q}`, c.email, password)
}

func (c *soakClient) register() {
	r := c.send("POST", "/auth/register", fmt.Sprintf(`{"name":"S","email":%q,"password":%q}`, c.email, floodPassword), "")
	if c.expect(r, http.StatusCreated) {
		c.keep(r.token, time.Now(), time.Now())
	}
}

// keep stores a new token.
func (c *soakClient) keep(token string, requestedAt, createdAt time.Time) {
	c.tokens++
	c.sessions = append(c.sessions, &soakSession{
		token:     token,
		createdAt: createdAt,
		seenFrom:  requestedAt,
		seenTo:    time.Now(),
	})
}

// drop forgets a session that has ended.
func (c *soakClient) drop(s *soakSession) {
	c.sessions = slices.DeleteFunc(c.sessions, func(other *soakSession) bool { return other == s })
	c.ended = append(c.ended, s.token)
	if len(c.ended) > 50 {
		c.ended = c.ended[1:]
	}
}

// pick returns one of the three newest sessions, or nil if login fails. Older sessions are
// left to time out.
func (c *soakClient) pick() *soakSession {
	for _, s := range slices.Clone(c.sessions) {
		if _, possible := s.aliveAt(time.Now()); !possible {
			c.drop(s)
		}
	}
	if len(c.sessions) == 0 {
		c.login()
	}
	if len(c.sessions) == 0 {
		return nil
	}
	newest := c.sessions[max(0, len(c.sessions)-3):]

	return newest[c.actions%len(newest)]
}

// use sends a request with a session that is, or may be, alive.
func (c *soakClient) use(method, path, body string) (s *soakSession, r soakReply, ok bool) {
	s = c.pick()
	if s == nil {
		return nil, soakReply{}, false
	}

	sentAt := time.Now()
	certain, _ := s.aliveAt(sentAt.Add(soakSlack)) // the request takes time
	r = c.send(method, path, body, s.token)
	if r.status == http.StatusUnauthorized && !certain {
		c.drop(s)
		return nil, r, false
	}
	if !c.expect(r, http.StatusOK) {
		return nil, r, false
	}

	if sentAt.Sub(s.seenTo) >= soakTouch {
		s.seenFrom = sentAt
	}
	s.seenTo = time.Now()

	return s, r, true
}

func (c *soakClient) read(path string) { c.use("GET", path, "") }

func (c *soakClient) rotate() {
	sentAt := time.Now()
	if s, r, ok := c.use("POST", "/auth/rotate-session", ""); ok {
		c.drop(s)
		c.keep(r.token, sentAt, s.createdAt)
	}
}

func (c *soakClient) login() {
	sentAt := time.Now()
	r := c.send("POST", "/auth/login", c.credentials(floodPassword), "")
	if c.expect(r, http.StatusOK) {
		c.keep(r.token, sentAt, time.Now())
	}
}

func (c *soakClient) logout() {
	if s, _, ok := c.use("POST", "/auth/logout", ""); ok {
		c.drop(s)
	}
}

func (c *soakClient) revokeOthers() {
	s, _, ok := c.use("DELETE", "/auth/sessions", "")
	if !ok {
		return
	}
	for _, other := range slices.Clone(c.sessions) {
		if other != s {
			c.drop(other)
		}
	}
}

// replay sends the token of a session that has ended.
func (c *soakClient) replay() {
	if len(c.ended) > 0 {
		c.expect(c.send("GET", "/auth/session", "", c.ended[c.actions%len(c.ended)]), http.StatusUnauthorized)
	}
}

// abort disconnects before the response or shortly after it.
func (c *soakClient) abort() {
	s := c.pick()
	if s == nil {
		return
	}

	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(c.actions%8)*100*time.Microsecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.addr+"/auth/session", nil)
	if err != nil {
		c.t.Error(err)
		return
	}
	req.Header.Set("Cookie", "sid="+s.token)
	if res, err := c.http.Do(req); err == nil {
		_ = res.Body.Close()
	}
	s.seenTo = time.Now().Add(soakSlack) // the server may still be handling the request
}

// sendHalf sends half a request and disconnects.
func (c *soakClient) sendHalf() {
	conn, err := net.Dial("tcp", c.addr)
	if err != nil {
		c.fail("connect: %v", err)
		return
	}
	_, _ = io.WriteString(conn, "POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	_ = conn.Close()
}

func randomToken() string {
	var b [32]byte
	_, _ = rand.Read(b[:])

	return base64.RawURLEncoding.EncodeToString(b[:])
}
