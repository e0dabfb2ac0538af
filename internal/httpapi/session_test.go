package httpapi_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/apitest"
	"latchkey/internal/session"
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

// Using a session extends it, and an unused one times out. Its old cookie reports the reason
// every time. The test advances the server's clock only, so the TTL in Redis has no effect.
func TestIdleLifetime(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	used := s.SignIn()
	unused := s.SignIn()
	for range 3 {
		s.Advance(apitest.IdleTimeout - time.Minute)
		used.Do("GET", "/auth/session", nil).Want(200)
	}

	unused.WantReason(session.IdleTimeout)
	unused.WantReason(session.IdleTimeout)
	s.Advance(apitest.IdleTimeout)
	used.WantReason(session.IdleTimeout)
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

	s.Advance(apitest.AbsoluteTimeout / steps)
	c.WantReason(session.AbsoluteTimeout)
}

// Reads in the background do not extend a session, so that an open page does not keep its user signed
// in. Other requests do, and so do changes with the same header.
func TestReadsInTheBackground(t *testing.T) {
	t.Parallel()

	background := http.Header{"X-Session-Touch": {"no"}}
	for name, tc := range map[string]struct {
		method, path string
		header       http.Header
		body         any
		extends      bool
	}{
		"session":               {"GET", "/auth/session", background, nil, false},
		"account":               {"GET", "/auth/me", background, nil, false},
		"proxy":                 {"HEAD", "/auth/verify", background, nil, false},
		"list":                  {"GET", "/auth/sessions", background, nil, false},
		"without the header":    {"GET", "/auth/session", nil, nil, true},
		"another value":         {"GET", "/auth/session", http.Header{"X-Session-Touch": {"yes"}}, nil, true},
		"change":                {"PUT", "/profile", background, map[string]any{"name": "Ann"}, true},
		"change without a body": {"DELETE", "/auth/sessions", background, nil, true},
	} {
		s := apitest.New(t)
		c := s.Register("ann@example.com")
		s.Advance(apitest.IdleTimeout - time.Minute)
		header := http.Header{}
		maps.Copy(header, tc.header)
		var body []byte
		if tc.body != nil {
			header.Set("Content-Type", "application/json")
			body = apitest.Encode(tc.body)
		}
		c.Send(tc.method, tc.path, header, body).Want(http.StatusOK)

		s.Advance(2 * time.Minute)
		want := http.StatusUnauthorized
		if tc.extends {
			want = http.StatusOK
		}
		if got := c.Do("GET", "/auth/session", nil); got.Status != want {
			t.Errorf("%s: got %d after the idle timeout, want %d", name, got.Status, want)
		}
	}
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
	seen := map[string]bool{}
	for _, a := range race(t, c, slices.Repeat([]request{{method: "GET", path: "/auth/session"}}, 16)) {
		if a.Status != 200 || a.Cookie != nil {
			t.Errorf("got %d with cookie %v, want 200 without a cookie", a.Status, a.Cookie)
		}

		seen[a.Text("lastSeenAt")] = true
	}

	if record() == before {
		t.Error("record after the touch interval: unchanged, want it updated")
	}

	// The other requests show lastSeenAt as it was before or after the update.
	delete(seen, first.Text("lastSeenAt"))
	if len(seen) > 1 {
		t.Errorf("updated lastSeenAt: got %v, want one", seen)
	}
}

// A stored value that is not a session record is rejected, and is left in place.
func TestCorruptRecord(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	s.Advance(time.Until(time.Now().Truncate(time.Minute).Add(time.Minute))) // the test fits into this minute
	conn := s.Redis.Conn(t)
	for _, value := range []string{"", "1\n", `{"cookie":{"originalMaxAge":86400000},"userId":"65f0","email":"john@example.com"}`} {
		c := s.SignIn()
		key := s.RecordKey(c.SessionID())
		_, err := conn.Do("SET", key, value)
		testkit.NoError(t, err)

		for _, route := range []string{"GET /auth/session", "GET /auth/sessions", "POST /auth/rotate-session", "DELETE /auth/sessions", "DELETE /profile", "POST /auth/logout"} {
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
}

// Changing the secret ends no session: both secrets are accepted, and the next write
// re-keys the session with the new one.
func TestSecretChange(t *testing.T) {
	t.Parallel()

	const before = apitest.SessionSecret
	const after = "the next secret of the tests, 32 b"
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
