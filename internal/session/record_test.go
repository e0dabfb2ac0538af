package session

import (
	"encoding/base64"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

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
		Proof:      Proof{AuthenticatedAt: created, Methods: []Method{{Method: Password, At: created}}},
		Persistent: true,
	},
	"verified": {
		Owner:      Owner{UserID: "65f0c0ffee0123456789abcd", Email: "ann@example.com", EmailVerified: true},
		Client:     Client{IP: "203.0.113.7", Device: "Chrome 141 on Windows"},
		Times:      Times{CreatedAt: created, LastSeenAt: created, IdleExpiresAt: created.Add(24 * time.Hour), ExpiresAt: created.Add(720 * time.Hour)},
		Proof:      Proof{AuthenticatedAt: created, Methods: []Method{{Method: Password, At: created}}},
		Persistent: true,
	},
	"used": {
		Owner:  Owner{UserID: "65f0c0ffee0123456789abcd", Email: "ann@example.com"},
		Client: Client{IP: "2001:db8::7", Device: "Safari 18 on iOS"},
		Times:  Times{CreatedAt: created, LastSeenAt: created.Add(61234 * time.Millisecond), IdleExpiresAt: created.Add(24*time.Hour + 61234*time.Millisecond), ExpiresAt: created.Add(720 * time.Hour)},
		Proof: Proof{
			AuthenticatedAt: created.Add(time.Minute),
			Methods:         []Method{{Method: Federated, Provider: "google", At: created.Add(time.Minute)}, {Method: OTP, At: created.Add(90 * time.Second)}},
		},
		generation: "1767225500000000",
	},
	"with-lines-of-a-later-release": {
		Owner:      Owner{UserID: "65f0c0ffee0123456789abcd", Email: "ann@example.com"},
		Client:     Client{IP: "203.0.113.7", Device: "curl 8"},
		Times:      Times{CreatedAt: created, LastSeenAt: created.Add(720*time.Hour - time.Second), IdleExpiresAt: created.Add(720 * time.Hour), ExpiresAt: created.Add(720 * time.Hour)},
		Proof:      Proof{AuthenticatedAt: created.Add(-time.Hour), Methods: []Method{{Method: Password, At: created.Add(-time.Hour)}}},
		Persistent: true,
		extra:      "tenant=acme\na line without a name\n",
	},
}

func readGolden(t testing.TB, name string) string {
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
		value := readGolden(t, name)
		if !goldenKeys.verify(goldenID, value) {
			t.Errorf("%s: got a wrong MAC, want a valid one", name)
		}

		got, err := parse(value[:len(value)-macLen])
		testkit.NoError(t, err)

		got.ID = goldenID
		want.ID = goldenID
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

	var rotated *replacedError
	if err := readTombstone("replaced " + goldenID); !errors.As(err, &rotated) || rotated.successor != goldenID {
		t.Errorf("tombstone of a rotation: got %v, want an ErrReplaced with successor %s", err, goldenID)
	}
}

// A malformed record is rejected even if its MAC is valid, and is never written: for example, a
// client cannot inject a line with its User-Agent.
func TestMalformedRecords(t *testing.T) {
	t.Parallel()
	const good = "user=u\ncreated=2026-01-01T00:00:00.000Z\nidle=24h\nlasts=720h\n"
	if _, err := parse(good); err != nil {
		t.Fatal(err)
	}

	replaceIn := func(old, replacement string) string { return strings.Replace(good, old, replacement, 1) }
	for _, bad := range []string{
		"", "{}", "user=u", "1\nu\n", replaceIn("user=u", "user="), replaceIn("user=u\n", ""),
		replaceIn("created", "made"), replaceIn("2026-01-01T", "2026-13-01T"), replaceIn("000Z", "000"),
		replaceIn("idle=24h", "idle=24"), replaceIn("idle=24h", "idle=-24h"), replaceIn("idle=24h\n", ""),
		replaceIn("lasts=720h", "lasts="), replaceIn("lasts=720h", "lasts=23h"), replaceIn("lasts=720h", "lasts=999999999999h"),
		good + "methods=@\n", good + "methods=pwd@now\n", good + "seen=yesterday\n", good + "authenticated=\n",
	} {
		if s, err := parse(bad); !errors.Is(err, errMalformed) {
			t.Errorf("parse(%q) = %+v, %v; want errMalformed", bad, s, err)
		}
	}

	for _, change := range []func(s *Session){
		func(s *Session) { s.UserID = "" },
		func(s *Session) { s.UserID = "u\nv" },
		func(s *Session) { s.Email = "\n" },
		func(s *Session) { s.IP = "\n" },
		func(s *Session) { s.Methods = []Method{{Method: "\n"}} },
		func(s *Session) { s.Methods = []Method{{Method: "pwd otp"}} },
		func(s *Session) { s.Methods = []Method{{Method: "fed", Provider: "a otp"}} },
		func(s *Session) { s.Methods = []Method{{Method: "fed", Provider: "a:b"}} },
		func(s *Session) { s.Methods = []Method{{}} },
		func(s *Session) { s.Device = "x\nuser=v" },
		func(s *Session) { s.Device = "\xff" },
	} {
		s := golden["begun"]
		change(&s)
		if value, err := s.seal(goldenKeys); err == nil {
			t.Errorf("seal: got %q, want an error", value)
		}
	}
}

