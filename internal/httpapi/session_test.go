package httpapi

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/devstore/storetest"
)

func TestSession(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.register("ann@example.com")
	me := c.do("GET", "/auth/me", nil).want(200)
	a := c.do("GET", "/auth/session", nil).want(200)
	if a.body["authenticated"] != true || a.text("userId") != me.text("user", "id") || a.text("email") != "ann@example.com" {
		t.Errorf("session is %s", a.raw)
	}
	created, idle, end := a.time("createdAt"), a.time("idleExpiresAt"), a.time("expiresAt")
	if idle.Sub(created) != testIdle || end.Sub(created) != testAbsolute {
		t.Errorf("idle lifetime %v, absolute %v", idle.Sub(created), end.Sub(created))
	}
	ttl, err := redis.Int64(s.redis.Conn(t).Do("PTTL", "sess:"+a.text("sessionId")))
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Duration(ttl) * time.Millisecond; left > testIdle || left < testIdle-time.Minute {
		t.Errorf("the key lives for %v, the session for %v", left, testIdle)
	}
}

func (a answer) time(name string) time.Time {
	a.t.Helper()
	v, err := time.Parse(time.RFC3339, a.text(name))
	if err != nil {
		a.t.Fatal(err)
	}
	return v
}

// A session that is used lives on, one that is not ends: here by the server's own
// look at the time, because the TTL in Redis runs on a clock that stands.
func TestIdleLifetime(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	used, unused := s.signIn(), s.signIn()
	for range 3 {
		s.advance(testIdle - time.Minute)
		used.do("GET", "/auth/session", nil).want(200)
	}
	unused.do("GET", "/auth/session", nil).wantCode(401, "not_authenticated")
	s.advance(testIdle)
	used.do("GET", "/auth/session", nil).wantCode(401, "not_authenticated")
	if live := s.liveSessions(s.redis.Conn(t)); live != 0 {
		t.Errorf("%d keys of ended sessions are left", live)
	}
}

// Neither use nor rotation carries a session past its absolute lifetime.
func TestAbsoluteLifetime(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.signIn()
	end := c.do("GET", "/auth/session", nil).want(200).time("expiresAt")
	const steps = 10
	for range steps - 1 {
		s.advance(testAbsolute / steps)
		a := c.do("POST", "/auth/rotate-session", nil).want(200)
		if left := int(time.Until(end).Seconds() - time.Duration(s.skew.Load()).Seconds()); a.cookie.MaxAge > left+1 {
			t.Errorf("the cookie lives for %d s, the session for %d s", a.cookie.MaxAge, left)
		}
		if got := c.do("GET", "/auth/session", nil).want(200); !got.time("expiresAt").Equal(end) || got.time("idleExpiresAt").After(end) {
			t.Fatalf("the end moved from %v: %s", end, got.raw)
		}
	}
	conn := s.redis.Conn(t)
	key, err := redis.Strings(conn.Do("KEYS", "sess:*"))
	if err != nil || len(key) != 1 {
		t.Fatal(key, err)
	}
	if _, err := conn.Do("PERSIST", key[0]); err != nil {
		t.Fatal(err)
	}
	s.advance(testAbsolute / steps)
	c.do("GET", "/auth/session", nil).wantCode(401, "not_authenticated")
}

// Of many requests that find the touch interval over, one writes, and no answer
// to a read sets a cookie.
func TestTouch(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.signIn()
	first := c.do("GET", "/auth/session", nil).want(200)
	conn := s.redis.Conn(t)
	value := func() string {
		v, err := redis.String(conn.Do("GET", "sess:"+first.text("sessionId")))
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	before := value()
	s.advance(30 * time.Second)
	c.do("GET", "/auth/session", nil).want(200)
	if value() != before {
		t.Error("a read within the interval wrote")
	}
	s.advance(31 * time.Second)
	var mu sync.Mutex
	seen := map[string]int{}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			a := c.clone().do("GET", "/auth/session", nil)
			if a.status != 200 || a.cookie != nil {
				t.Errorf("a read got %d and the cookie %v", a.status, a.cookie)
			}
			mu.Lock()
			defer mu.Unlock()
			seen[a.text("lastSeenAt")]++
		})
	}
	wg.Wait()
	after := value()
	if after == before {
		t.Error("no read wrote after the interval")
	}
	// Whoever did not write shows what it read: the old time, or that of the one write.
	delete(seen, first.text("lastSeenAt"))
	if len(seen) > 1 {
		t.Errorf("several wrote: %v", seen)
	}
}

