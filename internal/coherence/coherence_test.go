package coherence

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/devstore"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/redisconn"
	"latchkey/internal/testkit"
)

func TestMain(m *testing.M) { storetest.Main(m) }

const testKey = "sess:k"

// testServer is a server with a Cache.
type testServer struct {
	*Cache
	t      testing.TB
	client *redisconn.Client
	log    *testkit.Buffer
	reads  atomic.Int64
}

// newTestServer starts a server. If proxy is not nil, its stream goes through it.
func newTestServer(t testing.TB, r *storetest.RedisServer, proxy *storetest.Proxy) *testServer {
	t.Helper()

	s := &testServer{t: t, log: &testkit.Buffer{}}
	log := slog.New(slog.NewTextHandler(s.log, nil))
	s.client = redisconn.New(redisconn.Options{Addr: r.Addr, Timeout: 10 * time.Second, Log: log})
	t.Cleanup(s.client.Close)

	s.Cache = newCache(s.client, Options{Prefixes: []string{"sess:"}, MaxBytes: 1 << 20, Log: log})
	if proxy != nil {
		s.dial = func(ctx context.Context, _ string) (redis.Conn, error) { return s.client.Dial(ctx, proxy.Addr) }
	}
	s.start()
	t.Cleanup(s.Close)
	s.awaitLease()

	return s
}

// newProxiedServer starts a Redis and a server whose stream goes through a proxy, and which has the
// value "old" of testKey in memory.
func newProxiedServer(t testing.TB) (*storetest.RedisServer, *storetest.Proxy, *testServer) {
	t.Helper()

	r := storetest.StartRedis(t)
	proxy := storetest.NewProxy(t, r.Addr)
	s := newTestServer(t, r, proxy)
	set(t, r, testKey, "old")
	s.awaitInMemory("old")

	return r, proxy, s
}

// awaitLease waits until values are stored.
func (s *testServer) awaitLease() {
	s.t.Helper()

	testkit.Eventually(s.t, "a lease", func() bool { return s.coordinator().isRegistered(time.Now()) })
}

// get returns the value of a key from memory or from Redis.
func (s *testServer) get(key string) string {
	s.t.Helper()

	data, err := s.Load(context.Background(), key, func(ctx context.Context) (Value, error) { return s.read(ctx, key) })
	if errors.Is(err, redisconn.ErrNil) {
		return ""
	}
	testkit.NoError(s.t, err)

	return data.(string)
}

func (s *testServer) read(ctx context.Context, key string) (Value, error) {
	s.reads.Add(1)
	value, server, err := s.client.Get(ctx, key)

	return Value{Data: value, Size: len(value), Server: server}, err
}

// set changes the value of a key in Redis, without a call to Invalidate.
func set(t testing.TB, r *storetest.RedisServer, key, value string) {
	t.Helper()

	_, err := r.Conn(t).Do("SET", key, value)
	testkit.NoError(t, err)
}

// awaitInMemory waits until the value of testKey is in memory.
func (s *testServer) awaitInMemory(want string) {
	s.t.Helper()

	testkit.Eventually(s.t, "the value in memory", func() bool {
		before := s.reads.Load()

		return s.get(testKey) == want && s.reads.Load() == before
	})
}

// Values are read once, until Redis reports a change, however it was made.
func TestReportedChanges(t *testing.T) {
	t.Parallel()

	r := storetest.StartRedis(t)
	s := newTestServer(t, r, nil)
	conn := r.Conn(t)
	for name, command := range map[string][]any{
		"SET":      {"SET", testKey, "new"},
		"DEL":      {"DEL", testKey},
		"PEXPIRE":  {"PEXPIRE", testKey, 1},
		"EVAL":     {"EVAL", "redis.call('SET', KEYS[1], 'new')", 1, testKey},
		"FLUSHALL": {"FLUSHALL"},
	} {
		set(t, r, testKey, "old")
		s.awaitInMemory("old")

		_, err := conn.Do(command[0].(string), command[1:]...)
		testkit.NoError(t, err)
		testkit.Eventually(t, name+" to be noticed", func() bool {
			// Redis reports an expired key when it deletes it, which a read causes. By itself it may take
			// long, because it looks at a few databases at a time, and tests have thousands.
			_, err := conn.Do("EXISTS", testKey)
			testkit.NoError(t, err)

			return s.get(testKey) != "old"
		})
	}

	set(t, r, "other:k", "old")
	for range 2 {
		s.get("other:k")
	}
	if s.lookup("other:k") != nil {
		t.Error("a value whose changes are not reported was stored")
	}
}

