package httpapi

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/internal/devstore/storetest"
)

// A fault is a way in which Redis is not well.
type fault struct {
	storetest.Faults
	refuse bool // nothing listens at its port
	crowd  int  // so many other requests are there first
	// reads says that what only reads is served.
	reads bool
	// done says that Redis has done what it was asked, though its answer is lost.
	done bool
	// works says that all is served.
	works bool
}

// answers is a fault that answers every command so.
func answers(reply string) fault {
	return fault{Faults: storetest.Faults{Command: say(reply)}}
}

func say(reply string) func(net.Conn, []byte) bool {
	return func(client net.Conn, _ []byte) bool {
		_, _ = io.WriteString(client, reply)
		return true
	}
}

// onWrites has a fault for the commands that may change something.
func onWrites(command func(net.Conn, []byte) bool) func(net.Conn, []byte) bool {
	return func(client net.Conn, chunk []byte) bool {
		for _, name := range []string{"EVAL", "ZREM", "DEL"} { // EVALSHA as well
			if bytes.Contains(chunk, []byte("\r\n"+name)) {
				return command(client, chunk)
			}
		}
		return false
	}
}

func hangUp(client net.Conn, _ []byte) bool {
	_ = client.Close()
	return true
}

func reset(client net.Conn, chunk []byte) bool {
	_ = client.(*net.TCPConn).SetLinger(0)
	return hangUp(client, chunk)
}

func swallow(net.Conn, []byte) bool { return true }

// late is a fault that has every answer wait.
func late(wait time.Duration) func(net.Conn, []byte) bool {
	return func(net.Conn, []byte) bool {
		time.Sleep(wait)
		return false
	}
}

