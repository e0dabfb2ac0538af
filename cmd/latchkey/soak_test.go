package main

import (
	"crypto/rand"
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
	"latchkey/internal/testkit/suite"
)

var soak = flag.Duration("soak", 2*time.Minute, "duration of TestSoak")

const (
	soakRate    = 300 // requests per second
	soakClients = 16  // each has a connection and an account
	soakWindows = 12

	soakPassword = "correct horse battery"

	// Short, so that many sessions time out during a run.
	soakIdle     = 20 * time.Second
	soakTouch    = 2 * time.Second
	soakAbsolute = 90 * time.Second
	// soakSlack is the maximum difference between the clocks of Redis and this process.
	soakSlack = time.Second
)

// soakPlan lists the actions of clients with their weights.
var soakPlan = []struct {
	weight int
	do     func(*soakClient)
}{
	{165, func(c *soakClient) { c.use("GET", "/auth/session", "") }},
	{20, func(c *soakClient) { c.use("GET", "/auth/me", "") }},
	{8, func(c *soakClient) { c.use("GET", "/auth/sessions", "") }},
	{3, func(c *soakClient) { c.use("PUT", "/profile", `{"name":"S"}`) }},
	{8, func(c *soakClient) { c.use("GET", "/auth/session", "", "Connection", "close") }},
	{30, (*soakClient).rotate},
	{4, (*soakClient).login},
	{2, (*soakClient).logout},
	{1, (*soakClient).revokeOthers},
	{15, (*soakClient).replay},
	{5, (*soakClient).abort},
	{3, (*soakClient).sendHalf},
	{15, func(c *soakClient) {
		c.expect(c.send("GET", "/auth/session", "", "sid="+rand.Text()+rand.Text()[:16]+"A"), 401)
	}},
	{10, func(c *soakClient) { c.expect(c.send("GET", "/auth/session", "", "sid=nonsense"), 401) }},
	{5, func(c *soakClient) { c.expect(c.send("GET", "/auth/me", "", ""), 401) }},
	{1, func(c *soakClient) {
		c.expect(c.send("POST", "/auth/login", c.credentials("wrong horse battery"), ""), 401)
	}},
	{3, func(c *soakClient) { c.expect(c.send("POST", "/auth/login", `{"email":`, ""), 400) }},
	{2, func(c *soakClient) {
		c.expect(c.send("GET", "/healthz", "", ""), 200)
		c.expect(c.send("GET", "/readyz", "", ""), 200)
	}},
}

// A server that runs for a long time leaks nothing, and Redis keeps only live sessions. The
// server runs in its own process; the clients and MongoDB run in this one.
func TestSoak(t *testing.T) {
	suite.Require(t, suite.Soak)

	redis := storetest.NewRedis(t)
	p := startProcess(t, build(t), append(baseSettings(redis, storetest.Mongo(t)),
		"APP_ENV=development",
		"LOG_FORMAT=json",
		"OPS_ADDR=127.0.0.1:0",
		"SESSION_MAX_AGE="+soakIdle.String(),
		"SESSION_TOUCH_INTERVAL="+soakTouch.String(),
		"SESSION_ABSOLUTE_MAX_AGE="+soakAbsolute.String(),
		"RATE_LIMIT=2000/60s",
		"BCRYPT_COST=4", // hashing has a low priority, so it is slow on a busy machine
		"REDIS_TIMEOUT=10s",
		"MONGODB_TIMEOUT=10s"))
	s := &soakRun{base: "http://" + p.addr}
	w := newSoakWatch(t, redis, "http://"+opsAddr(t, p.out))

	for i := range soakClients {
		c := &soakClient{
			soakRun: s,
			number:  i,
			email:   fmt.Sprintf("soak%d@example.com", i),
			http:    &http.Client{Transport: &http.Transport{}, Timeout: 20 * time.Second},
		}
		c.begin(201, "/auth/register", fmt.Sprintf(`{"name":"S","email":%q,"password":%q}`, c.email, soakPassword))
		s.clients = append(s.clients, c)
	}

	var baseline map[string]float64
	for n := range soakWindows {
		s.runClients(*soak / soakWindows)
		select {
		case <-p.exited:
			log := p.out.String()
			t.Fatalf("the server stopped: %v\n%s", p.cmd.ProcessState, log[max(0, len(log)-4000):])
		default:
		}

		figures := w.measure()
		t.Logf("window %d: %v", n+1, figures)
		w.checkSessions(s.clients)
		if n == soakWindows/2 {
			baseline = figures
		}
		if n == soakWindows-1 {
			w.checkGrowth(baseline, figures)
		}
	}
	s.failed.report(t)

	p.stop()
	if !p.cmd.ProcessState.Success() {
		t.Errorf("exit status: got %v, want success", p.cmd.ProcessState)
	}
	if strings.Contains(p.out.String(), `"level":"ERROR"`) {
		t.Errorf("the log has errors:\n%.2000s", p.out)
	}
}

// soakRun is a run: the server and its clients.
type soakRun struct {
	base    string
	clients []*soakClient
	failed  failures
}

// soakSession is a session as its client knows it. It was last extended between seenFrom
// and seenTo.
type soakSession struct {
	cookie    string
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
	number   int
	email    string
	http     *http.Client
	actions  int // number of actions so far
	sessions []*soakSession
	ended    []string // cookies of sessions that ended recently
	received int      // number of session cookies received so far
}

