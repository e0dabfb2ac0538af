package main

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
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
)

var soak = flag.Duration("soak", 0, "how long TestSoak runs; from judgedSoak on the growth of its memory is judged by the slope, 0 leaves it out")

const (
	soakRate    = 300 // requests a second
	soakClients = 16  // who make them, each on a connection and with an account
	soakWindows = 12

	// Short, so that many sessions end by themselves in a run.
	soakIdle     = 20 * time.Second
	soakTouch    = 2 * time.Second
	soakAbsolute = 90 * time.Second
	// soakSlack is what the clock of Redis and that of this process may tell differently.
	soakSlack = time.Second
)

// soakPlan is what clients do and how often, of 300 requests.
var soakPlan = []struct {
	name string
	of   int
	do   func(*soakClient)
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
	{"new connection", 8, func(c *soakClient) { c.closing = true; c.read("/auth/session"); c.closing = false }},
	{"aborted", 5, (*soakClient).abort},
	{"half a request", 3, (*soakClient).half},
	{"bad body", 3, func(c *soakClient) { c.expect(c.send("POST", "/auth/login", `{"email":`, ""), http.StatusBadRequest) }},
	{"health", 2, func(c *soakClient) {
		c.expect(c.send("GET", "/healthz", "", ""), http.StatusOK)
		c.expect(c.send("GET", "/readyz", "", ""), http.StatusOK)
	}},
}

// A server that runs on and on takes no more and more of anything, and Redis holds the
// sessions that live and nothing that stays. The server is a process of its own; the
// clients and MongoDB are in this one.
func TestSoak(t *testing.T) {
	if *soak == 0 {
		t.Skip("make soak runs this test, with the machine to itself")
	}
	length := *soak
	redis := storetest.NewRedis(t)
	mongo := storetest.Mongo(t)
	ops := freeAddr(t)
	p := startProcess(t, build(t), []string{
		"APP_ENV=development", "LOG_FORMAT=json", "HOST=127.0.0.1", "PORT=0", "SESSION_SECRET=" + secret, "OPS_ADDR=" + ops,
		"MONGODB_URI=" + mongo, fmt.Sprintf("REDIS_URI=redis://%s/%d", redis.Addr, redis.DB),
		"SESSION_MAX_AGE=" + soakIdle.String(), "SESSION_TOUCH_INTERVAL=" + soakTouch.String(), "SESSION_ABSOLUTE_MAX_AGE=" + soakAbsolute.String(),
		"RATE_LIMIT=2000/60s", "BCRYPT_COST=10",
	})
	s := &soakRun{t: t, base: "http://" + p.addr, addr: p.addr, wrong: map[string]int{}}
	w := newSoakWatch(t, p, redis, mongo, ops)
	var plan []func(*soakClient)
	for _, part := range soakPlan {
		for range part.of {
			plan = append(plan, part.do)
		}
	}
	for i := range soakClients {
		c := &soakClient{soakRun: s, number: i, email: fmt.Sprintf("soak%d@example.com", i), http: &http.Client{Transport: &http.Transport{}, Timeout: 20 * time.Second}}
		c.register()
		s.clients = append(s.clients, c)
	}
	for n := range soakWindows {
		s.traffic(length/soakWindows, plan, w)
		select {
		case <-p.gone:
			said := p.out.String()
			t.Fatalf("the program ended: %v\n%s", p.cmd.ProcessState, said[max(0, len(said)-4000):])
		default:
		}
		w.settle(s, n)
	}
	w.report(length, s)
	p.stop()
	select {
	case <-p.gone:
		if !p.cmd.ProcessState.Success() {
			t.Errorf("it ended with %v", p.cmd.ProcessState)
		}
	default:
		t.Error("it did not end")
	}
	if strings.Contains(p.out.String(), `"level":"ERROR"`) {
		t.Errorf("the log has errors:\n%.2000s", p.out)
	}
}

// soakRun is the traffic.
type soakRun struct {
	t          *testing.T
	base, addr string
	clients    []*soakClient

	mu       sync.Mutex
	requests int
	wrong    map[string]int // answers that must not be
	took     []time.Duration
}

// soakSession is a session as its client knows it. Its last touch is between seenFrom and
// seenTo.
type soakSession struct {
	token                   string
	begun, seenFrom, seenTo time.Time
}

// handle names the session in Redis.
func (s *soakSession) handle() string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(s.token))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// lives tells whether a session surely lives at a moment, and whether it may.
func (s *soakSession) lives(at time.Time) (surely, perhaps bool) {
	absolute := at.Sub(s.begun)
	return at.Sub(s.seenFrom) < soakIdle-soakSlack && absolute < soakAbsolute-soakSlack,
		at.Sub(s.seenTo) < soakIdle+soakSlack && absolute < soakAbsolute+soakSlack
}

// soakClient has an account and some sessions of it. What it does comes one after the other.
type soakClient struct {
	*soakRun
	number   int
	email    string
	http     *http.Client
	closing  bool // its connection ends with the answer
	n        int  // how much it has done
	sessions []*soakSession
	ended    []string // tokens of the latest sessions that have ended
	begun    int      // tokens that it was ever given
}