// A read of a session costs one Redis command.
func TestOneCommandPerRead(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	s := newSite(t, setup{redis: &server.Redis})
	c := s.signIn()
	c.do("GET", "/auth/session", nil).want(200)
	conn := server.Conn(t)
	commands := func() int {
		info, err := redis.String(conn.Do("INFO", "stats"))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.SplitSeq(info, "\r\n") {
			if n, ok := strings.CutPrefix(line, "total_commands_processed:"); ok {
				v, err := redis.Int([]byte(n), nil)
				if err != nil {
					t.Fatal(err)
				}
				return v
			}
		}
		t.Fatal("no count of commands")
		return 0
	}
	before := commands()
	const reads = 200
	for range reads {
		c.do("GET", "/auth/session", nil).want(200)
	}
	if used := commands() - before - 1; used != reads { // the INFO itself is one
		t.Errorf("%d reads took %d commands", reads, used)
	}
	before = commands()
	for _, token := range []string{"", "short", strings.Repeat("=", 43), strings.Repeat("A", 42) + "B", strings.Repeat("A", 44), "../sess:x", "user:42"} {
		(&client{site: s, token: token}).do("GET", "/auth/session", nil).want(401)
	}
	if used := commands() - before - 1; used != 0 {
		t.Errorf("requests without a token of ours took %d commands", used)
	}
}

// Two cookies of the name are nobody's session, in either order.
func TestDuplicateCookie(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ann, eve := s.signIn(), s.signIn()
	for _, pair := range [][2]string{{ann.token, eve.token}, {eve.token, ann.token}, {ann.token, ""}, {ann.token, ann.token}} {
		header := map[string][]string{"Cookie": {"sid=" + pair[0] + "; sid=" + pair[1]}}
		a := s.client().send("GET", "/auth/session", header, nil).wantCode(401, "not_authenticated")
		if a.cookie != nil {
			// It would drop the user's own, and leave the planted one alone.
			t.Errorf("cookies %v: the answer sets %s", pair, a.cookie)
		}
	}
	ann.do("GET", "/auth/session", nil).want(200)
	if !strings.Contains(s.log.String(), "several session cookies in one request") {
		t.Error("the log says nothing")
	}
}

// A value that is no session of ours is nobody's, once, and not an error for ever.
func TestUndecodableValue(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	conn := s.redis.Conn(t)
	for _, value := range []string{
		"", "x", "{}", "null", "[]", `{"v":1}`, `{"v":2,"userId":"u","expiresAt":"2999-01-01T00:00:00Z","idleExpiresAt":"2999-01-01T00:00:00Z"}`,
		`{"cookie":{"originalMaxAge":86400000},"userId":"65f0","email":"john@example.com"}`, "\x0e\xff\x81\x03\x01gob",
		"1", "2", "0\n", "1\n", "1\nu\njohn@example.com\n0 0 0\n",
	} {
		c := s.signIn()
		key := "sess:" + c.do("GET", "/auth/session", nil).want(200).text("sessionId")
		if _, err := conn.Do("SET", key, value); err != nil {
			t.Fatal(err)
		}
		a := c.do("GET", "/auth/session", nil).wantCode(401, "not_authenticated")
		if a.cookie == nil || a.cookie.MaxAge >= 0 {
			t.Errorf("%q: the cookie stays", value)
		}
		if n, err := redis.Int(conn.Do("EXISTS", key)); err != nil || n != 0 {
			t.Errorf("%q: the key stays", value)
		}
	}
	c := s.signIn()
	key := "sess:" + c.do("GET", "/auth/session", nil).want(200).text("sessionId")
	for _, command := range [][]any{{"DEL", key}, {"HSET", key, "a", "1"}} {
		if _, err := conn.Do(command[0].(string), command[1:]...); err != nil {
			t.Fatal(err)
		}
	}
	c.do("GET", "/auth/session", nil).wantCode(401, "not_authenticated")
}

