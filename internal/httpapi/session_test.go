package httpapi_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/apitest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
)

// testLinger is how long a record outlives its session.
const testLinger = 24 * time.Hour

func TestSession(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	c := s.Register("ann@example.com")
	me := c.Do("GET", "/auth/me", nil).Want(200)
	a := c.Do("GET", "/auth/session", nil).Want(200)
	if a.JSON["authenticated"] != true || a.Text("userId") != me.Text("user", "id") || a.Text("email") != "ann@example.com" {
		t.Errorf("session: got %s, want that of ann@example.com", a.Raw)
	}

	created := a.Time("createdAt")
	if got := a.Time("idleExpiresAt").Sub(created); got != apitest.IdleTimeout {
		t.Errorf("idle timeout: got %v, want %v", got, apitest.IdleTimeout)
	}
	if got := a.Time("expiresAt").Sub(created); got != apitest.AbsoluteTimeout {
		t.Errorf("absolute timeout: got %v, want %v", got, apitest.AbsoluteTimeout)
	}

	ttl, err := redis.Int64(s.Redis.Conn(t).Do("PTTL", s.RecordKey(a.Text("sessionId"))))
	testkit.NoError(t, err)
	want := apitest.IdleTimeout + testLinger
	if got := time.Duration(ttl) * time.Millisecond; got > want || got < want-time.Minute {
		t.Errorf("TTL of the record: got %v, want about %v", got, want)
	}
}

// Using a session extends it, and an unused one times out. The test advances the server's
// clock only, so the TTL in Redis has no effect.
func TestIdleLifetime(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	used, unused := s.SignIn(), s.SignIn()
	for range 3 {
		s.Advance(apitest.IdleTimeout - time.Minute)
		used.Do("GET", "/auth/session", nil).Want(200)
	}

	unused.Do("GET", "/auth/session", nil).WantCode(401, "not_authenticated")
	s.Advance(apitest.IdleTimeout)
	used.Do("GET", "/auth/session", nil).WantCode(401, "not_authenticated")
	if live := s.LiveSessions(s.Redis.Conn(t)); live != 0 {
		t.Errorf("live sessions: got %d, want 0", live)
	}
}

// Neither use nor rotation extends a session beyond its absolute lifetime.
func TestAbsoluteLifetime(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	c := s.SignIn()
	end := c.Do("GET", "/auth/session", nil).Want(200).Time("expiresAt")
	const steps = 10
	for range steps - 1 {
		s.Advance(apitest.AbsoluteTimeout / steps)
		a := c.Do("POST", "/auth/rotate-session", nil).Want(200)
		if left := int(end.Sub(s.Now()).Seconds()); a.Cookie.MaxAge > left+1 {
			t.Errorf("Max-Age of the cookie: got %d, want at most %d", a.Cookie.MaxAge, left+1)
		}

		if got := c.Do("GET", "/auth/session", nil).Want(200); !got.Time("expiresAt").Equal(end) || got.Time("idleExpiresAt").After(end) {
			t.Fatalf("session: got %s, want it to expire at %v", got.Raw, end)
		}
	}

	conn := s.Redis.Conn(t)
	keys, err := redis.Strings(conn.Do("KEYS", "sess:*"))
	testkit.NoError(t, err)
	if len(keys) != 1 {
		t.Fatalf("session records: got %q, want 1", keys)
	}
	_, err = conn.Do("PERSIST", keys[0])
	testkit.NoError(t, err)

	s.Advance(apitest.AbsoluteTimeout / steps)
	c.Do("GET", "/auth/session", nil).WantCode(401, "not_authenticated")
}

// Of concurrent requests after the touch interval, exactly one updates the record, and none
// sets a cookie.
func TestTouch(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	c := s.SignIn()
	first := c.Do("GET", "/auth/session", nil).Want(200)
	conn := s.Redis.Conn(t)
	record := func() string {
		v, err := redis.String(conn.Do("GET", s.RecordKey(first.Text("sessionId"))))
		testkit.NoError(t, err)

		return v
	}

	before := record()
	s.Advance(30 * time.Second)
	c.Do("GET", "/auth/session", nil).Want(200)
	if got := record(); got != before {
		t.Errorf("record within the touch interval: got %q, want %q", got, before)
	}

	s.Advance(31 * time.Second)
	var mu sync.Mutex
	seen := map[string]int{}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			a := c.Clone().Do("GET", "/auth/session", nil)
			if a.Status != 200 || a.Cookie != nil {
				t.Errorf("got %d with cookie %v, want 200 without a cookie", a.Status, a.Cookie)
			}

			mu.Lock()
			defer mu.Unlock()
			seen[a.Text("lastSeenAt")]++
		})
	}

	wg.Wait()

	if record() == before {
		t.Error("record after the touch interval: got it unchanged, want it updated")
	}

	// The other requests show lastSeenAt as it was before or after the update.
	delete(seen, first.Text("lastSeenAt"))
	if len(seen) > 1 {
		t.Errorf("updated lastSeenAt: got %v, want one", seen)
	}
}

