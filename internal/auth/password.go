package auth

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

// A stored hash says how it was made:
//
//	hs256$2a$10$...  bcrypt of prehash(password): ours
//	$2b$10$...       bcrypt of the password itself: the guide's app and others
//
// bcrypt alone looks at 72 bytes and repeats its key after a zero byte, so that
// different passwords verify alike (OWASP ASVS 5.0 6.2.8, 6.2.9). The HMAC makes
// every byte of any length count, and its base64 has no zero byte.
const prehashed = "hs256"

// prehashDomain keeps our pre-hash from being the plain SHA-256 of a password,
// which lists from elsewhere could be tried against.
const prehashDomain = "latchkey password v1"

// maxStoredCost bounds the cost of a stored hash. One of cost 31, imported or
// planted, would keep a core busy for the better part of a day.
const maxStoredCost = 14

// maxPlainBytes is what plain bcrypt looks at.
const maxPlainBytes = 72

// errUnusable says that a stored hash is nothing that a password can be checked with.
var errUnusable = errors.New("unusable hash")

var errCost = errors.New("bcrypt cost out of bounds")

// hasher makes and checks hashes of passwords, exactly as received. The work is done
// by the pool; each method is one job, so that all logins queue alike.
type hasher struct {
	cost int
	pool *pool
	// compare is bcrypt.CompareHashAndPassword; tests count its work.
	compare func(hash, password []byte) error
}

func newHasher(cost int, pool *pool) hasher {
	return hasher{cost, pool, bcrypt.CompareHashAndPassword}
}

func prehash(password string) []byte {
	mac := hmac.New(sha256.New, []byte(prehashDomain))
	mac.Write([]byte(password))
	return []byte(base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}

// hash makes a hash to store. Errors: those of pool.do.
func (h hasher) hash(ctx context.Context, password string) (string, error) {
	var b []byte
	var err error
	refused := h.pool.do(ctx, func() { b, err = bcrypt.GenerateFromPassword(prehash(password), h.cost) })
	if refused != nil {
		return "", refused
	}
	if err != nil {
		return "", fmt.Errorf("hash a password: %w", err)
	}
	return prehashed + string(b), nil
}

// verify tells whether password is that of stored, and whether stored should be
// made again: it is not our kind, or its cost has been raised since. A refusal
// takes the time of one hash of the current cost, whatever the reason, unless
// the stored one is of a higher cost: that shows until the owner logs in. Errors:
// errUnusable, and then it is a refusal as well; those of pool.do.
func (h hasher) verify(ctx context.Context, stored, password string) (ok, outdated bool, err error) {
	refused := h.pool.do(ctx, func() { ok, outdated, err = h.check(stored, password) })
	if refused != nil {
		return false, false, refused
	}
	return ok, outdated, err
}

// burn takes the time of checking a hash of a cost. Errors: those of pool.do.
func (h hasher) burn(ctx context.Context, password string, cost int) error {
	return h.pool.do(ctx, func() { h.waste(password, cost) })
}

// check is the work of verify.
func (h hasher) check(stored, password string) (ok, outdated bool, err error) {
	hash, ours := strings.CutPrefix(stored, prehashed)
	cost, err := bcrypt.Cost([]byte(hash))
	if err == nil && (cost > maxStoredCost) {
		err = errCost
	}
	if err != nil {
		h.waste(password, h.cost)
		return false, false, fmt.Errorf("%w: %w", errUnusable, err)
	}
	input := prehash(password)
	if !ours {
		if len(password) > maxPlainBytes || strings.IndexByte(password, 0) >= 0 {
			// Plain bcrypt would take it for another password.
			h.waste(password, h.cost)
			return false, false, nil
		}
		input = []byte(password)
	}
	err = h.compare([]byte(hash), input)
	switch {
	case errors.Is(err, bcrypt.ErrMismatchedHashAndPassword):
		// A hash from before the cost was raised was cheaper to check than one of
		// nobody is. Each step doubles the work: c + c + (c+1) + ... is the cost.
		for ; cost < h.cost; cost++ {
			h.waste(password, cost)
		}
		return false, false, nil
	case err != nil:
		h.waste(password, h.cost)
		return false, false, fmt.Errorf("%w: %w", errUnusable, err)
	}
	return true, !ours || cost < h.cost, nil
}

// waste is the work of burn.
func (h hasher) waste(password string, cost int) {
	_ = h.compare(dummy(cost), prehash(password))
}

// dummy is a hash of a cost that no password is known to have.
func dummy(cost int) []byte {
	const saltAndHash = "NotTheHashOfAnyPasswordu00000000000000000000000000000"
	return fmt.Appendf(nil, "$2a$%02d$%s", cost, saltAndHash)
}
