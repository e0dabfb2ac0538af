package auth

import (
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

// Bounds on the cost of a stored hash. A hash of cost 31, imported or planted,
// would keep a core busy for the better part of a day.
const (
	minStoredCost = 4
	maxStoredCost = 14
)

// maxPlainBytes is what plain bcrypt looks at.
const maxPlainBytes = 72

var errCost = errors.New("bcrypt cost out of bounds")

// hasher makes and checks hashes of passwords, exactly as received.
type hasher struct{ cost int }

func prehash(password string) []byte {
	mac := hmac.New(sha256.New, []byte(prehashDomain))
	mac.Write([]byte(password))
	return []byte(base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}

func (h hasher) hash(password string) (string, error) {
	b, err := bcrypt.GenerateFromPassword(prehash(password), h.cost)
	if err != nil {
		return "", fmt.Errorf("hash a password: %w", err)
	}
	return prehashed + string(b), nil
}

// verify tells whether password is that of stored, and whether stored should be
// made again: it is not our kind, or its cost has been raised since. It takes
// the time of one hash whatever the answer. An error means that stored is
// nothing that can be verified; then ok is false.
func (h hasher) verify(stored, password string) (ok, outdated bool, err error) {
	hash, ours := strings.CutPrefix(stored, prehashed)
	cost, err := bcrypt.Cost([]byte(hash))
	if err == nil && (cost < minStoredCost || cost > maxStoredCost) {
		err = errCost
	}
	if err != nil {
		h.burn(password)
		return false, false, err
	}
	input := prehash(password)
	if !ours {
		if len(password) > maxPlainBytes || strings.IndexByte(password, 0) >= 0 {
			// Plain bcrypt would take it for another password.
			h.burn(password)
			return false, false, nil
		}
		input = []byte(password)
	}
	err = bcrypt.CompareHashAndPassword([]byte(hash), input)
	switch {
	case errors.Is(err, bcrypt.ErrMismatchedHashAndPassword):
		return false, false, nil
	case err != nil:
		return false, false, err
	}
	return true, !ours || cost < h.cost, nil
}

// burn takes the time of a verify that fails.
func (h hasher) burn(password string) {
	_ = bcrypt.CompareHashAndPassword(h.dummy(), prehash(password))
}

// dummy is a hash of the current cost that no password is known to have.
func (h hasher) dummy() []byte {
	const saltAndHash = "NotTheHashOfAnyPasswordu00000000000000000000000000000"
	return fmt.Appendf(nil, "$2a$%02d$%s", h.cost, saltAndHash)
}
