package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// testHasher hashes with a pool of its own.
func testHasher(t *testing.T, cost int) hasher {
	t.Helper()
	p := newPool(1, time.Minute)
	t.Cleanup(p.close)
	return newHasher(cost, p)
}

// Every byte of a password counts, at any length: what bcrypt alone verifies
// alike is told apart.
func TestEveryByteCounts(t *testing.T) {
	t.Parallel()
	h := testHasher(t, 4)
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
		stored, err := h.hash(t.Context(), tc.password)
		if err != nil {
			t.Fatal(err)
		}
		if ok, outdated, err := h.verify(t.Context(), stored, tc.password); !ok || outdated || err != nil {
			t.Errorf("%.20q: ok %v, outdated %v, %v", tc.password, ok, outdated, err)
		}
		if ok, _, _ := h.verify(t.Context(), stored, tc.other); ok {
			t.Errorf("%.20q verifies %.20q", tc.other, tc.password)
		}
	}
}

// bcrypt of the password itself, as other software stores it, is verified as
// exactly as bcrypt allows, and is due for a better hash.
func TestPlainBcrypt(t *testing.T) {
	t.Parallel()
	h := testHasher(t, 4)
	a72 := strings.Repeat("a", 72)
	for _, kind := range []string{"$2a$", "$2b$", "$2y$"} {
		for _, tc := range []struct {
			password, given string
			want            bool
		}{
			{"password123", "password123", true},
			{"password123", "password124", false},
			{a72, a72, true},
			{a72, a72 + "x", false},
			{"abc", "abc\x00abc", false},
			{"", "\x00", false},
		} {
			plain, err := bcrypt.GenerateFromPassword([]byte(tc.password), 4)
			if err != nil {
				t.Fatal(err)
			}
			stored := strings.Replace(string(plain), "$2a$", kind, 1)
			ok, outdated, err := h.verify(t.Context(), stored, tc.given)
			if ok != tc.want || outdated != tc.want || err != nil {
				t.Errorf("%s %.12q given %.12q: ok %v, outdated %v, %v", kind, tc.password, tc.given, ok, outdated, err)
			}
		}
	}
	// And what is in a database of the guide.
	for _, stored := range nodeHashes {
		if ok, outdated, err := h.verify(t.Context(), stored, "password123"); !ok || !outdated || err != nil {
			t.Errorf("%s: ok %v, outdated %v, %v", stored, ok, outdated, err)
		}
	}
}

func TestRaisedCost(t *testing.T) {
	t.Parallel()
	old, err := testHasher(t, 4).hash(t.Context(), "password")
	if err != nil {
		t.Fatal(err)
	}
	for cost, want := range map[int]bool{4: false, 5: true} {
		if ok, outdated, err := testHasher(t, cost).verify(t.Context(), old, "password"); !ok || outdated != want || err != nil {
			t.Errorf("cost %d: ok %v, outdated %v, %v", cost, ok, outdated, err)
		}
	}
	// A policy that was lowered does not weaken what is stored.
	high, err := testHasher(t, 5).hash(t.Context(), "password")
	if err != nil {
		t.Fatal(err)
	}
	if ok, outdated, _ := testHasher(t, 4).verify(t.Context(), high, "password"); !ok || outdated {
		t.Errorf("a higher cost: ok %v, outdated %v", ok, outdated)
	}
}

// What cannot be verified is nobody's, and cannot keep a core busy: cost 31
// would take the better part of a day.
func TestUnusableHash(t *testing.T) {
	t.Parallel()
	good, err := testHasher(t, 4).hash(t.Context(), "password")
	if err != nil {
		t.Fatal(err)
	}
	for _, stored := range []string{
		"", "x", "password", "hs256", "hs256password", strings.Replace(good, "$04$", "$31$", 1), strings.Replace(good, "$04$", "$15$", 1),
		strings.Replace(good, "$04$", "$03$", 1), "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA",
	} {
		if ok, _, err := testHasher(t, 4).verify(t.Context(), stored, "password"); ok || !errors.Is(err, errUnusable) {
			t.Errorf("%q: ok %v, %v", stored, ok, err)
		}
	}
}

