package datakey

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"latchkey/internal/testkit"
)

const (
	appContext = "totp 65f0c0ffee65f0c0ffee65f0 app1"
	plainSeed  = "12345678901234567890"
)

// keyringOf returns a keyring for secrets.
func keyringOf(secrets ...string) *Keyring {
	var raw [][]byte
	for _, secret := range secrets {
		raw = append(raw, []byte(secret))
	}

	return New(raw)
}

// seal encrypts a value for appContext.
func seal(t testing.TB, k *Keyring, plain string) string {
	t.Helper()

	value, err := k.Seal([]byte(plain), appContext)
	testkit.NoError(t, err)

	return value
}

// checkOpen checks what Open returns for appContext.
func checkOpen(t testing.TB, k *Keyring, value, wantPlain string, wantOutdated bool) {
	t.Helper()

	plain, outdated, err := k.Open(value, appContext)
	if err != nil || string(plain) != wantPlain || outdated != wantOutdated {
		t.Errorf("Open(%q) = %q, %t, %v, want %q, %t", value, plain, outdated, err, wantPlain, wantOutdated)
	}
}

// checkError checks that Open refuses a value.
func checkError(t testing.TB, k *Keyring, value, context string, want error) {
	t.Helper()

	plain, outdated, err := k.Open(value, context)
	if plain != nil || outdated || !errors.Is(err, want) {
		t.Errorf("Open(%q, %q) = %q, %t, %v, want %v", value, context, plain, outdated, err, want)
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()

	k := keyringOf("one")
	form := regexp.MustCompile(`^v1\.[0-9a-f]{8}\.[0-9A-Za-z_-]{38,}$`)
	for _, plain := range []string{"", "x", plainSeed, strings.Repeat("long", 1000)} {
		value := seal(t, k, plain)
		if !form.MatchString(value) {
			t.Errorf("got the value %q, want the form %v", value, form)
		}
		checkOpen(t, k, value, plain, false)
	}
}

// These values are plainSeed, encrypted for appContext by another implementation, Python's package
// cryptography, with the keys of the secrets "one" and "two".
const (
	sealedOne = "v1.29b3c88c.AAECAwQFBgcICQoLX5xZ9fWtOc4urBi1IH6ksrYAyYjog7McFMolOAWNkruynYIk"
	sealedTwo = "v1.8a28ca11.AAECAwQFBgcICQoLHplxnxWv0K_yQmvWsMvoQNUQOU56Nr90AC0InQUerM_GxPGM"
)

// Values of earlier releases stay readable.
func TestStoredValues(t *testing.T) {
	t.Parallel()

	checkOpen(t, keyringOf("one", "two"), sealedOne, plainSeed, false)
	checkOpen(t, keyringOf("one", "two"), sealedTwo, plainSeed, true)
}

// A value does not work in another place of the database.
func TestOtherContext(t *testing.T) {
	t.Parallel()

	k := keyringOf("one")
	value := seal(t, k, plainSeed)
	for _, context := range []string{"", appContext + " ", "totp 65f0c0ffee65f0c0ffee65f0 app2", "totp 65f0c0ffee65f0c0ffee65f1 app1"} {
		checkError(t, k, value, context, ErrCorrupt)
	}
}

// A new key encrypts, the old one still decrypts until it is removed, and values that need to be
// encrypted again are reported.
func TestRotation(t *testing.T) {
	t.Parallel()

	before := keyringOf("old")
	during := keyringOf("new", "older", "old")
	after := keyringOf("new", "newer")

	value := seal(t, before, plainSeed)
	checkOpen(t, before, value, plainSeed, false)
	checkOpen(t, during, value, plainSeed, true)
	checkError(t, after, value, appContext, ErrUnknownKey)

	value = seal(t, during, plainSeed)
	checkError(t, before, value, appContext, ErrUnknownKey)
	checkOpen(t, during, value, plainSeed, false)
	checkOpen(t, after, value, plainSeed, false)
}

// The ID of a key is short, so that two keys could have the same one.
func TestKeysWithSameID(t *testing.T) {
	t.Parallel()

	k := keyringOf("new", "old")
	k.keys[0].id = k.keys[1].id
	other := keyringOf("other")
	other.keys[0].id = k.keys[1].id

	checkOpen(t, k, seal(t, keyringOf("old"), plainSeed), plainSeed, true)
	checkOpen(t, k, seal(t, k, plainSeed), plainSeed, false)
	checkError(t, k, seal(t, other, plainSeed), appContext, ErrCorrupt)
}

// Nothing is stored unencrypted because no key is configured.
func TestNoKey(t *testing.T) {
	t.Parallel()

	value := seal(t, keyringOf("one"), plainSeed)
	for name, k := range map[string]*Keyring{"nil": nil, "zero": {}, "no secrets": New(nil)} {
		if k.Available() {
			t.Errorf("%s: got available, want no keys", name)
		}
		if got, err := k.Seal([]byte(plainSeed), appContext); got != "" || !errors.Is(err, ErrNoKey) {
			t.Errorf("%s: Seal = %q, %v, want %v", name, got, err, ErrNoKey)
		}
		checkError(t, k, value, appContext, ErrNoKey)
	}

	if !keyringOf("one").Available() {
		t.Error("a keyring with a key is not available")
	}
}

// malformed lists values that Seal never returns.
var malformed = []string{
	"",
	".",
	"..",
	"v1",
	"v1.00000000",
	"v1.00000000.",
	"v1..",
	"v2.00000000.AAAA",
	"v1.00000000.AAAA.AAAA",
	"v1.00000000.!",
	plainSeed,
}

// Open refuses each value that differs from a genuine one, even where the difference is in bits
// that an encoding ignores.
func TestChangedValues(t *testing.T) {
	t.Parallel()

	k := keyringOf("one")
	value := seal(t, k, plainSeed)
	id := k.keys[0].id
	encoded := value[strings.LastIndex(value, ".")+1:]

	changed := append([]string{
		value + "A", value + "=", value + "\n", value + ".", " " + value, value[:20] + "\r\n" + value[20:],
		"v1." + id + ".", "v1." + id + "." + encoded[:4], "v2." + id + "." + encoded,
		"v1." + id[1:] + "." + encoded, "v1." + strings.ToUpper(id) + "x." + encoded,
	}, malformed...)
	for i := range value {
		changed = append(changed, value[:i], value[i+1:], value[:i]+value[i+1:])
		for bit := range 8 {
			raw := []byte(value)
			raw[i] ^= 1 << bit
			changed = append(changed, string(raw))
		}
	}

	for _, c := range changed {
		checkRefused(t, k, c)
	}
}

// checkRefused checks that Open refuses a value with one of its errors.
func checkRefused(t testing.TB, k *Keyring, value string) {
	t.Helper()

	plain, outdated, err := k.Open(value, appContext)
	if plain != nil || outdated || !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnknownKey) {
		t.Errorf("Open(%q) = %q, %t, %v, want it refused", value, plain, outdated, err)
	}
}

