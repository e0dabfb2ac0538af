package session

import (
	"context"
	"encoding/base64"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/google/go-cmp/cmp"

	"latchkey/internal/testkit"
)

// created is when the sessions in testdata were created.
var created = time.UnixMilli(1767225600000).UTC()

// goldenID and goldenKeys are the session ID and the MAC keys of the records in testdata.
const goldenID = "t4_8OnOF7cE_9XPWZcKviPiAUfvtHQWQqo3PO-HpohMyk"

var goldenKeys = newMACKeys([][]byte{[]byte("the secret of testdata")})

// golden are the parsed records in testdata. Never change or remove one, because every release
// must be able to read the records of earlier ones.
var golden = map[string]Session{
	"begun": {
		Owner:      Owner{UserID: "65f0c0ffee0123456789abcd", Email: "ann@example.com"},
		Client:     Client{IP: "203.0.113.7", Device: "Chrome 141 on Windows"},
		Times:      Times{CreatedAt: created, LastSeenAt: created, IdleExpiresAt: created.Add(24 * time.Hour), ExpiresAt: created.Add(720 * time.Hour)},
		Proof:      Proof{AuthenticatedAt: created, Methods: []string{"password"}},
		Persistent: true,
	},
	"used": {
		Owner:      Owner{UserID: "65f0c0ffee0123456789abcd", Email: "ann@example.com"},
		Client:     Client{IP: "2001:db8::7", Device: "Safari 18 on iOS"},
		Times:      Times{CreatedAt: created, LastSeenAt: created.Add(61234 * time.Millisecond), IdleExpiresAt: created.Add(24*time.Hour + 61234*time.Millisecond), ExpiresAt: created.Add(720 * time.Hour)},
		Proof:      Proof{AuthenticatedAt: created.Add(time.Minute), Methods: []string{"google", "otp"}},
		generation: "1767225500000000",
	},
	"with-lines-of-a-later-release": {
		Owner:      Owner{UserID: "65f0c0ffee0123456789abcd", Email: "ann@example.com"},
		Client:     Client{IP: "203.0.113.7", Device: "curl 8"},
		Times:      Times{CreatedAt: created, LastSeenAt: created.Add(720*time.Hour - time.Second), IdleExpiresAt: created.Add(720 * time.Hour), ExpiresAt: created.Add(720 * time.Hour)},
		Proof:      Proof{AuthenticatedAt: created.Add(-time.Hour), Methods: []string{"password"}},
		Persistent: true,
		extra:      "tenant=acme\na line without a name\n",
	},
}

func stored(t testing.TB, name string) string {
	t.Helper()
	value, err := os.ReadFile("testdata/records/" + name)
	testkit.NoError(t, err)

	return string(value)
}

// Golden records are parsed as expected, and seal writes the same text again.
func TestGolden(t *testing.T) {
	t.Parallel()
	files, err := os.ReadDir("testdata/records")
	if err != nil || len(files) != len(golden) {
		t.Fatalf("got %d files, %v; want %d", len(files), err, len(golden))
	}

	for name, want := range golden {
		value := stored(t, name)
		if !goldenKeys.verify(goldenID, value) {
			t.Errorf("%s: got a wrong MAC, want a valid one", name)
		}

		got, err := parse(value[:len(value)-macLen])
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}

		got.ID, got.value = goldenID, value
		want.ID, want.value = goldenID, value
		if diff := cmp.Diff(want, *got, cmp.AllowUnexported(Session{})); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}

		if written, err := got.seal(goldenKeys); err != nil || written != value {
			t.Errorf("%s: got %q, %v; want %q", name, written, err, value)
		}
	}
}

func TestTombstones(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "{", `{"reason":"revoked"}`, "x!", "0x1", "Revoked", "\x00"} {
		if err := readTombstone(text); err != ErrNone { //nolint:errorlint // not an EndedError
			t.Errorf("%q: got %v, want ErrNone", text, err)
		}
	}

	assertError(t, readTombstone("of_a_newer_release"), &EndedError{"of_a_newer_release"})

	var moved *replacedError
	if err := readTombstone("replaced " + goldenID); !errors.As(err, &moved) || moved.successor != goldenID {
		t.Errorf("got %v, want the successor %s", err, goldenID)
	}
}

