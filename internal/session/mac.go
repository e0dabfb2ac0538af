package session

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"slices"
	"sync"
)

// A record ends in a MAC of the session ID and the record's text: HMAC-SHA-256, truncated to
// 128 bits. Without it, an attacker with write access to Redis could put another user's ID
// into their own record. The MAC covers the session ID, so that a record cannot be copied to
// another session.
const (
	macName  = "mac="
	macBytes = 16
	macLen   = len(macName) + 22 // in base64url
)

// macKeys are derived from the secrets for this purpose only. The first one signs; all are
// accepted, so that a secret can be replaced without logging anyone out. Each key is a pool
// of keyed hashes, because creating one costs as much as computing the MAC of a record.
type macKeys []*sync.Pool

func newMACKeys(secrets [][]byte) macKeys {
	keys := make(macKeys, len(secrets))

	for i, secret := range secrets {
		key, err := hkdf.Key(sha256.New, secret, nil, "latchkey session record v1", sha256.Size)
		if err != nil {
			panic(err) // only for an invalid key length, which is constant here
		}

		keys[i] = &sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}
	}

	return keys
}

// verify reports whether a record ends in a valid MAC made with any of the keys.
func (k macKeys) verify(id, record string) bool {
	if len(record) < macLen {
		return false
	}

	textLen := len(record) - macLen
	text := record[:textLen]
	mac := record[textLen:]

	return slices.ContainsFunc(k, func(key *sync.Pool) bool {
		return hmac.Equal([]byte(macOf(key, id, text)), []byte(mac))
	})
}

// macOf returns the last line of the record with the given ID and text.
func macOf(key *sync.Pool, id, text string) string {
	h := key.Get().(hash.Hash) //nolint:forcetypeassert // see newMACKeys
	defer key.Put(h)

	h.Reset()
	h.Write([]byte(id))
	h.Write([]byte(text))
	return macName + base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:macBytes])
}