var faults = map[string]fault{
	"refused":                        {refuse: true},
	"hung":                           {Faults: storetest.Faults{Command: swallow}},
	"hung before a write":            {Faults: storetest.Faults{Command: onWrites(swallow)}, reads: true},
	"accepts and says nothing":       {Faults: storetest.Faults{Accept: func(net.Conn) bool { return true }, Command: hangUp}},
	"accepts and hangs up":           {Faults: storetest.Faults{Accept: func(c net.Conn) bool { return hangUp(c, nil) }, Command: hangUp}},
	"hangs up on each command":       {Faults: storetest.Faults{Command: hangUp}},
	"hangs up on each write":         {Faults: storetest.Faults{Command: onWrites(hangUp)}, reads: true},
	"resets on each command":         {Faults: storetest.Faults{Command: reset}},
	"slow":                           {Faults: storetest.Faults{Reply: late(30 * time.Millisecond)}, works: true},
	"slower than the limit":          {Faults: storetest.Faults{Reply: late(time.Second)}, done: true},
	"slow enough to add up":          {Faults: storetest.Faults{Command: onWrites(late(300 * time.Millisecond))}, reads: true, done: true},
	"answers are lost":               {Faults: storetest.Faults{Reply: swallow}, done: true},
	"hangs up in place of an answer": {Faults: storetest.Faults{Reply: hangUp}, done: true},
	"answers are cut, then silence":  {Faults: storetest.Faults{Reply: func(c net.Conn, b []byte) bool { _, _ = c.Write(b[:len(b)/2]); return true }}, done: true},
	"answers are cut, then hangs up": {Faults: storetest.Faults{Reply: func(c net.Conn, b []byte) bool { _, _ = c.Write(b[:len(b)/2]); return hangUp(c, b) }}, done: true},
	"loading":                        answers("-LOADING Redis is loading the dataset in memory\r\n"),
	"busy with a script":             answers("-BUSY Redis is busy running a script\r\n"),
	"a replica without its master":   answers("-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n"),
	"password wanted":                answers("-NOAUTH Authentication required.\r\n"),
	"password wrong":                 answers("-WRONGPASS invalid username-password pair or user is disabled.\r\n"),
	"not permitted":                  answers("-NOPERM this user has no permissions to run the command\r\n"),
	"too many clients": {Faults: storetest.Faults{Command: func(c net.Conn, b []byte) bool {
		return say("-ERR max number of clients reached\r\n")(c, b) && hangUp(c, b)
	}}},
	"wrong type":                     {Faults: storetest.Faults{Command: say("-WRONGTYPE Operation against a key holding the wrong kind of value\r\n")}},
	"a cluster that is down":         answers("-CLUSTERDOWN The cluster is down\r\n"),
	"moved to nowhere":               answers("-MOVED 42 127.0.0.1:1\r\n"),
	"moved in a circle":              {Faults: storetest.Faults{Command: func(c net.Conn, b []byte) bool { return say("-MOVED 42 "+c.LocalAddr().String()+"\r\n")(c, b) }}},
	"asked for nowhere":              answers("-ASK 42 127.0.0.1:1\r\n"),
	"try again":                      answers("-TRYAGAIN Multiple keys request during rehashing of slot\r\n"),
	"does not know the command":      answers("-ERR unknown command\r\n"),
	"does not know a script":         answers("-NOSCRIPT No matching script. Please use EVAL.\r\n"),
	"speaks HTTP":                    answers("HTTP/1.1 400 Bad Request\r\n\r\n"),
	"speaks TLS":                     answers("\x15\x03\x01\x00\x02\x02\x46"),
	"answers with a number":          answers(":7\r\n"),
	"answers with lists":             answers("*2\r\n$1\r\n0\r\n*0\r\n"),
	"announces more than it sends":   answers("$1000000\r\n{"),
	"announces nonsense":             answers("$-7\r\n"),
	"a replica, or a demoted master": {Faults: storetest.Faults{Command: onWrites(say("-READONLY You can't write against a read only replica.\r\n"))}, reads: true},
	"out of memory":                  {Faults: storetest.Faults{Command: onWrites(say("-OOM command not allowed when used memory > 'maxmemory'.\r\n"))}, reads: true},
	"cannot write to its disk":       {Faults: storetest.Faults{Command: onWrites(say("-MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.\r\n"))}, reads: true},
	"too few replicas":               {Faults: storetest.Faults{Command: onWrites(say("-NOREPLICAS Not enough good replicas to write.\r\n"))}, reads: true},
	"scripts forgotten all the time": {Faults: storetest.Faults{Command: func(c net.Conn, b []byte) bool {
		return bytes.Contains(b, []byte("\r\nEVALSHA")) && say("-NOSCRIPT No matching script. Please use EVAL.\r\n")(c, b)
	}}, works: true},
	"every connection taken":  {crowd: 80, Faults: storetest.Faults{Command: swallow}},
	"connections do not last": {Faults: storetest.Faults{Command: shortLived()}, works: true},
}

// shortLived has every connection end with its fifth command.
func shortLived() func(net.Conn, []byte) bool {
	var mu sync.Mutex
	commands := map[net.Conn]int{}
	return func(client net.Conn, chunk []byte) bool {
		mu.Lock()
		defer mu.Unlock()
		commands[client]++
		return commands[client] == 5 && hangUp(client, chunk)
	}
}

// asked is a request for which somebody is signed in, to an account of their own.
type asked struct {
	request
	reads bool // served while Redis serves reads
	c     *client
	other *client // another session of the account
	ends  func(*asked) []*client
}

func endsOwn(r *asked) []*client   { return []*client{r.c} }
func endsOther(r *asked) []*client { return []*client{r.other} }
func endsBoth(r *asked) []*client  { return []*client{r.c, r.other} }