// A malformed record is rejected even if its MAC is valid.
func TestMalformedRecords(t *testing.T) {
	t.Parallel()
	const good = "user=u\ncreated=2026-01-01T00:00:00.000Z\nidle=24h\nlasts=720h\n"
	if _, err := parse(good); err != nil {
		t.Fatal(err)
	}

	replace := strings.NewReplacer
	for _, bad := range []string{
		"", "{}", "null", "user=u", "1\nu\n",
		replace("user=u", "user=").Replace(good), replace("user=u\n", "").Replace(good),
		replace("created", "made").Replace(good), replace("2026-01-01T", "2026-13-01T").Replace(good), replace("000Z", "000").Replace(good),
		replace("idle=24h", "idle=24").Replace(good), replace("idle=24h", "idle=-24h").Replace(good), replace("idle=24h\n", "").Replace(good),
		replace("lasts=720h", "lasts=").Replace(good), replace("lasts=720h", "lasts=23h").Replace(good),
		replace("lasts=720h", "lasts=999999999999h").Replace(good),
		good + "seen=yesterday\n", good + "authenticated=\n",
	} {
		if s, err := parse(bad); !errors.Is(err, errMalformed) {
			t.Errorf("parse(%q) = %+v, %v; want errMalformed", bad, s, err)
		}
	}

	for _, change := range []func(s *Session){
		func(s *Session) { s.UserID = "" }, func(s *Session) { s.UserID = "u\nv" }, func(s *Session) { s.Email = "\n" },
		func(s *Session) { s.IP = "\n" }, func(s *Session) { s.Methods = []string{"\n"} }, func(s *Session) { s.Device = "\xff" },
	} {
		s := golden["begun"]
		change(&s)
		if value, err := s.seal(goldenKeys); err == nil {
			t.Errorf("got %q, want an error", value)
		}
	}
}

// A client cannot inject a line into the record with its User-Agent.
func TestDeviceCannotInjectLine(t *testing.T) {
	t.Parallel()
	m, _ := newManager(t)
	for _, text := range []string{"x\nuser=v", "\n", "\xff"} {
		if _, _, err := m.Begin(context.Background(), Start{Owner: Owner{UserID: "u"}, Method: "password", Client: Client{Device: text}}); err == nil {
			t.Errorf("device %q: got no error, want one", text)
		}
	}
}

// forgeries returns records that an attacker with write access to Redis, but without the
// secret, can store instead of their own. victim and own are live sessions of two users.
func forgeries(victim, own *Session, key macKeys) map[string]string {
	text := strings.TrimSuffix(own.value, own.value[len(own.value)-macLen:])
	mac := own.value[len(own.value)-macLen:]
	raw, _ := base64.RawURLEncoding.DecodeString(mac[len(macName):])
	swap := func(old, new string) string { return strings.Replace(own.value, old, new, 1) }
	line := func(name, value string) string { return text + name + "=" + value + "\n" + mac }
	later := created.AddDate(100, 0, 0).Format(timeLayout)
	sealed := func(change func(s *Session)) string {
		s := *own
		change(&s)
		value, _ := s.seal(key)
		return value
	}

	return map[string]string{
		"another user":                       swap("user="+own.UserID, "user="+victim.UserID),
		"another user in a second line":      line("user", victim.UserID),
		"another user at the start":          "user=" + victim.UserID + "\n" + own.value,
		"another email":                      swap(own.Email, victim.Email),
		"created later":                      swap(own.CreatedAt.Format(timeLayout), later),
		"seen later":                         line("seen", later),
		"authenticated later":                line("authenticated", later),
		"authenticated a bit later":          line("authenticated", time.Now().UTC().Format(timeLayout)),
		"longer idle timeout":                swap("idle=1h", "idle=3h"),
		"longer absolute timeout":            swap("lasts=4h", "lasts=4000h"),
		"another method":                     swap("methods=password", "methods=passkey"),
		"one more method":                    swap("methods=password", "methods=password otp"),
		"no generation":                      swap("generation=", "generatiom="),
		"another IP":                         line("ip", "198.51.100.1"),
		"another device":                     line("device", "Safari"),
		"a line of a newer release":          line("level", "2"),
		"one line fewer":                     strings.Replace(own.value, "cookie=session\n", "", 1),
		"one more line break":                text + "\n" + mac,
		"the victim's record":                victim.value,
		"the victim's text, own MAC":         victim.value[:len(victim.value)-macLen] + mac,
		"own text, the victim's MAC":         text + victim.value[len(victim.value)-macLen:],
		"no MAC":                             text,
		"an empty MAC":                       text + macName,
		"a truncated MAC":                    own.value[:len(own.value)-1],
		"half a MAC":                         text + mac[:len(macName)+11],
		"a longer MAC":                       own.value + "A",
		"a MAC of zeros":                     text + macName + strings.Repeat("A", 22),
		"a padded MAC":                       text + macName + base64.URLEncoding.EncodeToString(raw),
		"a MAC with another last bit":        own.value[:len(own.value)-1] + string(rune(own.value[len(own.value)-1]+1)),
		"two MACs":                           text + mac + mac,
		"under another secret":               sealed(func(*Session) {}),
		"another user, under another secret": sealed(func(s *Session) { s.UserID = victim.UserID }),
		"an empty secret":                    sealed(func(s *Session) { s.ID = victim.ID }),
		"nothing":                            "",
		"JSON":                               `{"user":"` + victim.UserID + `"}`,
		"an older format":                    "1\n" + victim.UserID + "\nann@example.com\n1767225600000 0 86400000 2592000000 0 1\npassword\n\n\n",
	}
}

