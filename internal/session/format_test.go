package session

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/google/go-cmp/cmp"
)

// born is when the sessions in testdata began.
var born = time.UnixMilli(1767225600000).UTC()

const movingFrom = "_8OnOF7cE_9XPWZcKviPiAUfvtHQWQqo3PO-HpohMyk"

// golden are the values in testdata/sessions. They are read now and for ever: none is
// ever changed or removed, and a release that writes something new adds one.
var golden = map[string]Session{
	"v1-begun": {
		UserID: "65f0c0ffee0123456789abcd", Email: "ann@example.com",
		CreatedAt: born, LastSeenAt: born, IdleExpiresAt: born.Add(24 * time.Hour), ExpiresAt: born.Add(720 * time.Hour),
		AuthenticatedAt: born, Methods: []string{"password"}, IP: "203.0.113.7", agent: "~w~c141~s",
	},
	"v1-used": {
		UserID: "65f0c0ffee0123456789abcd", Email: "ann@example.com",
		CreatedAt: born, LastSeenAt: born.Add(61234 * time.Millisecond), IdleExpiresAt: born.Add(24*time.Hour + 61234*time.Millisecond),
		ExpiresAt: born.Add(720 * time.Hour), AuthenticatedAt: born.Add(-time.Hour), Methods: []string{"google", "otp"}, Persistent: true,
		IP: "2001:db8::7", agent: "~i18_5~l~v18.5~o", epoch: "1767225500000000",
	},
	"v1-moving": {
		UserID: "65f0c0ffee0123456789abcd", Email: "ann@example.com",
		CreatedAt: born, LastSeenAt: born.Add(720*time.Hour - time.Second), IdleExpiresAt: born.Add(720 * time.Hour), ExpiresAt: born.Add(720 * time.Hour),
		AuthenticatedAt: born, Methods: []string{"password"}, IP: "203.0.113.7", agent: "~x~r~f~~~n",
		epoch: "1767225500000000", movedFrom: movingFrom,
	},
	"v1-bare": {
		UserID: "u", CreatedAt: time.UnixMilli(0).UTC(), LastSeenAt: time.UnixMilli(0).UTC(), IdleExpiresAt: time.UnixMilli(86400000).UTC(),
		ExpiresAt: time.UnixMilli(86400000).UTC(), AuthenticatedAt: time.UnixMilli(0).UTC(),
	},
	"v1-lines-of-a-later-release": {
		UserID: "65f0c0ffee0123456789abcd", Email: "ann@example.com",
		CreatedAt: born, LastSeenAt: born, IdleExpiresAt: born.Add(24 * time.Hour), ExpiresAt: born.Add(720 * time.Hour),
		AuthenticatedAt: born, Methods: []string{"password"}, IP: "203.0.113.7", agent: "curl/8.5.0",
		epoch: "1767225500000000", later: "tenant=acme\na line without a name\n",
	},
}