// A value that is replaced while its reply is on the way is not stored.
func TestOvertakenReply(t *testing.T) {
	t.Parallel()

	r := storetest.StartRedis(t)
	s := newTestServer(t, r, nil)
	set(t, r, testKey, "old")

	data, err := s.Load(t.Context(), testKey, func(ctx context.Context) (Value, error) {
		v, err := s.read(ctx, testKey)
		reports := s.Stats().Reports
		set(t, r, testKey, "new")
		testkit.Eventually(t, "the report", func() bool { return s.Stats().Reports > reports })

		return v, err
	})
	testkit.NoError(t, err)
	if data != "old" {
		t.Errorf("value: got %v, want the one that was read", data)
	}
	if got := s.get(testKey); got != "new" {
		t.Errorf("next value: got %q, want the new one", got)
	}
}

// A value is stored or refreshed even if another reader has started in the meantime and still reads.
// Otherwise, steady requests for a key could keep its value out of memory.
func TestSeveralReaders(t *testing.T) {
	t.Parallel()

	s := newTestServer(t, storetest.StartRedis(t), nil)
	const key = "user:k"
	type read func(context.Context) (Value, error)
	load := func(ctx context.Context, r read) error {
		_, err := s.Load(ctx, key, r)
		return err
	}
	refresh := func(ctx context.Context, r read) error {
		_, err := s.Refresh(ctx, key, "first", r)
		return err
	}

	for _, tc := range []struct {
		use  func(context.Context, read) error
		old  any // what is in memory until then
		data string
	}{
		{load, nil, "first"},
		{refresh, "first", "second"},
	} {
		reading := make(chan struct{})
		release := make(chan struct{})
		done := make(chan error, 1)
		other := func(ctx context.Context) (Value, error) {
			close(reading)
			<-release

			return Value{Data: "late"}, ctx.Err()
		}

		testkit.NoError(t, tc.use(t.Context(), func(ctx context.Context) (Value, error) {
			go func() { done <- tc.use(ctx, other) }()
			<-reading
			if got := s.lookup(key); got != tc.old {
				t.Errorf("while %s is read: got %v, want %v", tc.data, got, tc.old)
			}

			return Value{Data: tc.data}, nil
		}))
		if got := s.lookup(key); got != tc.data {
			t.Fatalf("while another reader reads: got %v, want %s", got, tc.data)
		}

		close(release)
		testkit.NoError(t, testkit.Receive(t, "the other reader", done))
		if got := s.lookup(key); got != tc.data {
			t.Errorf("in the end: got %v, want %s, which was read first", got, tc.data)
		}
	}
}

// If a value changes while it is refreshed, neither the old nor the new one stays in memory.
func TestOvertakenRefresh(t *testing.T) {
	t.Parallel()

	s := newTestServer(t, storetest.StartRedis(t), nil)
	const key = "user:k"
	_, err := s.Load(t.Context(), key, func(context.Context) (Value, error) { return Value{Data: "old"}, nil })
	testkit.NoError(t, err)

	_, err = s.Refresh(t.Context(), key, "old", func(ctx context.Context) (Value, error) {
		_, err := s.Invalidate(ctx, key)

		return Value{Data: "read before"}, err
	})
	testkit.NoError(t, err)
	if got := s.lookup(key); got != nil {
		t.Errorf("got %v, want nothing", got)
	}
}