// burn must do the work of a real comparison, or the time tells who has an
// account: the hash that it compares with has to be one that bcrypt accepts.
func TestBurnWorks(t *testing.T) {
	t.Parallel()
	if err := bcrypt.CompareHashAndPassword(dummy(4), prehash("password")); !errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
		t.Errorf("comparing with the dummy: %v", err)
	}
	if cost, err := bcrypt.Cost(dummy(12)); cost != 12 || err != nil {
		t.Errorf("cost %d, %v", cost, err)
	}
}

// nodeHashes were made by the bcrypt package of npm, which the guide's app uses.
var nodeHashes = []string{
	"$2b$10$qAfV7L/hlEPVVxptnLAV8uFMETqkP8stboSSztphgwxBzRxvie/5u",
	"$2b$04$X0OXgiw1ANMjf6Jfuh6RPezXOOaxhgx3U6ww8vRN9y.tzNbKqWZva",
}

// A refusal costs the work of one hash of the current cost, whatever the reason:
// otherwise the time tells who has an account.
func TestRefusalsCostTheSame(t *testing.T) {
	t.Parallel()
	const policy = 7
	work := 0
	h := testHasher(t, policy)
	h.compare = func(hash, password []byte) error {
		cost, err := bcrypt.Cost(hash)
		if err != nil {
			t.Error(err)
		}
		work += 1 << cost
		return bcrypt.CompareHashAndPassword(hash, password)
	}
	stored := map[string]string{"unusable": "x", "of an impossible cost": strings.Replace(string(dummy(4)), "$04$", "$31$", 1)}
	for _, cost := range []int{4, 5, 7} {
		hash, err := testHasher(t, cost).hash(t.Context(), "password")
		if err != nil {
			t.Fatal(err)
		}
		stored[fmt.Sprint("ours of cost ", cost)] = hash
		stored[fmt.Sprint("plain of cost ", cost)] = strings.TrimPrefix(hash, prehashed)
	}
	for name, hash := range stored {
		for _, given := range []string{"wrong", strings.Repeat("w", 100)} {
			work = 0
			if ok, _, _ := h.verify(t.Context(), hash, given); ok || work != 1<<policy {
				t.Errorf("%s, %d bytes given: ok %v, work %d, want %d", name, len(given), ok, work, 1<<policy)
			}
		}
	}
}

// A login is one job, whoever it is about, so that all wait alike; and a hasher hands
// on what the pool says.
func TestHasherJobs(t *testing.T) {
	t.Parallel()
	old, err := testHasher(t, 4).hash(t.Context(), "password")
	if err != nil {
		t.Fatal(err)
	}
	h := testHasher(t, 6)
	for _, stored := range []string{"x", old, strings.TrimPrefix(old, prehashed)} {
		for _, given := range []string{"wrong", "password", strings.Repeat("w", 100)} {
			before := h.pool.done.Load()
			_, _, _ = h.verify(t.Context(), stored, given)
			if n := h.pool.done.Load() - before; n != 1 {
				t.Errorf("%.12q: %d jobs", stored, n)
			}
		}
	}
	before := h.pool.done.Load()
	if err := h.burn(t.Context(), "password", h.cost); err != nil || h.pool.done.Load() != before+1 {
		t.Errorf("burn: %v, %d jobs", err, h.pool.done.Load()-before)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for want, ctx := range map[error]context.Context{context.Canceled: gone, ErrBusy: t.Context()} {
		if errors.Is(want, ErrBusy) {
			h.pool.close()
		}
		hash, err := h.hash(ctx, "password")
		if !errors.Is(err, want) || hash != "" {
			t.Errorf("hash: %q, %v, want %v", hash, err, want)
		}
		if ok, outdated, err := h.verify(ctx, old, "password"); !errors.Is(err, want) || errors.Is(err, errUnusable) || ok || outdated {
			t.Errorf("verify: %v, %v, %v, want %v", ok, outdated, err, want)
		}
		if err := h.burn(ctx, "password", 4); !errors.Is(err, want) {
			t.Errorf("burn: %v, want %v", err, want)
		}
	}
}