// A session that only a later release can read is no stranger's: it is not dropped, nor
// is its cookie, and a server that can read it goes on with it. Nobody is told that they
// have logged out, who have not.
func TestLaterSession(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	conn := s.redis.Conn(t)
	c := s.signIn()
	key := "sess:" + c.do("GET", "/auth/session", nil).want(200).text("sessionId")
	value, err := redis.String(conn.Do("GET", key))
	if err != nil {
		t.Fatal(err)
	}
	set := func(value string) {
		if _, err := conn.Do("SET", key, value, "KEEPTTL"); err != nil {
			t.Fatal(err)
		}
	}
	set("2\nof a later release\n")
	for _, route := range []string{"GET /auth/session", "GET /auth/me", "GET /auth/sessions", "GET /auth/verify", "POST /auth/rotate-session", "POST /auth/logout"} {
		method, path, _ := strings.Cut(route, " ")
		if a := c.do(method, path, nil).wantCode(503, "session_store_unavailable"); a.cookie != nil {
			t.Errorf("%s sets the cookie %v", route, a.cookie)
		}
	}
	set(value)
	c.do("GET", "/auth/session", nil).want(200)
}

// A secret is changed without logging anyone out: both are accepted, and a session
// that is used moves to the new one, after which the old one can go.
func TestSecretChange(t *testing.T) {
	t.Parallel()
	const before, after = testSecret, "the next secret of the tests, 32 b"
	old := newSite(t, setup{secrets: []string{before}})
	c := old.signIn()
	handle := c.do("GET", "/auth/session", nil).want(200).text("sessionId")

	both := newSite(t, setup{stores: old, secrets: []string{after, before}})
	c.site = both
	moved := c.do("GET", "/auth/session", nil).want(200)
	if moved.text("sessionId") == handle || moved.cookie != nil {
		t.Errorf("the session is still %s, or the cookie was set: %v", handle, moved.cookie)
	}

	only := newSite(t, setup{stores: old, secrets: []string{after}})
	c.site = only
	if got := c.do("GET", "/auth/session", nil).want(200).text("sessionId"); got != moved.text("sessionId") {
		t.Errorf("the session is %s, was %s", got, moved.text("sessionId"))
	}
	if listed := c.listed(); len(listed) != 1 || listed[moved.text("sessionId")] == nil {
		t.Errorf("the list is %v", listed)
	}
	last := c.clone()
	c.do("POST", "/auth/logout", nil).want(200)
	last.do("GET", "/auth/session", nil).want(401)
	if live := only.liveSessions(only.redis.Conn(t)); live != 0 {
		t.Errorf("%d sessions live on", live)
	}
}

// Two thousand kinds of garbage for a cookie: no error of ours, no command for
// Redis that is malformed, and no key is made.
func TestGarbageCookies(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	good := s.signIn()
	conn := s.redis.Conn(t)
	keys := func() int {
		n, err := redis.Int(conn.Do("DBSIZE"))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := keys()
	garbage := []string{"", " ", "=", "\"\"", "null", "*", "sess:*", "../../x", "%00", "j%3A%7B%7D", "s%3Aabc.def", strings.Repeat("é", 43), strings.Repeat("A", 5000)}
	for i := range good.token { // the right length, one character wrong
		for _, c := range "!*.:/+= é\\\"{}[]()<>@?^`|~'$&#%" {
			garbage = append(garbage, good.token[:i]+string(c)+good.token[i+1:])
		}
	}
	for n := range 100 { // every length
		garbage = append(garbage, strings.Repeat("A", n), good.token[:min(n, 42)], good.token+strings.Repeat("A", n+1))
	}
	for i := range 400 { // right in form, and nobody's
		garbage = append(garbage, strings.Repeat(string(rune('B'+i%20)), i%43)+good.token[i%43:])
	}
	t.Logf("%d kinds", len(garbage))
	for _, value := range garbage {
		if value == good.token {
			continue
		}
		if a := s.client().send("GET", "/auth/session", map[string][]string{"Cookie": {"sid=" + value}}, nil); a.status != 401 {
			t.Errorf("%q: %d", value, a.status)
		}
	}
	if after := keys(); after != before {
		t.Errorf("%d keys, were %d", after, before)
	}
	good.do("GET", "/auth/session", nil).want(200)
}