// stored reads a value from testdata.
func stored(t testing.TB, name string) []byte {
	t.Helper()
	value, err := os.ReadFile(filepath.Join("testdata", "sessions", name))
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// What is stored is read as what it was, and written as it stands.
func TestGolden(t *testing.T) {
	t.Parallel()
	files, err := os.ReadDir(filepath.Join("testdata", "sessions"))
	if err != nil || len(files) != len(golden) {
		t.Fatalf("%d files, want %d, %v", len(files), len(golden), err)
	}
	for name, want := range golden {
		value := stored(t, name)
		got, err := decode("h", value)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want.Handle, want.raw = "h", value
		if diff := cmp.Diff(want, *got, cmp.AllowUnexported(Session{})); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if written, err := want.encode(); err != nil || string(written) != string(value) {
			t.Errorf("%s: written as %q, %v", name, written, err)
		}
	}
}

// The same for the traces.
func TestGoldenTraces(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]trace{
		"1767312000000":                {Reason: IdleTimeout, At: 1767312000000},
		"-1769817600000":               {Reason: AbsoluteTimeout, At: 1769817600000},
		"1767312000000 " + movingFrom:  {Reason: IdleTimeout, At: 1767312000000, HeirOf: movingFrom},
		"-1769817600000 " + movingFrom: {Reason: AbsoluteTimeout, At: 1769817600000, HeirOf: movingFrom},
		"logged_out":                   {Reason: LoggedOut},
		"replaced":                     {Reason: replaced},
		"replaced " + movingFrom:       {Reason: replaced, Successor: movingFrom},
		"of_a_later_release":           {Reason: "of_a_later_release"},
	} {
		if got := *decodeTrace([]byte(text)); got != want || got.encode() != text {
			t.Errorf("%q: %+v, written as %q", text, got, got.encode())
		}
	}
	for _, text := range []string{"", "{", `{"reason":"revoked"}`, "x!", "0x1", "Revoked", "\x00"} {
		if got := *decodeTrace([]byte(text)); got != (trace{}) {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

// Sessions of an earlier release, and those to which a later one has added, are used
// like any other, and what was added stays.
func TestGoldenLives(t *testing.T) {
	t.Parallel()
	for name, want := range golden {
		if name == "v1-moving" || name == "v1-bare" { // the other half is not there; too old
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			m, conn := newManager(t)
			now := want.LastSeenAt.Add(10 * time.Minute)
			m.options.Now = func() time.Time { return now }
			m.store.now = m.options.Now
			token := newToken()
			_, err := conn.Do("SET", "sess:"+m.store.handle(token), stored(t, name), "PX", 86400000)
			must(t, err)

			// Used, and so extended; moved to another secret; rotated; listed; ended.
			load(t, m, token)
			m.store.secrets = [][]byte{[]byte("another"), m.store.secrets[0]}
			load(t, m, token)
			_, token, err = m.Rotate(load(t, m, token))
			must(t, err)
			if listed, err := m.List(ctx, want.UserID); err != nil || len(listed) != 1 || listed[0].UserAgent() != expand(want.agent) {
				t.Errorf("listed %v, %v", listed, err)
			}
			value, err := redis.String(conn.Do("GET", "sess:"+m.store.handle(token)))
			must(t, err)
			got, err := decode("", []byte(value))
			must(t, err)
			want.LastSeenAt, want.IdleExpiresAt, want.raw = now, now.Add(m.options.Idle), []byte(value)
			if diff := cmp.Diff(want, *got, cmp.AllowUnexported(Session{})); diff != "" {
				t.Error(diff)
			}
			must(t, logOut(ctx, m, token))
			_, err = m.Load(ctx, token)
			assertError(t, err, &EndedError{LoggedOut})
		})
	}
}

// A session in a version that only a later release reads is somebody's: it is not taken
// for none, and not dropped. It can be ended all the same.
func TestLaterVersion(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"2\n", "2\nwhatever\x00\xff", "10\n" + string(stored(t, "v1-begun"))[2:]} {
		s := newSpecimen(t)
		s.do(t, "SET", "sess:"+s.handle, value)
		_, err := s.m.Load(context.Background(), s.token)
		assertError(t, err, ErrUnavailable)
		_, err = s.m.List(context.Background(), "u")
		assertError(t, err, ErrUnavailable)
		_, err = s.m.Show(context.Background(), s.handle)
		assertError(t, err, ErrUnavailable)
		assertError(t, s.m.Revoke(context.Background(), "u", s.handle, Revoked), ErrUnavailable)
		if got, err := redis.String(s.conn.Do("GET", "sess:"+s.handle)); err != nil || got != value {
			t.Errorf("%q became %q, %v", value, got, err)
		}
		must(t, logOut(context.Background(), s.m, s.token))
		_, err = s.m.Load(context.Background(), s.token)
		assertError(t, err, &EndedError{LoggedOut})
	}
}

func TestUndecodable(t *testing.T) {
	t.Parallel()
	good := string(stored(t, "v1-used"))
	bad := []string{
		"", "1", "1\n", "0\n", "-2\n", "+1\n", "01\n" + good[2:], "2", "x\n", "{}", "null", `{"v":1,"userId":"u"}`, "9999999999999999\n",
		good + "no end", good + "epoch=1\n", good + "later=1\nmovedFrom=x\n", good + "movedFrom=\n", good + "later=\xff\n",
		strings.Replace(good, "65f0c0ffee0123456789abcd", "", 1), strings.Replace(good, "ann", "\xff", 1), strings.TrimSuffix(good, "\n"),
	}
	for end := range len(good) - len("epoch=1767225500000000\n") {
		bad = append(bad, good[:end])
	}
	const times = "1767225600000 61234 86400000 2592000000 -3600000 1"
	for _, no := range []string{
		"", " ", times + " ", times + " 1", " " + times, times[:len(times)-2], "-" + times, "0" + times, "999" + times, times + "0", "1 " + times[2:],
		strings.Replace(times, "-36", "-0", 1), strings.Replace(times, "61234", "-0", 1), strings.Replace(times, "61234", "6.1", 1),
		strings.Replace(times, "2592000000", "999999999999999", 1), strings.Replace(times, " 6", "  6", 1),
	} {
		bad = append(bad, strings.Replace(good, times, no, 1))
	}
	for _, value := range bad {
		if s, err := decode("h", []byte(value)); !errors.Is(err, errUndecodable) {
			t.Errorf("%q: %+v, %v", value, s, err)
		}
	}
	for _, s := range []Session{{UserID: "u\nv"}, {Email: "\n"}, {IP: "\n"}, {Methods: []string{"\n"}}, {agent: "\xff"}} {
		if value, err := s.encode(); err == nil {
			t.Errorf("encoded as %q", value)
		}
	}
}

// What browsers say of themselves is kept in a few bytes, and as it was.
func TestUserAgents(t *testing.T) {
	t.Parallel()
	for _, ua := range browsers {
		if short := shorten(ua); len(short) > maxAgent || expand(short) != ua {
			t.Errorf("%s: %q, %d bytes", ua, short, len(short))
		}
	}
	for _, ua := range []string{"", "~", "~~", "~w", "~~w", "a~", "\n~n\n", "Mozilla/5.0 (Windows", ".0.0.0.0.0.0", strings.Repeat("~", 256), "\x00é"} {
		if short := shorten(ua); expand(short) != ua || strings.Contains(short, "\n") {
			t.Errorf("%q: %q, %q", ua, short, expand(short))
		}
	}
}

// maxAgent is how many bytes it takes at most to keep the User-Agent of a browser.
const maxAgent = 25

var browsers = []string{
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36 Edg/141.0.0.0",
	"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
	"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
	"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
	"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36",
	"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15",
	"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Mobile/15E148 Safari/604.1",
	"Mozilla/5.0 (iPad; CPU OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Mobile/15E148 Safari/604.1",
	"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/141.0.7390.41 Mobile/15E148 Safari/604.1",
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:143.0) Gecko/20100101 Firefox/143.0",
	"Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0",
	"Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:143.0) Gecko/20100101 Firefox/143.0",
	"Mozilla/5.0 (Android 15; Mobile; rv:143.0) Gecko/143.0 Firefox/143.0",
}

