package seal

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"

	"latchkey/internal/token"
)

// A sealed record ends with a line that contains its MAC.
const (
	macName   = "\nmac="
	macLength = len(macName) + 43
)

// Keys sign records for one purpose. The first key signs; all are accepted.
type Keys [][]byte

// New derives the keys for a purpose from secrets. A record that was sealed for another purpose is
// not accepted.
func New(secrets [][]byte, purpose string) Keys {
	keys := make(Keys, len(secrets))
	for i, secret := range secrets {
		key, err := hkdf.Key(sha256.New, secret, nil, purpose, sha256.Size)
		if err != nil {
			panic(err) // only for an invalid key length, which is constant here
		}
		keys[i] = key
	}

	return keys
}

// Seal appends a MAC to the record with the given name. The MAC also covers the name, so that a
// record cannot be copied to another one. All names must have the same length.
func (k Keys) Seal(name string, record []byte) []byte {
	return append(record, macOf(k[0], name, record)...)
}

// Open returns the record in a sealed value. It returns false if the MAC is wrong.
func (k Keys) Open(name string, value []byte) (record []byte, ok bool) {
	if len(value) < macLength {
		return nil, false
	}

	record = value[:len(value)-macLength]
	got := value[len(record):]
	for _, key := range k {
		if hmac.Equal([]byte(macOf(key, name, record)), got) {
			return record, true
		}
	}

	return nil, false
}

// macOf returns the last line of a sealed record. The input of the MAC is unambiguous, because all
// names have the same length.
func macOf(key []byte, name string, record []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(name))
	mac.Write(record)

	return macName + token.Encode(mac.Sum(nil))
}