// With write access to Redis, an attacker can neither impersonate another user nor extend a
// session. A forged record is rejected, and no operation deletes it or ends a session.
func TestForgedRecords(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	m, conn := newManager(t)
	start := func(userID, email string) (*Session, string) {
		g, err := m.Generation(ctx, userID)
		testkit.NoError(t, err)
		_, token, err := m.Begin(ctx, Start{Owner: Owner{UserID: userID, Email: email}, Client: Client{Device: "Chrome 141 on Windows"}, Method: "password", Generation: g})
		testkit.NoError(t, err)
		s, _ := m.FromContext(load(t, m, token))
		return s, token
	}

	testkit.NoError(t, m.startGeneration(ctx))
	victim, victimToken := start("victim", "victim@example.com")
	own, token := start("u", "ann@example.com")
	key := m.keys.record(own.ID)

	all := forgeries(victim, own, newMACKeys([][]byte{[]byte("another secret")}))
	if len(all) < 30 {
		t.Fatalf("got %d forgeries, want at least 30", len(all))
	}

	for name, value := range all {
		if value == own.value {
			t.Errorf("%s: got the original record, want a forged one", name)
			continue
		}

		_, err := conn.Do("SET", key, value, "PX", 3600000)
		testkit.NoError(t, err)

		if _, err := m.Load(ctx, token); !errors.Is(err, ErrUntrusted) || errors.Is(err, ErrNone) {
			t.Errorf("%s: load: got %v, want ErrUntrusted", name, err)
		}

		if _, err := m.ByID(ctx, own.ID); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: by ID: got %v, want ErrNotFound", name, err)
		}
		if err := logOut(ctx, m, token); !errors.Is(err, ErrUntrusted) {
			t.Errorf("%s: logout: got %v, want ErrUntrusted", name, err)
		}

		for _, userID := range []string{"u", "victim"} {
			if err := m.Revoke(ctx, userID, own.ID, Revoked); !errors.Is(err, ErrNotFound) {
				t.Errorf("%s: revoke: got %v, want ErrNotFound", name, err)
			}
		}

		if listed, err := m.List(ctx, "u"); err != nil || len(listed) != 0 {
			t.Errorf("%s: got %d listed, %v; want 0", name, len(listed), err)
		}

		g, err := m.Generation(ctx, "w")
		testkit.NoError(t, err)
		begun, _, err := m.Begin(ctx, Start{Owner: Owner{UserID: "w"}, Method: "password", Generation: g, Replaces: own.ID})
		if err != nil || begun.UserID != "w" {
			t.Errorf("%s: login that replaces it: got %v, want no error", name, err)
		}

		if _, users, err := m.Count(ctx); err != nil || users != 2 {
			t.Errorf("%s: got %d users, %v; want 2", name, users, err)
		}

		if left, err := redis.String(conn.Do("GET", key)); err != nil || left != value {
			t.Errorf("%s: got record %q, %v; want it unchanged", name, left, err)
		}

		load(t, m, victimToken)
	}

	// The original record works again.
	_, err := conn.Do("SET", key, own.value, "PX", 3600000)
	testkit.NoError(t, err)
	load(t, m, token)
}

// parse never panics, and a record that it accepts survives being written and parsed again.
func FuzzRecord(f *testing.F) {
	for name := range golden {
		value := stored(f, name)
		f.Add(value[:len(value)-macLen])
	}

	f.Fuzz(func(t *testing.T, text string) {
		_ = readTombstone(text)
		s, err := parse(text)
		if err != nil {
			return
		}

		written, err := s.seal(goldenKeys)
		if err != nil {
			return
		}

		again, err := parse(written[:len(written)-macLen])
		if diff := cmp.Diff(s, again, cmp.AllowUnexported(Session{})); err != nil || diff != "" {
			t.Errorf("%q: got %q, %v, which differs (-want +got): %s", text, written, err, diff)
		}
	})
}

func BenchmarkRead(b *testing.B) {
	value := stored(b, "used")
	b.ReportAllocs()
	for b.Loop() {
		if !goldenKeys.verify(goldenID, value) {
			b.Fatal("wrong MAC")
		}

		if _, err := parse(value[:len(value)-macLen]); err != nil {
			b.Fatal(err)
		}
	}
}