// A client cannot write a line by which its session passes for the one that asks, and
// so outlives a revocation of the others.
func TestUserAgentIsNoLine(t *testing.T) {
	t.Parallel()
	s := newSpecimen(t)
	for _, ua := range []string{movedFromIs + s.handle, "x\n" + movedFromIs + s.handle + "\n", "~n" + movedFromIs + s.handle} {
		_, token, err := s.m.Begin(context.Background(), SignIn{UserID: "u", Method: "password", Epoch: epoch(t, s.m), UserAgent: ua})
		must(t, err)
		if n, err := s.m.RevokeAll(context.Background(), "u", s.token, Revoked); n != 1 || err != nil {
			t.Errorf("%q: ended %d, %v", ua, n, err)
		}
		_, err = s.m.Load(context.Background(), token)
		assertError(t, err, &EndedError{Revoked})
	}
	load(t, s.m, s.token)
}

// Whatever stands in Redis, reading it does not panic, and what is read is written as
// it stood. Every User-Agent is kept as it is.
func FuzzSession(f *testing.F) {
	for name := range golden {
		f.Add(stored(f, name))
	}
	f.Add([]byte("2\nlater"))
	f.Add([]byte(browsers[0]))
	f.Fuzz(func(t *testing.T, value []byte) {
		if s, err := decode("h", value); err == nil {
			if written, err := s.encode(); err != nil || string(written) != string(value) {
				t.Errorf("%q is written as %q, %v", value, written, err)
			}
			_ = s.UserAgent()
		}
		if ua := string(value); expand(shorten(ua)) != ua {
			t.Errorf("%q becomes %q", ua, expand(shorten(ua)))
		}
		decodeTrace(value)
	})
}

func BenchmarkDecode(b *testing.B) {
	value := stored(b, "v1-used")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decode("h", value); err != nil {
			b.Fatal(err)
		}
	}
}
