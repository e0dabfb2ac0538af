package hashpool

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"latchkey/internal/testkit"
)

// testPool returns a pool with one thread and the given cost.
func testPool(t *testing.T, cost int) *Pool {
	t.Helper()

	p := newPool(1, time.Minute)
	p.cost = cost
	t.Cleanup(p.Close)

	return p
}

// Every byte of a password matters, whatever its length. Plain bcrypt would accept some of these
// pairs as the same password.
func TestEveryByteCounts(t *testing.T) {
	t.Parallel()
	p := testPool(t, 4)
	a72 := strings.Repeat("a", 72)
	emoji := strings.Repeat("🔑", 64)
	for _, tc := range []struct{ password, other string }{
		{"abc", "abc\x00abc"},
		{"", "\x00"},
		{a72, a72 + "x"},
		{a72 + "x", a72 + "y"},
		{"password", "Password"},
		{"password", " password"},
		{"password", "password "},
		{"password\n", "password"},
		{"caf\u00e9", "cafe\u0301"},
		{emoji, emoji[:len(emoji)-4] + "🔒"},
		{emoji, emoji + "🔑"},
		{strings.Repeat("x", 1024), strings.Repeat("x", 1023) + "y"},
	} {
		stored, err := p.Hash(t.Context(), Anyone, tc.password)
		testkit.NoError(t, err)

		if ok, outdated, err := p.Verify(t.Context(), Anyone, stored, tc.password); !ok || outdated || err != nil {
			t.Errorf("Verify(%.20q): got ok %t, outdated %t, error %v, want true, false, no error",
				tc.password, ok, outdated, err)
		}

		if ok, _, _ := p.Verify(t.Context(), Anyone, stored, tc.other); ok {
			t.Errorf("Verify(%.20q) with the hash of %.20q: got a match, want none", tc.other, tc.password)
		}
	}
}

// Imported hashes of plain bcrypt match only the same password, and are outdated.
func TestPlainBcrypt(t *testing.T) {
	t.Parallel()
	p := testPool(t, 4)
	a72 := strings.Repeat("a", 72)
	for _, kind := range []string{"$2a$", "$2b$", "$2y$"} {
		for _, tc := range []struct {
			stored, entered string // passwords
			want            bool
		}{
			{"password123", "password123", true},
			{"password123", "password124", false},
			{a72[1:], a72[1:], true},
			{a72[1:], a72, false},
			{"abc", "abc\x00abc", false},
			{"", "\x00", false},
		} {
			plain, err := bcrypt.GenerateFromPassword([]byte(tc.stored), 4)
			testkit.NoError(t, err)

			stored := strings.Replace(string(plain), "$2a$", kind, 1)
			ok, outdated, err := p.Verify(t.Context(), Anyone, stored, tc.entered)
			if ok != tc.want || outdated != tc.want || err != nil {
				t.Errorf("Verify(%.12q) with the %s hash of %.12q: got ok %t, outdated %t, error %v, want %t, %t, no error",
					tc.entered, kind, tc.stored, ok, outdated, err, tc.want, tc.want)
			}
		}
	}

	// Hashes of "password123" from the npm package bcrypt.
	for _, stored := range []string{
		"$2b$10$qAfV7L/hlEPVVxptnLAV8uFMETqkP8stboSSztphgwxBzRxvie/5u",
		"$2b$04$X0OXgiw1ANMjf6Jfuh6RPezXOOaxhgx3U6ww8vRN9y.tzNbKqWZva",
	} {
		if ok, outdated, err := p.Verify(t.Context(), Anyone, stored, "password123"); !ok || !outdated || err != nil {
			t.Errorf("Verify with hash %s: got ok %t, outdated %t, error %v, want true, true, no error",
				stored, ok, outdated, err)
		}
	}
}