// Whatever is wrong with Redis, everybody with a cookie is told 503 within a second or
// is served, nobody is told to log in, no cookie is touched, and nothing is said to
// have happened that did not. When it is over they are signed in as before.
func TestRedisFaults(t *testing.T) {
	well := newSite(t)
	var accounts []string
	for i := range 11 {
		accounts = append(accounts, well.register(fmt.Sprintf("u%d@example.com", i)).do("GET", "/auth/me", nil).text("user", "id"))
	}
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			direct, redis, proxy := storetest.ProxiedRedis(t)
			s := newSite(t, setup{redis: &redis, mongo: well.mongo})
			conn := direct.Conn(t)
			newcomer := map[string]any{"name": "New", "email": strings.NewReplacer(" ", "-", ",", "").Replace(name) + "@example.com", "password": testPassword}
			requests := []*asked{
				{request: request{method: "GET", path: "/auth/session"}, reads: true},
				{request: request{method: "GET", path: "/auth/me"}, reads: true},
				{request: request{method: "PUT", path: "/profile"}, reads: true},
				{request: request{method: "GET", path: "/auth/sessions"}},
				{request: request{method: "POST", path: "/auth/logout"}, ends: endsOwn},
				{request: request{method: "POST", path: "/auth/rotate-session"}, ends: endsOwn},
				{request: request{method: "DELETE", path: "/auth/sessions/"}, ends: endsOther},
				{request: request{method: "DELETE", path: "/auth/sessions"}, ends: endsOther},
				{request: request{method: "DELETE", path: "/auth/sessions?scope=all"}, ends: endsBoth},
				{request: request{method: "POST", path: "/auth/login"}, ends: endsOwn},
				{request: request{"POST", "/auth/register", newcomer}},
			}
			for i, r := range requests {
				r.c, r.other = s.signInAs(accounts[i]), s.signInAs(accounts[i])
				switch r.path {
				case "/auth/sessions/":
					r.path += r.other.id()
				case "/profile":
					r.body = map[string]any{"name": "by " + name}
				case "/auth/login":
					r.body = map[string]any{"email": fmt.Sprintf("u%d@example.com", i), "password": testPassword}
				}
			}
			before := s.liveSessions(conn)
			if f.refuse {
				proxy.Refuse()
			}
			proxy.Set(f.Faults)
			var wg sync.WaitGroup
			for range f.crowd {
				c := requests[0].other.clone()
				wg.Go(func() { assertFault(t, fault{}, &asked{request: request{method: "GET", path: "/auth/session"}, c: c}) })
			}
			statuses := make([]int, len(requests))
			for i, r := range requests {
				wg.Go(func() { statuses[i] = assertFault(t, f, r) })
			}
			wg.Wait()
			s.client().do("GET", "/auth/me", nil).wantCode(401, "not_authenticated")
			s.client().do("GET", "/healthz", nil).want(200)

			if proxy.Set(storetest.Faults{}); f.refuse {
				proxy.Restore(t)
			}
			if s.client().do("POST", "/auth/login", map[string]any{"email": "u0@example.com", "password": testPassword}).want(200); f.works || f.done {
				// What was answered with 503 may have happened; what was said to have, has.
				for i, r := range requests {
					if statuses[i] < 300 && r.ends != nil {
						for _, c := range r.ends(r) {
							c.do("GET", "/auth/session", nil).want(401)
						}
					}
				}
				return
			}
			for _, r := range requests {
				r.c.do("GET", "/auth/session", nil).want(200)
				r.other.do("GET", "/auth/session", nil).want(200)
				if got := r.c.do("GET", "/auth/me", nil).want(200).text("user", "name"); got == "by "+name && !f.reads {
					t.Errorf("%s was refused and done: the name is %s", r.path, got)
				}
			}
			if live := s.liveSessions(conn); live != before+1 {
				t.Errorf("%d sessions, want the %d of before and one", live, before)
			}
			s.client().do("POST", "/auth/register", newcomer).want(201)
		})
	}
}

// assertFault sends a request while Redis is not well.
func assertFault(t *testing.T, f fault, r *asked) (status int) {
	t.Helper()
	start := time.Now()
	a := r.c.clone().do(r.method, r.path, r.body)
	if took := time.Since(start); took > prompt {
		t.Errorf("%s took %v", a.request, took)
	}
	served := f.works || f.reads && r.reads
	switch {
	case served && a.status < 300:
	case f.done && a.status < 300: // it was done in time after all
	case !served && a.status == 503 && a.body["code"] == "session_store_unavailable" && a.cookie == nil && a.header.Get("Clear-Site-Data") == "":
	default:
		t.Errorf("%s: got %d %s, and the cookie %v", a.request, a.status, a.raw, a.cookie)
	}
	return a.status
}