// A value is stored only if it is from the server that reports its changes.
func TestValueFromAnotherServer(t *testing.T) {
	t.Parallel()

	s := newTestServer(t, storetest.StartRedis(t), nil)
	load := func(key, server string) {
		_, err := s.Load(t.Context(), key, func(context.Context) (Value, error) { return Value{Data: "x", Server: server}, nil })
		testkit.NoError(t, err)
	}

	load("sess:a", "127.0.0.1:1")
	load("user:a", "")
	if s.lookup("sess:a") != nil || s.lookup("user:a") == nil {
		t.Errorf("stored values: got %v and %v, want only the second", s.lookup("sess:a"), s.lookup("user:a"))
	}
}

// Once Invalidate has returned, no server returns the old value. Readers on all servers keep the
// values in memory meanwhile.
func TestInvalidate(t *testing.T) {
	t.Parallel()

	const rounds = 300
	r := storetest.StartRedis(t)
	servers := []*testServer{newTestServer(t, r, nil), newTestServer(t, r, nil), newTestServer(t, r, nil)}

	var current, stale atomic.Int64
	var readers sync.WaitGroup
	set(t, r, testKey, "0")
	done := make(chan struct{})
	for i := range 6 {
		s := servers[i%len(servers)]
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}

				least := current.Load()
				var got int64
				_, err := fmt.Sscan(s.get(testKey), &got)
				if err != nil || got < least {
					stale.Add(1)
				}
			}
		})
	}

	conn := r.Conn(t)
	for i := range int64(rounds) {
		_, err := conn.Do("SET", testKey, i)
		testkit.NoError(t, err)
		_, err = servers[i%3].Invalidate(t.Context(), testKey)
		testkit.NoError(t, err)
		current.Store(i)
	}
	close(done)
	readers.Wait()

	if n := stale.Load(); n != 0 {
		t.Errorf("got %d old values in %d rounds, want 0", n, rounds)
	}
	var hits uint64
	for _, s := range servers {
		hits += s.Stats().Hits
	}
	if hits == 0 {
		t.Error("got no value from memory, want some")
	}
}

// The server that makes a change does not return the old value either, although its own stream is
// slow.
func TestInvalidateWithSlowStream(t *testing.T) {
	t.Parallel()

	r, proxy, s := newProxiedServer(t)
	testkit.Eventually(t, "the server to know the members", s.knowsMembers) // until then, it waits for a lease
	s.awaitInMemory("old")

	proxy.Set(storetest.Faults{Reply: storetest.Late(lease / 5)})
	set(t, r, testKey, "new")
	_, err := s.Invalidate(t.Context(), testKey)
	testkit.NoError(t, err)
	if got := s.get(testKey); got != "new" {
		t.Errorf("after Invalidate: got %q, want the new value", got)
	}
}