// A password of 72 bytes or more matches the imported hash of its first 72 bytes, as in the
// application that made the hash. It must not become a new hash: the bytes after the 72nd are
// unchecked, and a password of exactly 72 bytes may be the beginning of the owner's.
func TestLongImportedPassword(t *testing.T) {
	t.Parallel()

	// Hashes of two passwords of 80 bytes, made with bcryptjs 3.0.3.
	const (
		xsHash    = "$2b$04$VfzwmlN8qRbol7X1.5cDVuK03PVZc5DLF53RuLEpi2d9Reg4uDxqy"
		emojiHash = "$2b$04$vnvbYat0Xl.rA/pjYkAb6uz7FCBRyTNtyL0ZMGFChZ2cvI6WmGPGq"
	)

	for _, tc := range []struct {
		stored, entered string
		want            bool
	}{
		{xsHash, strings.Repeat("x", 80), true},
		{xsHash, strings.Repeat("x", 72) + "other end", true},
		{xsHash, strings.Repeat("x", 72), true},
		{xsHash, strings.Repeat("x", 71), false},
		{xsHash, strings.Repeat("x", 71) + "y" + strings.Repeat("x", 8), false},
		{emojiHash, strings.Repeat("😀", 20), true},
		{emojiHash, strings.Repeat("😀", 17) + "😁😀😀", false},
	} {
		ok, outdated, err := testPool(t, 5).Verify(t.Context(), Anyone, tc.stored, tc.entered)
		if ok != tc.want || outdated || err != nil {
			t.Errorf("Verify(%q) with hash %s: got ok %t, outdated %t, error %v, want %t, false, no error",
				tc.entered, tc.stored, ok, outdated, err, tc.want)
		}
	}

	// Up to 71 bytes are compared in full, so the hash can be replaced.
	short := strings.Repeat("x", 71)
	plain, err := bcrypt.GenerateFromPassword([]byte(short), 4)
	testkit.NoError(t, err)

	if ok, outdated, err := testPool(t, 5).Verify(t.Context(), Anyone, string(plain), short); !ok || !outdated || err != nil {
		t.Errorf("Verify with a password of 71 bytes: got ok %t, outdated %t, error %v, want true, true, no error",
			ok, outdated, err)
	}
}

func TestRaisedCost(t *testing.T) {
	t.Parallel()
	stored, err := testPool(t, 4).Hash(t.Context(), Anyone, "password")
	testkit.NoError(t, err)

	for cost, want := range map[int]bool{4: false, 5: true} {
		if ok, outdated, err := testPool(t, cost).Verify(t.Context(), Anyone, stored, "password"); !ok || outdated != want || err != nil {
			t.Errorf("Verify in a pool of cost %d: got ok %t, outdated %t, error %v, want true, %t, no error",
				cost, ok, outdated, err, want)
		}
	}

	// Lowering the cost does not weaken stored hashes.
	high, err := testPool(t, 5).Hash(t.Context(), Anyone, "password")
	testkit.NoError(t, err)

	if ok, outdated, _ := testPool(t, 4).Verify(t.Context(), Anyone, high, "password"); !ok || outdated {
		t.Errorf("Verify with a hash of higher cost: got ok %t, outdated %t, want true, false", ok, outdated)
	}
}

// An unusable hash matches no password, and cannot keep a core busy: a comparison at cost 31 would
// take most of a day.
func TestUnusableHash(t *testing.T) {
	t.Parallel()
	valid, err := testPool(t, 4).Hash(t.Context(), Anyone, "password")
	testkit.NoError(t, err)

	for _, stored := range []string{
		"", "x", "password", "hs256", "hs256password", strings.Replace(valid, "$04$", "$31$", 1), strings.Replace(valid, "$04$", "$15$", 1),
		strings.Replace(valid, "$04$", "$03$", 1), "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA",
	} {
		if ok, _, err := testPool(t, 4).Verify(t.Context(), Anyone, stored, "password"); ok || !errors.Is(err, ErrUnusable) {
			t.Errorf("Verify with hash %q: got ok %t, error %v, want false, ErrUnusable", stored, ok, err)
		}
	}
}

