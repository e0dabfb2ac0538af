package oauth

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"

	"latchkey/internal/token"
)

// A sealed record ends with a line that contains its MAC.
const (
	sealName   = "\nmac="
	sealLength = len(sealName) + 43
)

// sealKeys sign the records of flows. Without a MAC, an attacker with write access to Redis could
// put a victim's session into their own flow, and so link their external account to the victim's
// account. The first key signs; all are accepted.
type sealKeys [][]byte

// newSealKeys derives the keys from secrets.
func newSealKeys(secrets [][]byte) sealKeys {
	keys := make(sealKeys, len(secrets))
	for i, secret := range secrets {
		key, err := hkdf.Key(sha256.New, secret, nil, "latchkey sign-in flow v1", sha256.Size)
		if err != nil {
			panic(err) // only for an invalid key length, which is constant here
		}
		keys[i] = key
	}

	return keys
}

// seal appends a MAC to the record with the given name. The MAC also covers the name, so that a
// record cannot be copied to another flow.
func (k sealKeys) seal(name string, record []byte) []byte {
	return append(record, sealOf(k[0], name, record)...)
}

// open returns the record in a sealed value. It returns false if the MAC is wrong.
func (k sealKeys) open(name string, value []byte) (record []byte, ok bool) {
	if len(value) < sealLength {
		return nil, false
	}

	record = value[:len(value)-sealLength]
	got := value[len(record):]
	for _, key := range k {
		if hmac.Equal([]byte(sealOf(key, name, record)), got) {
			return record, true
		}
	}

	return nil, false
}

// sealOf returns the last line of a sealed record. The input of the MAC is unambiguous, because all
// names have the same length.
func sealOf(key []byte, name string, record []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(name))
	mac.Write(record)

	return sealName + token.Encode(mac.Sum(nil))
}