// Without a registration at the coordinator, nothing is returned from memory.
func TestUnregistered(t *testing.T) {
	t.Parallel()

	const server = "127.0.0.1:1"
	client := redisconn.New(redisconn.Options{Addr: server, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(client.Close)
	c := newCache(client, Options{Prefixes: []string{"sess:"}, MaxBytes: 1 << 20})
	f := newFollower(c, server, func() {})
	f.current.Store(&stream{server: server})
	c.followers.Store(&map[string]*follower{server: f})
	load := func() {
		_, err := c.Load(t.Context(), testKey, func(context.Context) (Value, error) { return Value{Data: "x", Server: server}, nil })
		testkit.NoError(t, err)
	}

	f.current.Load().confirm(beat{sent: time.Now().Add(time.Hour)}) // lasts for the whole test
	load()
	if got := c.lookup(testKey); got != nil {
		t.Errorf("without a registration: got %v, want nothing", got)
	}

	f.current.Load().confirm(beat{sent: time.Now().Add(time.Hour), registers: true})
	if got := c.lookup(testKey); got != "x" {
		t.Errorf("with a registration: got %v, want the value", got)
	}
}

// Keys that are not in Redis are invalidated on all servers, too.
func TestInvalidateAccounts(t *testing.T) {
	t.Parallel()

	r := storetest.StartRedis(t)
	servers := []*testServer{newTestServer(t, r, nil), newTestServer(t, r, nil)}
	account := "old"
	load := func(s *testServer) any {
		data, err := s.Load(t.Context(), "user:ann", func(context.Context) (Value, error) { return Value{Data: account}, nil })
		testkit.NoError(t, err)

		return data
	}

	for _, s := range servers {
		testkit.Eventually(t, "the value in memory", func() bool { load(s); return s.lookup("user:ann") != nil })
	}
	account = "new"
	if _, err := servers[0].Invalidate(t.Context(), "user:ann", "user:bob"); err != nil {
		t.Fatal(err)
	}
	for i, s := range servers {
		if got := load(s); got != "new" {
			t.Errorf("server %d: got %v, want the new value", i, got)
		}
	}
}

// A server whose stream no longer delivers anything stops using its values. A change waits until it
// has, and the next one does not wait for it.
func TestSilentStream(t *testing.T) {
	t.Parallel()

	for name, fault := range map[string]func(r *storetest.RedisServer, p *storetest.Proxy){
		"swallowed": func(_ *storetest.RedisServer, p *storetest.Proxy) { p.Set(storetest.Faults{Reply: storetest.Swallow}) },
		// Redis does not count the server among the subscribers any more.
		"lost on Redis's side only": func(r *storetest.RedisServer, p *storetest.Proxy) {
			p.Set(storetest.Faults{Reply: storetest.Swallow})
			_, err := r.Conn(t).Do("CLIENT", "KILL", "TYPE", "pubsub")
			testkit.NoError(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			r, proxy, silent := newProxiedServer(t)
			writer := newTestServer(t, r, nil)

			fault(r, proxy)
			writer.awaitLease()
			set(t, r, testKey, "new")
			_, err := writer.Invalidate(t.Context(), testKey)
			testkit.NoError(t, err)
			if got := silent.get(testKey); got != "new" {
				t.Errorf("after Invalidate: got %q, want the new value", got)
			}

			proxy.Set(storetest.Faults{})
			silent.awaitLease()
			silent.awaitInMemory("new")
		})
	}
}

// A server that has died without a word delays one change by at most a lease, and no further ones.
func TestDeadServer(t *testing.T) {
	t.Parallel()

	r := storetest.StartRedis(t)
	writer := newTestServer(t, r, nil)
	_, err := r.Conn(t).Do("HSET", membersKey, "dead", 7)
	testkit.NoError(t, err)

	for i, want := range []int{1, 0} {
		got, err := writer.Invalidate(t.Context(), testKey)
		testkit.NoError(t, err)
		if got != want {
			t.Errorf("change %d: got %d servers without acknowledgement, want %d", i, got, want)
		}
	}
	if !strings.Contains(writer.log.String(), "server did not acknowledge a change") {
		t.Errorf("log: got %s, want a warning", writer.log)
	}

	other := newTestServer(t, r, nil)
	other.Close()
	if got, err := writer.Invalidate(t.Context(), testKey); got != 0 || err != nil {
		t.Errorf("after a server was closed: got %d servers without acknowledgement, error %v, want none", got, err)
	}
}

// If the registrations are lost, for example in a failover, changes wait for servers that are not
// registered again.
func TestLostRegistrations(t *testing.T) {
	t.Parallel()

	r, proxy, silent := newProxiedServer(t)
	writer := newTestServer(t, r, nil)
	testkit.Eventually(t, "the writer to know the members", writer.knowsMembers)
	silent.awaitInMemory("old")

	proxy.Set(storetest.Faults{Reply: storetest.Swallow})
	_, err := r.Conn(t).Do("DEL", membersKey)
	testkit.NoError(t, err)
	testkit.Eventually(t, "the writer to register again", func() bool { return !writer.knowsMembers() })
	_, err = r.Conn(t).Do("HDEL", membersKey, silent.id)
	testkit.NoError(t, err)

	set(t, r, testKey, "new")
	_, err = writer.Invalidate(t.Context(), testKey)
	testkit.NoError(t, err)
	if got := silent.get(testKey); got != "new" {
		t.Errorf("after Invalidate: got %q, want the new value", got)
	}
}

// If Redis refuses streams, no value is kept in memory, and the reason is logged once.
func TestRefused(t *testing.T) {
	t.Parallel()

	for name, tc := range map[string]struct {
		permissions string // of the user; empty for a Redis that does not know CLIENT TRACKING
		text        string // in the log
	}{
		"tracking":        {"~* &* +@all -client|tracking", "CLIENT TRACKING: NOPERM"},
		"subscriptions":   {"~* &* +@all -subscribe", "SUBSCRIBE: NOPERM"},
		"channels":        {"~* resetchannels +@all", "SUBSCRIBE: NOPERM"},
		"publishing":      {"~* &* +@all -publish", "register a server in the key members"},
		"the key":         {"~sess:* &* +@all", "register a server in the key members"},
		"reading the key": {"~* &* +@all -hgetall", "register a server in the key members"},
		"unknown command": {"", "CLIENT ID: ERR unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			o := redisconn.Options{Timeout: 10 * time.Second, Log: slog.New(slog.DiscardHandler)}
			if tc.permissions == "" {
				addr, stop, err := devstore.StartRedis()
				testkit.NoError(t, err)
				t.Cleanup(stop)
				o.Addr = addr
			} else {
				r := storetest.StartRedis(t)
				_, err := r.Conn(t).Do("ACL", redis.Args{"SETUSER", "u", "on", "nopass"}.AddFlat(strings.Fields(tc.permissions))...)
				testkit.NoError(t, err)
				o.Addr = r.Addr
				o.Username = "u"
				o.Password = "any"
			}

			client := redisconn.New(o)
			t.Cleanup(client.Close)
			log := &testkit.Buffer{}
			c := newCache(client, Options{Prefixes: []string{"sess:"}, MaxBytes: 1 << 20, Log: slog.New(slog.NewTextHandler(log, nil))})
			var attempts atomic.Int64
			c.dial = func(ctx context.Context, server string) (redis.Conn, error) {
				attempts.Add(1)

				return client.Dial(ctx, server)
			}
			c.start()
			t.Cleanup(c.Close)

			testkit.Eventually(t, "more attempts", func() bool { return attempts.Load() > 5 })
			_, err := c.Load(t.Context(), testKey, func(context.Context) (Value, error) { return Value{Data: "v", Server: o.Addr}, nil })
			testkit.NoError(t, err)
			if got := c.lookup(testKey); got != nil {
				t.Errorf("got %v from memory, want nothing", got)
			}
			if got := log.String(); strings.Count(got, "level=WARN") != 1 || !strings.Contains(got, tc.text) {
				t.Errorf("log: got %s, want one warning with %q", got, tc.text)
			}
			if got := c.Stats().LostStreams; got != 0 {
				t.Errorf("lost streams: got %d, want none, because there was none", got)
			}

			results, err := Check(t.Context(), client, c.prefixes)
			if err != nil || len(results) != 1 || results[0].Err == nil || !strings.Contains(results[0].Err.Error(), tc.text) {
				t.Errorf("Check: got %v, error %v, want %q", results, err, tc.text)
			}
		})
	}
}

// Check finds nothing on a Redis that allows everything, and leaves nothing behind.
func TestCheck(t *testing.T) {
	t.Parallel()

	r := storetest.StartRedis(t)
	client := redisconn.New(redisconn.Options{Addr: r.Addr, Timeout: 10 * time.Second, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(client.Close)

	results, err := Check(t.Context(), client, []string{"sess:"})
	if err != nil || len(results) != 1 || results[0] != (Result{Server: r.Addr}) {
		t.Errorf("got %v, error %v, want no problem of %s", results, err, r.Addr)
	}
	if n, err := redis.Int(r.Conn(t).Do("EXISTS", membersKey)); n != 0 || err != nil {
		t.Errorf("got %d keys, error %v, want none", n, err)
	}
}

// A server does not take the registrations for complete if its own was lost, even before it knows that: it
// has registered again, but the reply is still on the way.
func TestLostRegistrationsWithSlowReply(t *testing.T) {
	t.Parallel()

	r := storetest.StartRedis(t)
	proxy := storetest.NewProxy(t, r.Addr)
	s := newTestServer(t, &storetest.RedisServer{Redis: storetest.Redis{Addr: proxy.Addr}}, nil)
	conn := r.Conn(t)
	registration := func() string {
		value, err := redis.String(conn.Do("HGET", membersKey, s.id))
		if !errors.Is(err, redis.ErrNil) {
			testkit.NoError(t, err)
		}

		return value
	}
	testkit.Eventually(t, "the server to know the members", func() bool { return s.isComplete(registration()) })

	attempt := s.registered.Load()
	isKnown := fmt.Sprintf("\r\n%d\r\n", attempt)
	held := make(chan struct{})
	t.Cleanup(func() { close(held) })
	proxy.Set(storetest.Faults{Reply: proxy.OnOthers(func(_ net.Conn, chunk []byte) bool {
		if chunk[0] == '$' && !strings.Contains(string(chunk), isKnown) { // to a beat that has registered the server
			<-held
		}

		return false
	})})
	_, err := conn.Do("DEL", membersKey)
	testkit.NoError(t, err)
	testkit.Eventually(t, "the server to register again", func() bool { return registration() != "" })

	if s.isComplete(registration()) {
		t.Error("before the reply: the server takes the registrations for complete")
	}
	if got := s.registered.Load(); got != attempt {
		t.Errorf("the server knows of attempt %d, so the test proves nothing", got)
	}
}

// A new stream does not use what was stored before, because it may have missed changes.
func TestLostStream(t *testing.T) {
	t.Parallel()

	r, proxy, s := newProxiedServer(t)

	proxy.Refuse()
	testkit.Eventually(t, "the loss to be noticed", func() bool { return s.Stats().LostStreams > 0 })
	set(t, r, testKey, "new")
	proxy.Restore(t)
	s.awaitLease()
	if got := s.get(testKey); got != "new" {
		t.Errorf("after the stream was lost: got %q, want the new value", got)
	}

	log := s.log.String()
	if strings.Count(log, "cannot follow changes") != 1 || !strings.Contains(log, "following changes in Redis again") {
		t.Errorf("log: got %s, want one warning and the end of the failure", log)
	}
}

// The values of all servers of a cluster are lost with the stream of the coordinator, because messages
// about changes to them may be missing.
func TestLostStreamOfCoordinator(t *testing.T) {
	t.Parallel()

	r := storetest.StartRedis(t)
	proxy := storetest.NewProxy(t, r.Addr)
	client := redisconn.New(redisconn.Options{Addr: r.Addr, Timeout: 10 * time.Second, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(client.Close)
	c := newCache(client, Options{Prefixes: []string{"sess:"}, MaxBytes: 1 << 20, Log: slog.New(slog.DiscardHandler)})
	c.dial = func(ctx context.Context, _ string) (redis.Conn, error) { return client.Dial(ctx, proxy.Addr) }
	coordinator := newFollower(c, r.Addr, func() {})
	other := newFollower(c, "127.0.0.1:1", func() {})
	other.current.Store(&stream{server: other.server})
	c.followers.Store(&map[string]*follower{coordinator.server: coordinator, other.server: other})
	c.tasks.Go(func() { coordinator.run(c.ctx) })
	t.Cleanup(c.Close)

	for name, lose := range map[string]func(){
		"a lost connection": func() {
			proxy.Refuse()
			testkit.Eventually(t, "the loss to be noticed", func() bool { return c.coordinator() == noStream })
			proxy.Restore(t)
		},
		"FLUSHALL": func() {
			_, err := r.Conn(t).Do("FLUSHALL")
			testkit.NoError(t, err)
		},
	} {
		// The stream of the other server keeps working for the whole test.
		confirm := func() { other.current.Load().confirm(beat{sent: time.Now().Add(time.Hour)}) }
		await := func(before *stream) {
			testkit.Eventually(t, "a new stream", func() bool { return c.coordinator() != before && c.coordinator().isRegistered(time.Now()) })
		}

		await(noStream)
		confirm()
		c.entries.fill(c.entries.reserve(testKey, other.current.Load()), Value{Data: "old"})
		if got := c.lookup(testKey); got != "old" {
			t.Fatalf("before %s: got %v, want the value", name, got)
		}

		before := c.coordinator()
		lose()
		await(before)
		confirm()
		if got := c.lookup(testKey); got != nil {
			t.Errorf("after %s: got %v, want nothing", name, got)
		}
	}
}

// Without Redis, nothing is returned from memory.
func TestRedisDown(t *testing.T) {
	t.Parallel()

	r := storetest.StartRedis(t)
	s := newTestServer(t, r, nil)
	set(t, r, testKey, "old")
	s.awaitInMemory("old")

	r.Pause()
	testkit.Eventually(t, "the end of the lease", func() bool { return s.lookup(testKey) == nil })
	r.Resume()
	s.awaitLease()
	s.awaitInMemory("old")

	r.Kill()
	testkit.Eventually(t, "the end of the lease", func() bool { return s.lookup(testKey) == nil })
	if _, err := s.Invalidate(t.Context(), testKey); !errors.Is(err, redisconn.ErrUnavailable) {
		t.Errorf("Invalidate: got error %v, want ErrUnavailable", err)
	}
}

// A lease depends on the monotonic clock, and ends early if the time of day jumps forward.
func TestLease(t *testing.T) {
	t.Parallel()

	sent := time.Now()
	for elapsed, want := range map[time.Duration]bool{0: true, lease - 1: true, lease: false} {
		if got := isWithinLease(&sent, sent.Add(elapsed)); got != want {
			t.Errorf("after %v: got a lease: %v, want %v", elapsed, got, want)
		}
	}
	if isWithinLease(nil, sent) {
		t.Error("without a beat: got a lease, want none")
	}

	for _, tc := range []struct {
		elapsed, step time.Duration // on the monotonic clock; of the time of day
		want          bool
	}{
		{0, time.Minute, false},
		{0, time.Hour, false},
		{lease - 1, -time.Minute, true},
		{lease, -time.Minute, false},
		{lease, -time.Hour, false},
	} {
		if got := isShort(tc.elapsed, tc.elapsed+tc.step); got != tc.want {
			t.Errorf("after %v and a step of the time of day by %v: got a lease: %v, want %v", tc.elapsed, tc.step, got, tc.want)
		}
	}

	s := &stream{}
	s.confirm(beat{sent: sent})
	s.confirm(beat{sent: sent.Add(-lease)})
	if !s.isLive(sent) || s.isRegistered(sent) {
		t.Error("after beats in the wrong order, which did not register the server: got no live stream, or a registered one")
	}
	s.close()
	s.confirm(beat{sent: sent, registers: true})
	if s.isLive(sent) || s.isRegistered(sent) {
		t.Error("after the stream was closed: got a lease, want none")
	}
}

// The memory is bounded. The least recently used values go first.
func TestSize(t *testing.T) {
	t.Parallel()

	const maxBytes = shardCount * 10 * entryOverhead
	var e entries
	e.init(maxBytes)
	store := func(key string, size int) { e.fill(e.reserve(key, noStream), Value{Data: key, Size: size}) }

	store("used", 1)
	for i := range 20_000 {
		store(fmt.Sprint(i), i%100)
		e.get("used")
	}
	if got := e.bytes(); got > maxBytes || got < maxBytes/2 {
		t.Errorf("bytes: got %d, want at most %d, and most of them", got, maxBytes)
	}
	if e.get("used") == nil || e.get("0") != nil {
		t.Error("the least recently used value was kept instead of the one in use")
	}

	store("huge", 2*maxBytes)
	if e.get("huge") != nil {
		t.Error("a value larger than the memory was kept")
	}
	for i := range 20_000 {
		e.remove(fmt.Sprint(i))
	}
	e.remove("used")
	if got := e.bytes(); got != 0 {
		t.Errorf("bytes after all were removed: got %d, want 0", got)
	}

	placeholder := e.reserve("k", noStream)
	e.cancel(e.reserve("k", noStream))
	e.fill(placeholder, Value{Data: "old"})
	if got := e.get("k"); got != nil {
		t.Errorf("a placeholder that another one replaced: got %v, want nothing", got.data)
	}
}