// forgeries returns records that an attacker with write access to Redis, but without the
// secret, can store instead of their own. victim and attacker are the live sessions of two users.
func forgeries(victim, attacker *Session, key macKeys) map[string]string {
	text := attacker.value[:len(attacker.value)-macLen]
	mac := attacker.value[len(text):]
	raw, _ := base64.RawURLEncoding.DecodeString(mac[len(macName):])
	swap := func(old, new string) string { return strings.Replace(attacker.value, old, new, 1) }
	line := func(name, value string) string { return text + name + "=" + value + "\n" + mac }
	later := created.AddDate(100, 0, 0).Format(timeLayout)
	sealed := func(change func(s *Session)) string {
		s := *attacker
		change(&s)
		value, _ := s.seal(key)
		return value
	}

	return map[string]string{
		"another user":                          swap("user="+attacker.UserID, "user="+victim.UserID),
		"another user in a second line":         line("user", victim.UserID),
		"another user at the start":             "user=" + victim.UserID + "\n" + attacker.value,
		"authenticated later":                   line("authenticated", later),
		"another email":                         swap("email=", "email=x"),
		"longer absolute timeout":               swap("lasts=4h", "lasts=4000h"),
		"longer idle timeout":                   swap("idle=", "idle=9"),
		"a cookie that stays":                   swap("cookie=session", "cookie=persistent"),
		"one more method":                       swap("methods=pwd", "methods=pwd otp"),
		"no generation":                         swap("generation=", "generatiom="),
		"another device":                        line("device", "Safari"),
		"a line from a newer release":           line("level", "2"),
		"one line fewer":                        strings.Replace(attacker.value, "cookie=session\n", "", 1),
		"one more line break":                   text + "\n" + mac,
		"other line breaks":                     strings.ReplaceAll(text, "\n", "\r\n") + mac,
		"the victim's record":                   victim.value,
		"the victim's text, the attacker's MAC": victim.value[:len(victim.value)-macLen] + mac,
		"the attacker's text, the victim's MAC": text + victim.value[len(victim.value)-macLen:],
		"no MAC":                                text,
		"an empty MAC":                          text + macName,
		"a truncated MAC":                       attacker.value[:len(attacker.value)-1],
		"a longer MAC":                          attacker.value + "A",
		"a MAC of zeros":                        text + macName + strings.Repeat("A", 22),
		"a padded MAC":                          text + macName + base64.URLEncoding.EncodeToString(raw),
		"a MAC with another last bit":           attacker.value[:len(attacker.value)-1] + string(rune(attacker.value[len(attacker.value)-1]+1)),
		"a MAC in upper case":                   text + macName + strings.ToUpper(mac[len(macName):]),
		"two MACs":                              text + mac + mac,
		"under another secret":                  sealed(func(*Session) {}),
		"another user, under another secret":    sealed(func(s *Session) { s.UserID = victim.UserID }),
		"the victim's ID, under another secret": sealed(func(s *Session) { s.ID = victim.ID }),
		"nothing":                               "",
		"JSON":                                  `{"user":"` + victim.UserID + `"}`,
	}
}

// With write access to Redis, an attacker can neither impersonate another user nor extend a
// session. See TestConformance for what else happens with untrusted records.
func TestForgedRecords(t *testing.T) {
	t.Parallel()
	m, conn := newManager(t)
	start := func(userID string) (*Session, string) {
		start := login(t, m, userID)
		start.Device = "Chrome 141 on Windows"
		_, token, err := m.Begin(background, start)
		testkit.NoError(t, err)
		s, _ := m.FromContext(load(t, m, token))
		return s, token
	}

	testkit.NoError(t, m.startGeneration(background))
	victim, _ := start("victim")
	attacker, token := start("u")
	set := func(record string) {
		_, err := conn.Do("SET", m.keys.record(attacker.ID), record, "PX", 3600000)
		testkit.NoError(t, err)
	}

	for name, record := range forgeries(victim, attacker, newMACKeys([][]byte{[]byte("another secret")})) {
		if record == attacker.value {
			t.Errorf("%s: got the original record, want a forged one", name)
		}

		set(record)
		if _, err := m.Load(background, token); !errors.Is(err, ErrUntrusted) {
			t.Errorf("%s: load: got %v, want ErrUntrusted", name, err)
		}
		if listed, err := m.List(background, "u"); err != nil || len(listed) != 0 {
			t.Errorf("%s: got %d listed sessions, %v; want 0", name, len(listed), err)
		}
	}

	set(attacker.value)
	load(t, m, token)
}

// parse never panics, and a record that it accepts survives being written and parsed again.
func FuzzRecord(f *testing.F) {
	for name := range golden {
		value := readGolden(f, name)
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

		reparsed, err := parse(written[:len(written)-macLen])
		if diff := cmp.Diff(s, reparsed, cmp.AllowUnexported(Session{})); err != nil || diff != "" {
			t.Errorf("%q: written as %q, then parsed: got error %v and differences (-want +got):\n%s", text, written, err, diff)
		}
	})
}