// The dummy hash must be valid. If bcrypt rejected it early, response times would reveal which
// accounts exist.
func TestDummyHash(t *testing.T) {
	t.Parallel()
	if err := bcrypt.CompareHashAndPassword(dummyHash(4), prehash("password")); !errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
		t.Errorf("compare a password with the dummy hash: got error %v, want a mismatch", err)
	}

	if cost, err := bcrypt.Cost(dummyHash(12)); cost != 12 || err != nil {
		t.Errorf("cost of dummyHash(12): got %d, error %v, want 12", cost, err)
	}
}

// Every mismatch takes the work of one comparison at the pool's cost, and so does a login to an
// unknown account. Otherwise response times would reveal which accounts exist. Each is one job, so
// that all logins wait equally long.
func TestMismatchesCostTheSame(t *testing.T) {
	t.Parallel()
	const poolCost = 7
	work := 0 // in bcrypt rounds
	p := testPool(t, poolCost)
	p.compare = func(hash, password []byte) error {
		cost, err := bcrypt.Cost(hash)
		if err != nil {
			t.Error(err)
		}

		work += 1 << cost
		return bcrypt.CompareHashAndPassword(hash, password)
	}

	stored := map[string]string{"unusable": "x", "too expensive": strings.Replace(string(dummyHash(4)), "$04$", "$31$", 1)}
	for _, cost := range []int{4, 5, 7} {
		hash, err := testPool(t, cost).Hash(t.Context(), Anyone, "password")
		testkit.NoError(t, err)

		stored[fmt.Sprintf("cost-%d prehash", cost)] = hash
		stored[fmt.Sprintf("cost-%d plain", cost)] = strings.TrimPrefix(hash, prehashPrefix)
	}

	for name, hash := range stored {
		for _, password := range []string{"wrong", strings.Repeat("w", 100)} {
			work = 0
			before := p.Hashes()
			ok, _, _ := p.Verify(t.Context(), Anyone, hash, password)
			if jobs := p.Hashes() - before; ok || work != 1<<poolCost || jobs != 1 {
				t.Errorf("Verify with the %s hash and a password of %d bytes: got ok %t, %d rounds in %d jobs, want false, %d rounds in 1 job",
					name, len(password), ok, work, jobs, 1<<poolCost)
			}
		}
	}

	work = 0
	before := p.Hashes()
	testkit.NoError(t, p.DummyCompare(t.Context(), Anyone, "wrong"))
	if jobs := p.Hashes() - before; work != 1<<poolCost || jobs != 1 {
		t.Errorf("DummyCompare: got %d rounds in %d jobs, want %d rounds in 1 job", work, jobs, 1<<poolCost)
	}
}

// The methods return the errors of Pool.do.
func TestPoolErrors(t *testing.T) {
	t.Parallel()
	p := testPool(t, 4)
	stored, err := p.Hash(t.Context(), Anyone, "password")
	testkit.NoError(t, err)

	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for want, ctx := range map[error]context.Context{context.Canceled: cancelled, ErrBusy: t.Context()} {
		if errors.Is(want, ErrBusy) {
			p.Close()
		}

		hash, err := p.Hash(ctx, Anyone, "password")
		if !errors.Is(err, want) || hash != "" {
			t.Errorf("Hash: got %q, error %v, want error %v", hash, err, want)
		}

		if ok, outdated, err := p.Verify(ctx, Anyone, stored, "password"); !errors.Is(err, want) || errors.Is(err, ErrUnusable) || ok || outdated {
			t.Errorf("Verify: got ok %t, outdated %t, error %v, want false, false, error %v",
				ok, outdated, err, want)
		}
		if err := p.DummyCompare(ctx, Anyone, "password"); !errors.Is(err, want) {
			t.Errorf("DummyCompare: got error %v, want %v", err, want)
		}
	}
}
