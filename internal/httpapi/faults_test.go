package httpapi_test

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/internal/apitest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit/suite"
)

// fault is a failure mode of Redis.
type fault struct {
	storetest.Faults
	refuse            bool // nothing listens at its port
	concurrentClients int  // so many other requests are there first
	// reads is set if requests that only read succeed.
	reads bool
	// done is set if Redis executes commands although the replies are lost.
	done bool
	// works is set if all requests succeed.
	works bool
	// untrusted is set if the reply cannot be a record. Then there is no session, and the
	// cookie and the record stay.
	untrusted bool
}

// alwaysReply returns a fault that sends the same reply to every command.
func alwaysReply(reply string) fault {
	return fault{Faults: storetest.Faults{Command: storetest.Say(reply)}}
}

var faults = map[string]fault{
	"refused":                        {refuse: true},
	"hung":                           {Faults: storetest.Faults{Command: storetest.Swallow}},
	"hung before a write":            {Faults: storetest.Faults{Command: storetest.OnWrites(storetest.Swallow)}, reads: true},
	"accepts and says nothing":       {Faults: storetest.Faults{Accept: func(net.Conn) bool { return true }, Command: storetest.HangUp}},
	"accepts and hangs up":           {Faults: storetest.Faults{Accept: func(c net.Conn) bool { return storetest.HangUp(c, nil) }, Command: storetest.HangUp}},
	"hangs up on each command":       {Faults: storetest.Faults{Command: storetest.HangUp}},
	"hangs up on each write":         {Faults: storetest.Faults{Command: storetest.OnWrites(storetest.HangUp)}, reads: true},
	"resets on each command":         {Faults: storetest.Faults{Command: storetest.Reset}},
	"slow":                           {Faults: storetest.Faults{Reply: storetest.Late(30 * time.Millisecond)}, works: true},
	"slower than the limit":          {Faults: storetest.Faults{Reply: storetest.Late(time.Second)}, done: true},
	"slow enough to add up":          {Faults: storetest.Faults{Command: storetest.OnWrites(storetest.Late(300 * time.Millisecond))}, reads: true, done: true},
	"replies are lost":               {Faults: storetest.Faults{Reply: storetest.Swallow}, done: true},
	"hangs up instead of replying":   {Faults: storetest.Faults{Reply: storetest.HangUp}, done: true},
	"replies are cut, then silence":  {Faults: storetest.Faults{Reply: func(c net.Conn, b []byte) bool { _, _ = c.Write(b[:len(b)/2]); return true }}, done: true},
	"replies are cut, then hangs up": {Faults: storetest.Faults{Reply: func(c net.Conn, b []byte) bool { _, _ = c.Write(b[:len(b)/2]); return storetest.HangUp(c, b) }}, done: true},
	"loading":                        alwaysReply("-LOADING Redis is loading the dataset in memory\r\n"),
	"busy with a script":             alwaysReply("-BUSY Redis is busy running a script\r\n"),
	"a replica without its master":   alwaysReply("-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n"),
	"password wanted":                alwaysReply("-NOAUTH Authentication required.\r\n"),
	"password wrong":                 alwaysReply("-WRONGPASS invalid username-password pair or user is disabled.\r\n"),
	"not permitted":                  alwaysReply("-NOPERM this user has no permissions to run the command\r\n"),
	"too many clients": {Faults: storetest.Faults{Command: func(c net.Conn, b []byte) bool {
		return storetest.Say("-ERR max number of clients reached\r\n")(c, b) && storetest.HangUp(c, b)
	}}},
	"wrong type":                {untrusted: true, Faults: storetest.Faults{Command: storetest.Say("-WRONGTYPE Operation against a key holding the wrong kind of value\r\n")}},
	"a cluster that is down":    alwaysReply("-CLUSTERDOWN The cluster is down\r\n"),
	"moved redirect to nowhere": alwaysReply("-MOVED 42 127.0.0.1:1\r\n"),
	"moved in a circle": {Faults: storetest.Faults{Command: func(c net.Conn, b []byte) bool {
		return storetest.Say("-MOVED 42 "+c.LocalAddr().String()+"\r\n")(c, b)
	}}},
	"ask redirect to nowhere":        alwaysReply("-ASK 42 127.0.0.1:1\r\n"),
	"try again":                      alwaysReply("-TRYAGAIN Multiple keys request during rehashing of slot\r\n"),
	"does not know the command":      alwaysReply("-ERR unknown command\r\n"),
	"does not know a script":         alwaysReply("-NOSCRIPT No matching script. Please use EVAL.\r\n"),
	"speaks HTTP":                    alwaysReply("HTTP/1.1 400 Bad Request\r\n\r\n"),
	"speaks TLS":                     alwaysReply("\x15\x03\x01\x00\x02\x02\x46"),
	"replies with a number":          alwaysReply(":7\r\n"),
	"replies with arrays":            alwaysReply("*2\r\n$1\r\n0\r\n*0\r\n"),
	"announces more than it sends":   alwaysReply("$1000000\r\n{"),
	"announces nonsense":             alwaysReply("$-7\r\n"),
	"a replica, or a demoted master": {Faults: storetest.Faults{Command: storetest.OnWrites(storetest.Say("-READONLY You can't write against a read only replica.\r\n"))}, reads: true},
	"out of memory":                  {Faults: storetest.Faults{Command: storetest.OnWrites(storetest.Say("-OOM command not allowed when used memory > 'maxmemory'.\r\n"))}, reads: true},
	"cannot write to its disk":       {Faults: storetest.Faults{Command: storetest.OnWrites(storetest.Say("-MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.\r\n"))}, reads: true},
	"too few replicas":               {Faults: storetest.Faults{Command: storetest.OnWrites(storetest.Say("-NOREPLICAS Not enough good replicas to write.\r\n"))}, reads: true},
	"scripts forgotten all the time": {Faults: storetest.Faults{Command: storetest.ForgetScripts}, works: true},
	"every connection taken":         {concurrentClients: 80, Faults: storetest.Faults{Command: storetest.Swallow}},
	"connections do not last":        {Faults: storetest.Faults{Command: shortLived()}, works: true},
}