// traffic has the clients go on for a while, at a steady pace, and closes their
// connections then.
func (s *soakRun) traffic(length time.Duration, plan []func(*soakClient), w *soakWatch) {
	var group sync.WaitGroup
	start := time.Now()
	stop := make(chan struct{})
	go w.sampleMemory(stop)
	for _, c := range s.clients {
		group.Go(func() {
			for i := 0; ; i++ {
				due := start.Add(time.Duration(i*soakClients+c.number) * time.Second / soakRate)
				if due.Sub(start) >= length {
					break
				}
				time.Sleep(time.Until(due))
				// The steps of 113 visit every place of the plan, and mix it.
				plan[(c.n*113+c.number*19)%len(plan)](c)
				c.n++
			}
			c.http.CloseIdleConnections()
		})
	}
	group.Wait()
	close(stop)
}

// reply is what came back; status 0 is an error, which was noted.
type reply struct {
	request string
	status  int
	token   string // of the cookie that was set
}

func (s *soakRun) fail(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrong[fmt.Sprintf(format, args...)]++
}

func (c *soakClient) send(method, path, body, token string) reply {
	req, err := http.NewRequest(method, c.base+path, strings.NewReader(body))
	if err != nil {
		c.t.Error(err)
		return reply{}
	}
	req.Close = c.closing
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Cookie", "sid="+token)
	}
	asked := time.Now()
	res, err := c.http.Do(req)
	if err != nil {
		c.fail("%s %s: %v", method, path, err)
		return reply{}
	}
	_, err = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	c.mu.Lock()
	c.requests++
	c.took = append(c.took, time.Since(asked))
	c.mu.Unlock()
	if err != nil {
		c.fail("%s %s: %v", method, path, err)
		return reply{}
	}
	r := reply{method + " " + path, res.StatusCode, ""}
	for _, k := range res.Cookies() {
		if k.Name == "sid" {
			r.token = k.Value
		}
	}
	return r
}

// expect notes an answer that is not of one of the statuses, and tells whether it is.
func (c *soakClient) expect(r reply, statuses ...int) bool {
	if slices.Contains(statuses, r.status) {
		return true
	}
	if r.status != 0 {
		c.fail("%s: %d, want %v", r.request, r.status, statuses)
	}
	return false
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

// keep notes a token that was just given.
func (c *soakClient) keep(token string, asked, begun time.Time) {
	c.begun++
	c.sessions = append(c.sessions, &soakSession{token, begun, asked, time.Now()})
}

// drop notes that a session has ended.
func (c *soakClient) drop(s *soakSession) {
	c.sessions = slices.DeleteFunc(c.sessions, func(other *soakSession) bool { return other == s })
	if c.ended = append(c.ended, s.token); len(c.ended) > 50 {
		c.ended = c.ended[1:]
	}
}

// own is one of the sessions. The older ones are left to end by themselves.
func (c *soakClient) own() *soakSession {
	for _, s := range slices.Clone(c.sessions) {
		if _, perhaps := s.lives(time.Now()); !perhaps {
			c.drop(s)
		}
	}
	if len(c.sessions) == 0 {
		c.login()
	}
	if len(c.sessions) == 0 {
		return nil
	}
	latest := c.sessions[max(0, len(c.sessions)-3):]
	return latest[c.n%len(latest)]
}

// use sends a request with a session that lives, or may.
func (c *soakClient) use(method, path, body string) (s *soakSession, r reply, ok bool) {
	if s = c.own(); s == nil {
		return nil, reply{}, false
	}
	asked := time.Now()
	surely, _ := s.lives(asked.Add(soakSlack)) // it takes a while
	r = c.send(method, path, body, s.token)
	if r.status == http.StatusUnauthorized && !surely {
		c.drop(s)
		return nil, r, false
	}
	if !c.expect(r, http.StatusOK) {
		return nil, r, false
	}
	if asked.Sub(s.seenTo) >= soakTouch {
		s.seenFrom = asked
	}
	s.seenTo = time.Now()
	return s, r, true
}

func (c *soakClient) read(path string) { c.use("GET", path, "") }

func (c *soakClient) rotate() {
	asked := time.Now()
	s, r, ok := c.use("POST", "/auth/rotate-session", "")
	if ok {
		c.drop(s)
		c.keep(r.token, asked, s.begun)
	}
}

func (c *soakClient) login() {
	asked := time.Now()
	r := c.send("POST", "/auth/login", c.credentials(floodPassword), "")
	if c.expect(r, http.StatusOK) {
		c.keep(r.token, asked, time.Now())
	}
}

func (c *soakClient) logout() {
	if s, _, ok := c.use("POST", "/auth/logout", ""); ok {
		c.drop(s)
	}
}

func (c *soakClient) revokeOthers() {
	if s, _, ok := c.use("DELETE", "/auth/sessions", ""); ok {
		for _, other := range slices.Clone(c.sessions) {
			if other != s {
				c.drop(other)
			}
		}
	}
}

func (c *soakClient) replay() {
	if len(c.ended) > 0 {
		c.expect(c.send("GET", "/auth/session", "", c.ended[c.n%len(c.ended)]), http.StatusUnauthorized)
	}
}

// abort goes away before the answer, or a moment after it.
func (c *soakClient) abort() {
	s := c.own()
	if s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(c.n%8)*100*time.Microsecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/auth/session", nil)
	if err != nil {
		c.t.Error(err)
		return
	}
	req.Header.Set("Cookie", "sid="+s.token)
	if res, err := c.http.Do(req); err == nil {
		_ = res.Body.Close()
	}
	s.seenTo = time.Now().Add(soakSlack) // it may still be under way
}

// half sends half a request and goes away.
func (c *soakClient) half() {
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

// freeAddr is an address of the loopback that nobody listens at.
func freeAddr(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