// Reading a session takes one Redis command.
func TestOneCommandPerRead(t *testing.T) {
	t.Parallel()

	server := storetest.StartRedis(t)
	s := apitest.New(t, apitest.Options{Redis: &server.Redis})
	c := s.SignIn()
	c.Do("GET", "/auth/session", nil).Want(200)
	conn := server.Conn(t)
	commands := func() int {
		info, err := redis.String(conn.Do("INFO", "stats"))
		testkit.NoError(t, err)

		for line := range strings.SplitSeq(info, "\r\n") {
			if n, ok := strings.CutPrefix(line, "total_commands_processed:"); ok {
				v, err := redis.Int([]byte(n), nil)
				testkit.NoError(t, err)

				return v
			}
		}

		t.Fatal("INFO has no total_commands_processed")

		return 0
	}

	const reads = 200
	before := commands() + 1 // INFO itself counts as a command
	for range reads {
		c.Do("GET", "/auth/session", nil).Want(200)
	}
	if used := commands() - before; used != reads {
		t.Errorf("commands for %d reads: got %d, want %d", reads, used, reads)
	}

	before = commands() + 1
	for _, token := range []string{"", "short", strings.Repeat("=", 43), strings.Repeat("A", 42) + "B", strings.Repeat("A", 44), "../sess:x", "user:42"} {
		s.WithToken(token).Do("GET", "/auth/session", nil).Want(401)
	}

	if used := commands() - before; used != 0 {
		t.Errorf("commands for malformed tokens: got %d, want 0", used)
	}
}

// A request with two session cookies is not authenticated, whatever their order.
func TestDuplicateCookie(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	ann, eve := s.SignIn(), s.SignIn()
	for _, tokens := range [][2]string{{ann.Token, eve.Token}, {eve.Token, ann.Token}, {ann.Token, ""}, {ann.Token, ann.Token}} {
		header := map[string][]string{"Cookie": {"sid=" + tokens[0] + "; sid=" + tokens[1]}}
		a := s.NewClient().Send("GET", "/auth/session", header, nil).WantCode(401, "not_authenticated")
		if a.Cookie != nil {
			// Clearing would remove the user's own cookie and keep an attacker's.
			t.Errorf("cookies %v: Set-Cookie: got %s, want none", tokens, a.Cookie)
		}
	}

	ann.Do("GET", "/auth/session", nil).Want(200)
	if !strings.Contains(s.Log.String(), "request has several session cookies") {
		t.Error("the log does not report the duplicate cookie")
	}
}

// A stored value that is not a session record is rejected, and is left in place.
func TestCorruptRecord(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	s.Advance(time.Until(time.Now().Truncate(time.Minute).Add(time.Minute))) // the test fits into this minute
	conn := s.Redis.Conn(t)
	for _, value := range []string{
		"", "x", "{}", "null", "[]", `{"v":1}`, `{"v":2,"userId":"u","expiresAt":"2999-01-01T00:00:00Z","idleExpiresAt":"2999-01-01T00:00:00Z"}`,
		`{"cookie":{"originalMaxAge":86400000},"userId":"65f0","email":"john@example.com"}`, "\x0e\xff\x81\x03\x01gob",
		"1", "2", "0\n", "1\n", "1\nu\njohn@example.com\n0 0 0\n",
	} {
		c := s.SignIn()
		key := s.RecordKey(c.SessionID())
		_, err := conn.Do("SET", key, value)
		testkit.NoError(t, err)

		for _, route := range []string{"GET /auth/session", "GET /auth/me", "GET /auth/sessions", "POST /auth/rotate-session", "DELETE /auth/sessions", "DELETE /profile", "POST /auth/logout"} {
			method, path, _ := strings.Cut(route, " ")
			if a := c.Do(method, path, nil).WantCode(401, "not_authenticated"); a.Cookie != nil || a.JSON["reason"] != nil {
				t.Errorf("%q: %s: got cookie %v and %s, want no cookie and no reason", value, route, a.Cookie, a.Raw)
			}
		}

		if left, err := redis.String(conn.Do("GET", key)); err != nil || left != value {
			t.Errorf("record: got %q (error %v), want %q", left, err, value)
		}
	}

	if n := strings.Count(s.Log.String(), "session record rejected"); n != 1 {
		t.Errorf("log messages within a minute: got %d, want 1", n)
	}

	c := s.SignIn()
	key := s.RecordKey(c.SessionID())
	for _, command := range [][]any{{"DEL", key}, {"HSET", key, "a", "1"}} {
		if _, err := conn.Do(command[0].(string), command[1:]...); err != nil {
			t.Fatal(err)
		}
	}

	if a := c.Do("GET", "/auth/session", nil).WantCode(401, "not_authenticated"); a.Cookie != nil {
		t.Errorf("record of another type: cookie: got %v, want none", a.Cookie)
	}
}

