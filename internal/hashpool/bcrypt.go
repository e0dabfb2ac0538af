package hashpool

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

// prehashPrefix is the prefix of the hashes that this package makes. There are two formats:
//
//	hs256$2a$10$...  bcrypt of prehash(password)
//	$2b$10$...       bcrypt of the password itself, imported from another application, which
//	                 ignored every byte of the password after the 72nd
//
// Plain bcrypt reads only 72 bytes, and cannot tell "abc" from "abc\x00abc", so that
// different passwords match the same hash (OWASP ASVS 5.0 6.2.8, 6.2.9). The HMAC covers
// every byte of passwords of any length, and in base64 it has no zero bytes.
const prehashPrefix = "hs256"

// prehashDomain makes the prehash differ from a plain SHA-256 of the password. Otherwise,
// leaked SHA-256 hashes from other sites could be tested against stolen bcrypt hashes
// (password shucking).
const prehashDomain = "latchkey password v1"

// maxStoredCost is the highest bcrypt cost accepted in a stored hash. Comparing a password with a
// hash of cost 31, imported or injected by an attacker, would keep a core busy for most of a day.
const maxStoredCost = 14

// maxPlainBytes is the number of password bytes that plain bcrypt reads.
const maxPlainBytes = 72

// ErrUnusable is returned for a stored value that is not a supported hash.
var ErrUnusable = errors.New("unusable hash")

var errCost = errors.New("bcrypt cost too high")

// Hash returns the hash to store for a password. Every byte of the password matters.
// Errors: ErrBusy, ctx.Err().
func (p *Pool) Hash(ctx context.Context, lane Lane, password string) (string, error) {
	var hash []byte
	var err error

	poolErr := p.do(ctx, lane, func() { hash, err = bcrypt.GenerateFromPassword(prehash(password), p.cost) })
	if poolErr != nil {
		return "", poolErr
	}

	if err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}

	return prehashPrefix + string(hash), nil
}

// Verify reports whether password matches a stored hash. If it does, Verify also reports
// whether the hash is outdated: it was imported, or its cost is lower than the pool's.
//
// An imported hash of a password of 72 bytes or more is never outdated, although it ignores
// the bytes after the 72nd. Nobody has checked those, so a hash that includes them could lock
// out the owner. Only a new password replaces it.
//
// Every mismatch, whatever the reason, takes as long as one comparison at the pool's cost, so
// that response times do not reveal which accounts exist (OWASP ASVS 5.0 6.3.8). Only a
// stored hash with a higher cost takes longer.
//
// Errors: ErrUnusable if stored is not a supported hash, which takes as long as a mismatch;
// ErrBusy; ctx.Err().
func (p *Pool) Verify(ctx context.Context, lane Lane, stored, password string) (ok, outdated bool, err error) {
	poolErr := p.do(ctx, lane, func() { ok, outdated, err = p.verify(stored, password) })
	if poolErr != nil {
		return false, false, poolErr
	}

	return ok, outdated, err
}

// DummyCompare takes as long as a Verify that finds a mismatch. Call it if the account does
// not exist or has no password. Errors: ErrBusy, ctx.Err().
func (p *Pool) DummyCompare(ctx context.Context, lane Lane, password string) error {
	return p.do(ctx, lane, func() { p.dummyCompare(password, p.cost) })
}

// verify does the work of Verify.
func (p *Pool) verify(stored, password string) (ok, outdated bool, err error) {
	hash, isPrehashed := strings.CutPrefix(stored, prehashPrefix)

	cost, err := bcrypt.Cost([]byte(hash))
	if err == nil && cost > maxStoredCost {
		err = errCost
	}
	if err != nil {
		p.dummyCompare(password, p.cost)
		return false, false, fmt.Errorf("%w: %w", ErrUnusable, err)
	}

	input := prehash(password)
	if !isPrehashed {
		if strings.IndexByte(password, 0) >= 0 {
			// Plain bcrypt takes "abc\x00abc" for "abc".
			p.dummyCompare(password, p.cost)
			return false, false, nil
		}

		input = []byte(password[:min(len(password), maxPlainBytes)])
	}

	err = p.compare([]byte(hash), input)
	switch {
	case errors.Is(err, bcrypt.ErrMismatchedHashAndPassword):
		// A hash from before the cost was raised took less time than one at the pool's cost.
		// Each step doubles the work: cost + cost + (cost+1) + ... up to p.cost-1 adds up to
		// the work of p.cost.
		for ; cost < p.cost; cost++ {
			p.dummyCompare(password, cost)
		}

		return false, false, nil
	case err != nil:
		p.dummyCompare(password, p.cost)
		return false, false, fmt.Errorf("%w: %w", ErrUnusable, err)
	}

	if !isPrehashed {
		return true, len(password) < maxPlainBytes, nil
	}

	return true, cost < p.cost, nil
}

// dummyCompare takes as long as comparing password with a hash of the given cost.
func (p *Pool) dummyCompare(password string, cost int) {
	_ = p.compare(dummyHash(cost), prehash(password))
}

// dummyHash returns a hash of the given cost that no known password matches.
func dummyHash(cost int) []byte {
	const saltAndHash = "NotTheHashOfAnyPasswordu00000000000000000000000000000"
	return fmt.Appendf(nil, "$2a$%02d$%s", cost, saltAndHash)
}

// prehash returns a digest of password that is short enough for bcrypt.
func prehash(password string) []byte {
	mac := hmac.New(sha256.New, []byte(prehashDomain))
	mac.Write([]byte(password))
	return []byte(base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}