// A repeated nonce would reveal the key that authenticates values.
func TestNoncesAreRandom(t *testing.T) {
	t.Parallel()

	const nonceSize = 12
	k := keyringOf("one")
	testkit.CheckRandom(t, "nonce", nonceSize, func() []byte {
		value := seal(t, k, plainSeed)
		raw, err := base64.RawURLEncoding.DecodeString(value[strings.LastIndex(value, ".")+1:])
		testkit.NoError(t, err)

		return raw[:nonceSize]
	})
}

// Keys do not get into a log.
func TestKeysAreHidden(t *testing.T) {
	t.Parallel()

	k := keyringOf("one")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%t"} {
		for _, value := range []any{k, *k} {
			if got := fmt.Sprintf(verb, value); got != "[hidden]" {
				t.Errorf("%s of %T: got %s, want it hidden", verb, value, got)
			}
		}
	}

	var text, encoded bytes.Buffer
	slog.New(slog.NewTextHandler(&text, nil)).Info("test", "keyring", k)
	if !strings.HasSuffix(text.String(), " keyring=[hidden]\n") {
		t.Errorf("got the log line %s, want the keyring hidden", &text)
	}
	slog.New(slog.NewJSONHandler(&encoded, nil)).Info("test", "keyring", k)
	if !strings.HasSuffix(encoded.String(), `,"keyring":{}}`+"\n") {
		t.Errorf("got the log line %s, want an empty object", &encoded)
	}
}

// Open returns only what was sealed.
func FuzzOpen(f *testing.F) {
	k := keyringOf("one", "two")
	f.Add(sealedOne)
	f.Add(sealedTwo)
	for _, value := range malformed {
		f.Add(value)
	}

	f.Fuzz(func(t *testing.T, value string) {
		switch value {
		case sealedOne:
			checkOpen(t, k, value, plainSeed, false)
		case sealedTwo:
			checkOpen(t, k, value, plainSeed, true)
		default:
			checkRefused(t, k, value)
		}
	})
}

// The ID in a value is that of the key that encrypted it.
func TestKeyIDs(t *testing.T) {
	t.Parallel()

	k := New([][]byte{[]byte("first secret"), []byte("second secret")})
	ids := k.IDs()
	if len(ids) != 2 || ids[0] == ids[1] || len(ids[0]) != 8 {
		t.Fatalf("got %q, want two IDs of 8 characters", ids)
	}

	sealed, err := k.Seal([]byte("plain"), "context")
	if err != nil || KeyID(sealed) != ids[0] {
		t.Errorf("got %q and error %v, want %s", KeyID(sealed), err, ids[0])
	}
	for _, malformed := range []string{"", "v1", "v1.1234.AAAA", "v2" + sealed[2:]} {
		if got := KeyID(malformed); got != "" {
			t.Errorf("%q: got %q, want no ID", malformed, got)
		}
	}
	if got := (*Keyring)(nil).IDs(); got != nil {
		t.Errorf("without keys: got %q", got)
	}
}