// Changing the secret ends no session: both secrets are accepted, and the next write
// re-keys the session with the new one.
func TestSecretChange(t *testing.T) {
	t.Parallel()

	const before, after = apitest.SessionSecret, "the next secret of the tests, 32 b"
	old := apitest.New(t, apitest.Options{Secrets: []string{before}})
	c := old.SignIn()
	id := c.SessionID()

	both := apitest.New(t, apitest.Options{StoresOf: old, Secrets: []string{after, before}})
	c.Server = both
	if got := c.SessionID(); got != id {
		t.Errorf("session ID: got %s, want %s", got, id)
	}

	both.Advance(2 * time.Minute)
	c.SessionID()

	only := apitest.New(t, apitest.Options{StoresOf: old, Secrets: []string{after}})
	c.Server = only
	if got := c.SessionID(); got != id {
		t.Errorf("session ID: got %s, want %s", got, id)
	}

	if listed := c.ListSessions(); len(listed) != 1 || listed[id] == nil {
		t.Errorf("listed sessions: got %v, want only %s", listed, id)
	}

	// A server without the new secret leaves the session and the cookie alone.
	c.Server = old
	if a := c.Do("GET", "/auth/session", nil).WantCode(401, "not_authenticated"); a.Cookie != nil {
		t.Errorf("session cookie: got %v, want none", a.Cookie)
	}

	c.Server = only
	last := c.Clone()
	c.Do("POST", "/auth/logout", nil).Want(200)
	last.Do("GET", "/auth/session", nil).Want(401)
	if live := only.LiveSessions(only.Redis.Conn(t)); live != 0 {
		t.Errorf("sessions: got %d, want 0", live)
	}
}

// Malformed cookies cause no server error, no malformed Redis command, and no new key.
func TestMalformedCookies(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	good := s.SignIn()
	conn := s.Redis.Conn(t)
	keys := func() int {
		n, err := redis.Int(conn.Do("DBSIZE"))
		testkit.NoError(t, err)

		return n
	}

	before := keys()
	garbage := []string{"", " ", "=", "\"\"", "null", "*", "sess:*", "../../x", "%00", "j%3A%7B%7D", "s%3Aabc.def", strings.Repeat("é", 43), strings.Repeat("A", 5000)}

	for i := range good.Token { // one invalid character
		for _, c := range "!*.:/+= é\\\"{}[]()<>@?^`|~'$&#%" {
			garbage = append(garbage, good.Token[:i]+string(c)+good.Token[i+1:])
		}
	}
	for n := range 100 { // every length
		garbage = append(garbage, strings.Repeat("A", n), good.Token[:min(n, 42)], good.Token+strings.Repeat("A", n+1))
	}
	for i := range 400 { // well-formed, but unknown
		garbage = append(garbage, strings.Repeat(string(rune('B'+i%20)), i%43)+good.Token[i%43:])
	}
	t.Logf("%d malformed cookies", len(garbage))
	for _, value := range garbage {
		if value == good.Token {
			continue
		}
		if a := s.NewClient().Send("GET", "/auth/session", map[string][]string{"Cookie": {"sid=" + value}}, nil); a.Status != 401 {
			t.Errorf("cookie %q: got %d, want 401", value, a.Status)
		}
	}
	if after := keys(); after != before {
		t.Errorf("Redis keys: got %d, want %d", after, before)
	}
	good.Do("GET", "/auth/session", nil).Want(200)
}