// shortLived closes each connection at its fifth command.
func shortLived() func(net.Conn, []byte) bool {
	var mu sync.Mutex
	commands := map[net.Conn]int{}

	return func(client net.Conn, chunk []byte) bool {
		mu.Lock()
		defer mu.Unlock()
		commands[client]++

		return commands[client] == 5 && storetest.HangUp(client, chunk)
	}
}

// faultRequest is a request by a client with its own account.
type faultRequest struct {
	request
	reads     bool // served while Redis serves reads
	endsOwn   bool // ends the session of c
	endsOther bool // ends the session of other
	c         *apitest.Client
	other     *apitest.Client // another session of the account
}

// Whatever is wrong with Redis, a request with a cookie gets 503 within a second or succeeds. No
// response asks the user to log in, changes the cookie, or claims something that did not happen.
// Afterwards everyone is still signed in.
func TestRedisFaults(t *testing.T) {
	suite.Require(t, suite.Outage)

	well := apitest.New(t)
	var accounts []string
	for i := range 11 {
		accounts = append(accounts, well.Register(fmt.Sprintf("u%d@example.com", i)).Do("GET", "/auth/me", nil).Text("user", "id"))
	}

	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			direct, redis, proxy := storetest.ProxiedRedis(t)
			s := apitest.New(t, apitest.Options{RealTimeouts: true, Redis: &redis, MongoURI: well.MongoURI})
			conn := direct.Conn(t)
			newcomer := map[string]any{"name": "New", "email": strings.NewReplacer(" ", "-", ",", "").Replace(name) + "@example.com", "password": apitest.Password}
			requests := []*faultRequest{
				{request: request{method: "GET", path: "/auth/session"}, reads: true},
				{request: request{method: "GET", path: "/auth/me"}, reads: true},
				{request: request{method: "PUT", path: "/profile"}, reads: true},
				{request: request{method: "GET", path: "/auth/sessions"}},
				{request: request{method: "POST", path: "/auth/logout"}, endsOwn: true},
				{request: request{method: "POST", path: "/auth/rotate-session"}, endsOwn: true},
				{request: request{method: "DELETE", path: "/auth/sessions/"}, endsOther: true},
				{request: request{method: "DELETE", path: "/auth/sessions"}, endsOther: true},
				{request: request{method: "DELETE", path: "/auth/sessions?scope=all"}, endsOwn: true, endsOther: true},
				{request: request{method: "POST", path: "/auth/login"}, endsOwn: true},
				{request: request{"POST", "/auth/register", newcomer}},
			}

			for i, r := range requests {
				r.c = s.SignInAs(accounts[i])
				r.other = s.SignInAs(accounts[i])

				switch r.path {
				case "/auth/sessions/":
					r.path += r.other.SessionID()
				case "/profile":
					r.body = map[string]any{"name": "by " + name}
				case "/auth/login":
					r.body = apitest.Credentials(fmt.Sprintf("u%d@example.com", i), apitest.Password)
				}
			}

			before := s.LiveSessions(conn)
			if f.refuse {
				proxy.Refuse()
			}

			proxy.Set(f.Faults)
			var wg sync.WaitGroup
			for range f.concurrentClients {
				c := requests[0].other.Clone()
				wg.Go(func() {
					assertFault(t, fault{}, &faultRequest{request: request{method: "GET", path: "/auth/session"}, c: c})
				})
			}

			statuses := make([]int, len(requests))
			for i, r := range requests {
				wg.Go(func() { statuses[i] = assertFault(t, f, r) })
			}

			wg.Wait()
			s.NewClient().Do("GET", "/auth/me", nil).WantCode(401, "not_authenticated")
			s.NewClient().Do("GET", "/healthz", nil).Want(200)
			isReady := f.works || f.reads && f.done
			if !isReady && !f.untrusted {
				a := s.NewClient().Do("GET", "/readyz", nil).WantCode(503, "not_ready")
				if fmt.Sprint(a.JSON["stores"]) != "map[mongodb:ok redis:unavailable]" {
					t.Errorf("readiness: got %s", a.Raw)
				}
			}

			proxy.Set(storetest.Faults{})
			if f.refuse {
				proxy.Restore(t)
			}

			s.NewClient().Do("POST", "/auth/login", apitest.Credentials("u0@example.com", apitest.Password)).Want(200)
			if f.works || f.done {
				// A request that got 503 may have been executed. One that succeeded must
				// have been.
				for i, r := range requests {
					if statuses[i] < 300 && r.endsOwn {
						r.c.Do("GET", "/auth/session", nil).Want(401)
					}
					if statuses[i] < 300 && r.endsOther {
						r.other.Do("GET", "/auth/session", nil).Want(401)
					}
				}

				return
			}

			for _, r := range requests {
				r.c.Do("GET", "/auth/session", nil).Want(200)
				r.other.Do("GET", "/auth/session", nil).Want(200)
				if got := r.c.Do("GET", "/auth/me", nil).Want(200).Text("user", "name"); got == "by "+name && !f.reads {
					t.Errorf("%s got 503 but was executed: the name is %s", r.path, got)
				}
			}

			if live := s.LiveSessions(conn); live != before+1 {
				t.Errorf("sessions: got %d, want %d and one more", live, before)
			}

			s.NewClient().Do("POST", "/auth/register", newcomer).Want(201)
		})
	}
}

// assertFault sends a request while Redis fails.
func assertFault(t *testing.T, f fault, r *faultRequest) (status int) {
	t.Helper()

	start := time.Now()
	a := r.c.Clone().Do(r.method, r.path, r.body)
	if elapsed := time.Since(start); elapsed > maxResponseTime {
		t.Errorf("%s: response time: got %v, want at most %v", a.Request, elapsed, maxResponseTime)
	}

	served := f.works || f.reads && r.reads
	keepsCookie := a.Cookie == nil && a.Header.Get("Clear-Site-Data") == ""
	unavailable := a.Status == 503 && a.JSON["code"] == "session_store_unavailable" && a.Header.Get("Retry-After") != ""
	switch {
	case served && a.Status < 300:
	case f.done && a.Status < 300: // it was done in time after all
	case f.untrusted && a.Status == 401 && a.JSON["code"] == "not_authenticated" && keepsCookie:
	case !served && unavailable && keepsCookie:
	default:
		t.Errorf("%s: got %d %s, and the cookie %v", a.Request, a.Status, a.Raw, a.Cookie)
	}

	return a.Status
}
