package session

import (
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/redisconn"
)

func TestMain(m *testing.M) { storetest.Main(m) }

// newManager returns a Manager on an empty database, and a connection to look.
func newManager(t testing.TB) (*Manager, redis.Conn) {
	t.Helper()
	r := storetest.NewRedis(t)
	conns := redisconn.New(redisconn.Options{
		Addr: r.Addr, DB: r.DB, Sentinels: r.Sentinels, Master: r.Master, Cluster: r.Cluster,
		Log: slog.New(slog.DiscardHandler),
	})
	t.Cleanup(conns.Close)
	m := New(conns, Options{
		Secrets: [][]byte{[]byte("a secret")}, Idle: time.Hour, Absolute: 4 * time.Hour, TouchInterval: time.Minute,
		Log: slog.New(slog.DiscardHandler),
	})
	return m, r.Conn(t)
}

func epoch(t testing.TB, m *Manager) Epoch {
	t.Helper()
	e, err := m.Epoch(context.Background(), "u")
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func begin(t testing.TB, m *Manager) (*Session, string) {
	t.Helper()
	s, token, err := m.Begin(context.Background(), SignIn{UserID: "u", Email: "ann@example.com", Method: "password", Epoch: epoch(t, m)})
	if err != nil {
		t.Fatal(err)
	}
	return s, token
}

// load returns a context that holds the session of a token.
func load(t *testing.T, m *Manager, token string) context.Context {
	t.Helper()
	ctx, err := m.Load(context.Background(), token)
	if err != nil {
		t.Fatal(err)
	}
	return ctx
}

func TestWellFormed(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 100_000 {
		token := newToken()
		if !WellFormed(token) || seen[token] {
			t.Fatalf("token %q is malformed or was made before", token)
		}
		seen[token] = true
	}
	good := newToken()
	for _, bad := range []string{
		"", "x", good[:42], good + "A", good[:42] + "=", good[:42] + "+", good[:42] + "/", good[:42] + "\n", good[:42] + "\x00",
		strings.Repeat("A", 42) + "B", // the last two bits are no part of the value
		"sess:" + good[:38], strings.Repeat("é", 21) + "x",
	} {
		if WellFormed(bad) {
			t.Errorf("%q passes for a token", bad)
		}
	}
}

// What is begun is what is loaded, and what Redis holds is neither the token nor
// anything that leads to it.
func TestBeginLoad(t *testing.T) {
	t.Parallel()
	m, conn := newManager(t)
	begun, token := begin(t, m)
	ctx := load(t, m, token)
	loaded, ok := m.FromContext(ctx)
	if !ok {
		t.Fatal("nothing in the context")
	}
	if diff := cmp.Diff(begun, loaded, cmpopts.IgnoreUnexported(Session{})); diff != "" {
		t.Error(diff)
	}
	if _, err := redis.String(conn.Do("GET", "sess:"+begun.Handle)); err != nil {
		t.Error(err)
	}
	raw, _ := base64.RawURLEncoding.DecodeString(token)
	names, err := redis.Strings(conn.Do("KEYS", "*"))
	if err != nil || len(names) != 3 {
		t.Fatalf("keys %v, %v", names, err)
	}
	for _, name := range names {
		dump, err := redis.String(conn.Do("GET", name))
		if strings.HasPrefix(name, "idx:") {
			var members []string
			members, err = redis.Strings(conn.Do("ZRANGE", name, 0, -1))
			dump = strings.Join(members, " ")
		}
		if err != nil || strings.Contains(name+dump, token) || strings.Contains(name+dump, string(raw)) {
			t.Errorf("%s: the token is at rest, or %v", name, err)
		}
	}
}

// A new session never overwrites one, and making it twice because an answer was
// lost is making it once.
func TestCommitNeverOverwrites(t *testing.T) {
	t.Parallel()
	m, _ := newManager(t)
	ctx, end := context.Background(), time.Now().Add(time.Hour)
	token := newToken()
	for _, value := range []string{"first", "first"} {
		if err := m.store.Commit(token, []byte(value), end); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.store.CommitCtx(ctx, token, []byte("second"), end); !errors.Is(err, errNotCreated) {
		t.Errorf("a second session of one token: %v", err)
	}
	if found, ok, err := m.store.Find(token); err != nil || !ok || string(found[handleLen:]) != "first" {
		t.Errorf("found %q, %v, %v", found, ok, err)
	}
}

// A save changes what is there and makes nothing that is not.
func TestTouchIsConditional(t *testing.T) {
	t.Parallel()
	m, conn := newManager(t)
	begun, token := begin(t, m)
	ctx := load(t, m, token)
	s, _ := m.FromContext(ctx)
	if err := m.End(ctx, LoggedOut); err != nil {
		t.Fatal(err)
	}
	m.touch(ctx, s, time.Now().Add(time.Hour))
	if n, err := redis.Int(conn.Do("EXISTS", "sess:"+begun.Handle)); err != nil || n != 0 {
		t.Error("a touch brought an ended session back")
	}
	if listed, err := m.store.listed(ctx, "u"); err != nil || len(listed) != 0 {
		t.Errorf("a touch listed an ended session: %v, %v", listed, err)
	}
	if _, err := m.Load(context.Background(), token); !errors.Is(err, ErrNone) {
		t.Errorf("load after the end: %v", err)
	}
}

// Who ends the other sessions while the own one is given another token keeps it, and the
// rotation succeeds.
func TestRotationWhileOthersEnd(t *testing.T) {
	t.Parallel()
	m, _ := newManager(t)
	for range 200 {
		_, token := begin(t, m)
		ctx := load(t, m, token)
		var group sync.WaitGroup
		group.Go(func() {
			if _, err := m.RevokeAll(context.Background(), "u", token, Revoked); err != nil {
				t.Error(err)
			}
		})
		_, next, err := m.Rotate(ctx)
		group.Wait()
		if err != nil {
			t.Fatalf("the rotation: %v", err)
		}
		load(t, m, next)
		if listed, err := m.store.listed(ctx, "u"); err != nil || len(listed) != 1 {
			t.Fatalf("listed: %v, %v", listed, err)
		}
		if n, err := m.RevokeAll(ctx, "u", "", Revoked); n != 1 || err != nil {
			t.Fatalf("ended %d, %v", n, err)
		}
	}
}

// One that was to take the place of another, and never did, ends with the others.
func TestHeirLeftBehind(t *testing.T) {
	t.Parallel()
	m, _ := newManager(t)
	s, token := begin(t, m)
	ctx := load(t, m, token)
	heir := m.store.handle(newToken())
	value, err := s.encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.store.relist(ctx, "u", heir, s.IdleExpiresAt); err != nil {
		t.Fatal(err)
	}
	if err := m.store.create(ctx, heir, value, s.IdleExpiresAt, s.Handle); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{0, 1} {
		if n, err := m.RevokeAll(ctx, "u", token, Revoked); n != want || err != nil {
			t.Errorf("ended %d, %v, want %d", n, err, want)
		}
		if listed, err := m.store.listed(ctx, "u"); err != nil || len(listed) != 2-i {
			t.Errorf("listed: %v, %v", listed, err)
		}
		m.options.Now = func() time.Time { return time.Now().Add(heirTime) }
	}
	load(t, m, token)
}

// A claim whose answer was lost can be made again; another one cannot follow.
func TestClaimTwice(t *testing.T) {
	t.Parallel()
	m, conn := newManager(t)
	begun, _ := begin(t, m)
	ctx := context.Background()
	next, other := m.store.handle(newToken()), m.store.handle(newToken())
	for range 2 {
		if claimed, err := m.store.claim(ctx, begun.Handle, next, replacedTTL); err != nil || !claimed {
			t.Fatalf("claimed %v, %v", claimed, err)
		}
	}
	if claimed, err := m.store.claim(ctx, begun.Handle, other, replacedTTL); err != nil || claimed {
		t.Errorf("claimed an ended session: %v, %v", claimed, err)
	}
	if n, err := redis.Int(conn.Do("EXISTS", "sess:"+begun.Handle)); err != nil || n != 0 {
		t.Errorf("%d keys too many, %v", n, err)
	}
}

// A logout follows a session through several rotations.
func TestEndFollowsRotations(t *testing.T) {
	t.Parallel()
	m, conn := newManager(t)
	_, first := begin(t, m)
	token := first
	for range 5 {
		var err error
		if _, token, err = m.Rotate(load(t, m, token)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := m.Load(context.Background(), first); !errors.Is(err, ErrReplaced) {
		t.Errorf("load of the first token: %v", err)
	}
	if err := logOut(context.Background(), m, first); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Load(context.Background(), token); !errors.Is(err, ErrNone) {
		t.Errorf("load of the last token: %v", err)
	}
	if live, err := redis.Strings(conn.Do("KEYS", "sess:*")); err != nil || len(live) != 0 {
		t.Errorf("alive: %v, %v", live, err)
	}
}

// A client that has gone away leaves nothing half done.
func TestCancelledRequest(t *testing.T) {
	t.Parallel()
	m, conn := newManager(t)
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	_, token, err := m.Begin(gone, SignIn{UserID: "u", Method: "password"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, err := m.Load(gone, token)
	if err != nil {
		t.Fatal(err)
	}
	if _, token, err = m.Rotate(ctx); err != nil {
		t.Fatal(err)
	}
	if err := logOut(gone, m, token); err != nil {
		t.Fatal(err)
	}
	if live, err := redis.Strings(conn.Do("KEYS", "sess:*")); err != nil || len(live) != 0 {
		t.Errorf("alive: %v, %v", live, err)
	}
}

// A session can begin in a context that holds another: both live.
func TestBeginBesideAnother(t *testing.T) {
	t.Parallel()
	m, _ := newManager(t)
	first, token := begin(t, m)
	ctx := load(t, m, token)
	second, _, err := m.Begin(ctx, SignIn{UserID: "v", Method: "password"})
	if err != nil || second.Handle == first.Handle {
		t.Fatalf("%+v, %v", second, err)
	}
	if still, _ := m.FromContext(ctx); still.Handle != first.Handle || still.UserID != "u" {
		t.Errorf("the context holds %+v now", still)
	}
}

// A malformed token never reaches Redis, whatever is asked about it.
func TestMalformedTokens(t *testing.T) {
	t.Parallel()
	nowhere := redisconn.New(redisconn.Options{Addr: "127.0.0.1:1"})
	m := New(nowhere, Options{Secrets: [][]byte{[]byte("x")}, Log: slog.New(slog.DiscardHandler)})
	for _, token := range []string{"", "x", "sess:y"} {
		if _, err := m.Load(context.Background(), token); !errors.Is(err, ErrNone) {
			t.Errorf("load %q: %v", token, err)
		}
		if err := logOut(context.Background(), m, token); err != nil {
			t.Errorf("end %q: %v", token, err)
		}
		if err := m.Supersede(context.Background(), token); err != nil {
			t.Errorf("supersede %q: %v", token, err)
		}
	}
}

// Traces that lead in a circle, which only someone with access to Redis can lay,
// do not keep it busy for ever.
func TestCircle(t *testing.T) {
	t.Parallel()
	m, conn := newManager(t)
	token := newToken()
	handle := m.store.handle(token)
	if _, err := conn.Do("SET", "ended:{sess:"+handle+"}", "replaced "+handle); err != nil {
		t.Fatal(err)
	}
	if err := logOut(context.Background(), m, token); err != nil {
		t.Error(err)
	}
}

// Every key has an end: a session's, and a rotation's trace.
func TestEveryKeyExpires(t *testing.T) {
	t.Parallel()
	m, conn := newManager(t)
	_, token := begin(t, m)
	ctx := load(t, m, token)
	if _, _, err := m.Rotate(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := m.RevokeAll(context.Background(), "u", "", Revoked); err != nil {
		t.Fatal(err)
	}
	begin(t, m)
	names, err := redis.Strings(conn.Do("KEYS", "*"))
	if err != nil || len(names) != 6 { // two traces of the first; session, trace, index and barrier
		t.Fatal(names, err)
	}
	for _, key := range names {
		ttl, err := redis.Int64(conn.Do("PTTL", key))
		if err != nil || ttl <= 0 || time.Duration(ttl)*time.Millisecond > time.Hour+traceTTL {
			t.Errorf("%s lives for %d ms, %v", key, ttl, err)
		}
	}
}

// A login that was under way when all sessions were ended begins none; one that
// started afterwards does.
func TestBarrier(t *testing.T) {
	t.Parallel()
	m, conn := newManager(t)
	ctx := context.Background()
	early := SignIn{UserID: "u", Method: "password", Epoch: epoch(t, m)}
	if n, err := m.RevokeAll(ctx, "u", "", Revoked); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	var ended *EndedError
	if _, _, err := m.Begin(ctx, early); !errors.As(err, &ended) || ended.Reason != Revoked {
		t.Errorf("a login from before: %v", err)
	}
	if live, err := redis.Strings(conn.Do("KEYS", "sess:*")); err != nil || len(live) != 0 {
		t.Errorf("alive: %v, %v", live, err)
	}
	late := early
	late.Epoch = epoch(t, m)
	if _, _, err := m.Begin(ctx, late); err != nil {
		t.Errorf("a login from after: %v", err)
	}
}

// The same for the sessions of all users; and a session that is given a new token
// meanwhile, behind the back of who looks for them, ends with it.
func TestBarrierOfEveryone(t *testing.T) {
	t.Parallel()
	m, conn := newManager(t)
	ctx := context.Background()
	early := SignIn{UserID: "u", Method: "password", Epoch: epoch(t, m)}
	_, token := begin(t, m)
	loaded := load(t, m, token)
	// As RevokeEverything does first; what it would find next it does not find.
	if err := m.store.barEveryone(ctx, time.Hour); err != nil {
		t.Fatal(err)
	}
	var ended *EndedError
	if _, _, err := m.Begin(ctx, early); !errors.As(err, &ended) || ended.Reason != Revoked {
		t.Errorf("a login from before: %v", err)
	}
	if _, _, err := m.Rotate(loaded); !errors.As(err, &ended) || ended.Reason != Revoked {
		t.Errorf("a rotation: %v", err)
	}
	if n, err := m.RevokeEverything(ctx, func(int) {}); n != 0 || err != nil {
		t.Errorf("ended %d, %v", n, err)
	}
	if live, err := redis.Strings(conn.Do("KEYS", "sess*")); err != nil || len(live) != 0 {
		t.Errorf("alive: %v, %v", live, err)
	}
	late := early
	late.Epoch = epoch(t, m)
	if _, token, err := m.Begin(ctx, late); err != nil {
		t.Errorf("a login from after: %v", err)
	} else if _, _, err := m.Rotate(load(t, m, token)); err != nil {
		t.Errorf("its rotation: %v", err)
	}
}

// A session that was ended between its listing and its making is not made, and its
// holder is told why.
func TestEndedBeforeItBegan(t *testing.T) {
	t.Parallel()
	m, _ := newManager(t)
	ctx := context.Background()
	token := newToken()
	if ended, err := m.store.end(ctx, m.store.handle(token), TooManySessions, true); ended != nil || err != nil {
		t.Fatal(ended, err)
	}
	if err := m.store.create(ctx, m.store.handle(token), []byte("{}"), time.Now().Add(time.Hour), ""); !errors.Is(err, errNotCreated) {
		t.Errorf("create: %v", err)
	}
	var told *EndedError
	if _, err := m.Load(ctx, token); !errors.As(err, &told) || told.Reason != TooManySessions {
		t.Errorf("load: %v", err)
	}
}

// An hour between the clock of the server and that of Redis changes no lifetime.
func TestClockSkew(t *testing.T) {
	t.Parallel()
	for _, skew := range []time.Duration{time.Hour, -time.Hour} {
		m, conn := newManager(t)
		m.options.Now = func() time.Time { return time.Now().Add(skew) }
		m.store.now = m.options.Now
		begun, token := begin(t, m)
		for name, want := range map[string]time.Duration{"sess:" + begun.Handle: time.Hour, "ended:{sess:" + begun.Handle + "}": time.Hour + traceTTL, "idx:{u}": time.Hour} {
			ttl, err := redis.Int64(conn.Do("PTTL", name))
			if off := want - time.Duration(ttl)*time.Millisecond; err != nil || off < 0 || off > 30*time.Second {
				t.Errorf("clock off by %v: %s lives for %d ms, want %v, %v", skew, name, ttl, want, err)
			}
		}
		if _, err := m.Load(context.Background(), token); err != nil {
			t.Errorf("clock off by %v: %v", skew, err)
		}
		if live, err := m.List(context.Background(), "u"); err != nil || len(live) != 1 {
			t.Errorf("clock off by %v: %d listed, %v", skew, len(live), err)
		}
	}
}

// Of too many sessions the one goes that would end first, which near its absolute end is
// not the one least lately used: however often that one is used.
func TestTooManyNearTheEnd(t *testing.T) {
	t.Parallel()
	for uses := range 3 {
		m, _ := newManager(t)
		var passed time.Duration
		m.options.Now = func() time.Time { return time.Now().Add(passed) }
		m.store.now = m.options.Now
		m.options.Idle, m.options.MaxPerUser = 3*time.Hour, 2
		m.options.TouchInterval = time.Nanosecond
		_, first := begin(t, m)
		passed = 2 * time.Hour
		_, second := begin(t, m)
		for range uses {
			load(t, m, first)
		}
		begin(t, m)
		if _, err := m.Load(context.Background(), first); err == nil {
			t.Errorf("used %d times: the one that would end first lives", uses)
		}
		load(t, m, second)
	}
}

// A move to another secret that stopped half way is no second life: ended under one
// handle, the session is ended under both, and one that was not ended lives on.
func TestMoveHalfWay(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, tc := range []struct {
		name    string
		claimed bool // it stopped after the old handle was claimed
		end     func(m *Manager, before, after, token string) error
		want    Reason // "" is alive
	}{
		{name: "made"},
		{name: "claimed", claimed: true},
		{name: "made, ended under the old handle", want: PasswordChanged, end: func(m *Manager, before, _, _ string) error {
			return m.Revoke(ctx, "u", before, PasswordChanged)
		}},
		{name: "made, ended under the new handle", want: PasswordChanged, end: func(m *Manager, _, after, _ string) error {
			return m.Revoke(ctx, "u", after, PasswordChanged)
		}},
		{name: "claimed, ended under the old handle", claimed: true, want: PasswordChanged, end: func(m *Manager, before, _, _ string) error {
			return m.Revoke(ctx, "u", before, PasswordChanged)
		}},
		{name: "made, ended by token", want: LoggedOut, end: func(m *Manager, _, _, token string) error {
			return logOut(ctx, m, token)
		}},
		{name: "made, all ended", want: Revoked, end: func(m *Manager, _, _, _ string) error {
			_, err := m.RevokeAll(ctx, "u", "", Revoked)
			return err
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			m, conn := newManager(t)
			s, token := begin(t, m)
			m.store.secrets = [][]byte{[]byte("another secret"), m.store.secrets[0]}
			half := *s
			half.Handle, half.movedFrom = m.store.handle(token), s.Handle
			value, err := half.encode()
			if err != nil {
				t.Fatal(err)
			}
			if err := m.store.relist(ctx, "u", half.Handle, half.IdleExpiresAt); err != nil {
				t.Fatal(err)
			}
			if err := m.store.create(ctx, half.Handle, value, half.IdleExpiresAt, s.Handle); err != nil {
				t.Fatal(err)
			}
			if tc.claimed {
				if ok, err := m.store.claim(ctx, s.Handle, half.Handle, time.Hour); !ok || err != nil {
					t.Fatal(ok, err)
				}
			}
			want := 1
			if tc.end != nil {
				want = 0
				if err := tc.end(m, s.Handle, half.Handle, token); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 {
				_, err := m.Load(ctx, token)
				var ended *EndedError
				if tc.want == "" && err != nil || tc.want != "" && (!errors.As(err, &ended) || ended.Reason != tc.want) {
					t.Errorf("got %v, want %q", err, tc.want)
				}
			}
			live, err := redis.Strings(conn.Do("KEYS", "sess:*"))
			if err != nil || len(live) != want || want == 1 && live[0] != "sess:"+half.Handle {
				t.Errorf("alive: %v, %v", live, err)
			}
			if listed, err := m.List(ctx, "u"); err != nil || len(listed) != want {
				t.Errorf("listed: %v, %v", listed, err)
			}
		})
	}
}

// Sixteen requests at once move a session once, and none of them fails.
func TestMoveAtOnce(t *testing.T) {
	t.Parallel()
	m, conn := newManager(t)
	m.options.TouchInterval = time.Nanosecond
	for range 20 {
		_, token := begin(t, m)
		m.store.secrets = [][]byte{[]byte(token), m.store.secrets[0]}
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				if _, err := m.Load(context.Background(), token); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		live, err := redis.Strings(conn.Do("KEYS", "sess:*"))
		if err != nil || len(live) != 1 || live[0] != "sess:"+m.store.handle(token) {
			t.Errorf("alive: %v, %v", live, err)
		}
		if err := logOut(context.Background(), m, token); err != nil {
			t.Fatal(err)
		}
	}
}

// The user that configs/redis.conf has an example of may do what is needed.
func TestLeastPrivilege(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	file, err := os.ReadFile("../../configs/redis.conf")
	must(t, err)
	_, rules, found := strings.Cut(string(file), "# user ")
	if !found {
		t.Fatal("configs/redis.conf has no example of a user")
	}
	args := []any{"SETUSER"}
	for _, rule := range strings.Fields(rules) {
		args = append(args, rule)
	}
	_, err = server.Conn(t).Do("ACL", args...)
	must(t, err)
	conns := redisconn.New(redisconn.Options{Addr: server.Addr, DB: 1, Username: "latchkey", Password: "a-long-random-password"})
	t.Cleanup(conns.Close)
	m := New(conns, Options{
		Secrets: [][]byte{[]byte("a secret")}, Idle: time.Hour, Absolute: 4 * time.Hour, TouchInterval: time.Nanosecond, MaxPerUser: 2,
		Log: slog.New(slog.DiscardHandler),
	})
	ctx := context.Background()
	must(t, m.Ping(ctx))
	var token string
	for range 3 {
		_, token = begin(t, m)
	}
	_, token, err = m.Rotate(load(t, m, token))
	must(t, err)
	m.store.secrets = [][]byte{[]byte("another"), m.store.secrets[0]}
	s, _ := m.FromContext(load(t, m, token))
	must(t, logOut(ctx, m, newToken()))
	if live, err := m.List(ctx, "u"); err != nil || len(live) != 2 {
		t.Errorf("%d listed, %v", len(live), err)
	}
	if stats, err := m.Stats(ctx); err != nil || stats.Sessions != 2 {
		t.Errorf("%+v, %v", stats, err)
	}
	must(t, m.Revoke(ctx, "u", s.Handle, Revoked))
	if n, err := m.RevokeAll(ctx, "u", "", Revoked); n != 1 || err != nil {
		t.Errorf("ended %d, %v", n, err)
	}
	_, err = m.RevokeEverything(ctx, func(int) {})
	must(t, err)
	for _, forbidden := range [][]any{{"KEYS", "*"}, {"GET", "x"}, {"CONFIG", "GET", "*"}} {
		if _, err := conns.Do(ctx, forbidden[0].(string), forbidden[1].(string), forbidden[2:]...); err == nil {
			t.Errorf("%v is permitted", forbidden)
		}
	}
}

// logOut ends the session of a token.
func logOut(ctx context.Context, m *Manager, token string) error {
	_, err := m.EndToken(ctx, token, LoggedOut)
	return err
}