// runClients runs the clients at a steady pace and then closes their connections.
func (s *soakRun) runClients(length time.Duration) {
	var plan []func(*soakClient)
	for _, action := range soakPlan {
		plan = append(plan, slices.Repeat([]func(*soakClient){action.do}, action.weight)...)
	}

	var clients sync.WaitGroup
	startedAt := time.Now()
	for _, c := range s.clients {
		clients.Go(func() {
			defer c.http.CloseIdleConnections()

			for i := 0; ; i++ {
				due := startedAt.Add(time.Duration(i*soakClients+c.number) * time.Second / soakRate)
				if due.Sub(startedAt) >= length {
					return
				}
				time.Sleep(time.Until(due))
				// Steps of 113 visit every entry of the plan in a mixed order.
				plan[(c.actions*113+c.number*19)%len(plan)](c)
				c.actions++
			}
		})
	}
	clients.Wait()
}

// send sends a request with the cookie of a session, if it is not empty. After an error,
// which it counts, it returns a response with status 0.
func (c *soakClient) send(method, path, body, cookie string, headers ...string) response {
	res, err := fetch(c.http, method, c.base+path, body, append(headers, "Cookie", cookie)...)
	if err != nil {
		c.failed.add(err)
		return response{Response: &http.Response{}}
	}

	return res
}

// expect reports whether a response has one of the given statuses, and otherwise counts a failure.
func (c *soakClient) expect(r response, want ...int) bool {
	ok := slices.Contains(want, r.StatusCode)
	if !ok && r.StatusCode != 0 {
		c.failed.add(fmt.Errorf("%s %s: got %d, want %d", r.Request.Method, r.Request.URL.Path, r.StatusCode, want))
	}

	return ok
}

func (c *soakClient) credentials(password string) string {
	return fmt.Sprintf(`{"email":%q,"password":%q}`, c.email, password)
}

// begin registers or logs in.
func (c *soakClient) begin(want int, path, body string) {
	sentAt := time.Now()
	if r := c.send("POST", path, body, ""); c.expect(r, want) {
		c.keep(r.cookie(), sentAt, time.Now())
	}
}

func (c *soakClient) login() { c.begin(200, "/auth/login", c.credentials(soakPassword)) }

// keep stores the cookie of a session.
func (c *soakClient) keep(cookie string, requestedAt, createdAt time.Time) {
	c.received++
	c.sessions = append(c.sessions, &soakSession{
		cookie:    cookie,
		createdAt: createdAt,
		seenFrom:  requestedAt,
		seenTo:    time.Now(),
	})
}

// drop forgets a session that has ended.
func (c *soakClient) drop(s *soakSession) {
	c.sessions = slices.DeleteFunc(c.sessions, func(other *soakSession) bool { return other == s })
	c.ended = append(c.ended, s.cookie)
	c.ended = c.ended[max(0, len(c.ended)-50):]
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

// use sends a request with a session that is, or may be, alive. It returns nil if there is
// no session or it has ended.
func (c *soakClient) use(method, path, body string, headers ...string) (*soakSession, response) {
	s := c.pick()
	if s == nil {
		return nil, response{}
	}

	want := []int{http.StatusOK}
	sentAt := time.Now()
	if certain, _ := s.aliveAt(sentAt.Add(soakSlack)); !certain { // the request takes time
		want = append(want, http.StatusUnauthorized)
	}
	r := c.send(method, path, body, s.cookie, headers...)
	if !c.expect(r, want...) {
		return nil, r
	}
	if r.StatusCode == http.StatusUnauthorized {
		c.drop(s)
		return nil, r
	}

	if sentAt.Sub(s.seenTo) >= soakTouch {
		s.seenFrom = sentAt
	}
	s.seenTo = time.Now()

	return s, r
}

func (c *soakClient) rotate() {
	sentAt := time.Now()
	if s, r := c.use("POST", "/auth/rotate-session", ""); s != nil {
		c.drop(s)
		c.keep(r.cookie(), sentAt, s.createdAt)
	}
}

func (c *soakClient) logout() {
	if s, _ := c.use("POST", "/auth/logout", ""); s != nil {
		c.drop(s)
	}
}

func (c *soakClient) revokeOthers() {
	s, _ := c.use("DELETE", "/auth/sessions", "")
	if s == nil {
		return
	}
	for _, other := range slices.Clone(c.sessions) {
		if other != s {
			c.drop(other)
		}
	}
}

// replay sends the cookie of a session that has ended.
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

	client := *c.http
	client.Timeout = time.Duration(1+c.actions%8) * 100 * time.Microsecond
	_, _ = fetch(&client, "GET", c.base+"/auth/session", "", "Cookie", s.cookie)
	s.seenTo = time.Now().Add(soakSlack) // the server may still be handling the request
}

// sendHalf sends half a request and disconnects.
func (c *soakClient) sendHalf() {
	conn, err := net.Dial("tcp", strings.TrimPrefix(c.base, "http://"))
	if err != nil {
		c.failed.add(err)
		return
	}
	_, _ = io.WriteString(conn, "POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	_ = conn.Close()
}
