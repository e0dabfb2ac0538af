package hashpool

import (
	"context"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// No stored value matches a wrong password. Verify does at least the work of a comparison at the pool's
// cost, and at most that of one at maxStoredCost.
func FuzzStoredHash(f *testing.F) {
	const cost = 10
	for _, stored := range []string{
		"", prehashPrefix, string(dummyHash(4)), prehashPrefix + string(dummyHash(10)), string(dummyHash(31)), "$2b$99$" + strings.Repeat("a", 53), "$2a$-1$" + strings.Repeat("a", 53), "$1$abc", prehashPrefix + prehashPrefix + string(dummyHash(5)),
	} {
		f.Add(stored, "password123")
		f.Add(stored, strings.Repeat("é", 40)+"\x00")
	}

	p := newPool(1, time.Minute)
	p.cost = cost
	f.Cleanup(p.Close)

	var work int // in bcrypt rounds
	p.compare = func(hash, _ []byte) error {
		c, err := bcrypt.Cost(hash)
		if err == nil {
			work += 1 << c
			err = bcrypt.ErrMismatchedHashAndPassword
		}

		return err
	}

	f.Fuzz(func(t *testing.T, stored, password string) {
		work = 0
		ok, _, _ := p.Verify(context.Background(), Anyone, stored, password)
		if ok {
			t.Errorf("Verify with hash %q and password %q: got a match, want none", stored, password)
		}

		if work < 1<<cost || work > 1<<maxStoredCost {
			t.Errorf("Verify with hash %q: got %d rounds, want %d to %d",
				stored, work, 1<<cost, 1<<maxStoredCost)
		}
	})
}
