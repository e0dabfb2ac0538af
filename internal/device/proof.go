package device

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
)

// MaxAccounts is the maximum number of accounts for which a device keeps proofs.
const MaxAccounts = 8

const (
	nameBytes  = 16
	proofBytes = 16
)

// encoding is strict: a lenient decoder would accept several encodings of the same name.
var encoding = base64.RawURLEncoding.Strict()

// Proofs creates and checks the value that a device keeps. The value contains the device's random
// name and a proof for each account that has logged in on the device:
//
//	<name>.<proof>.<proof>...
//
// A proof is an HMAC of the device name and the email of the account, so it is useless for
// other devices and accounts.
type Proofs struct {
	keys [][]byte // the first key creates proofs; all keys verify them
}

// NewProofs returns Proofs for a list of secrets. The first secret creates proofs; all secrets
// verify them.
func NewProofs(secrets [][]byte) Proofs {
	var p Proofs
	for _, secret := range secrets {
		// Derive a separate key, so that proofs are never valid where the secret is used for
		// another purpose.
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte("latchkey device v1"))
		p.keys = append(p.keys, mac.Sum(nil))
	}

	return p
}

// Known returns the name of the device that keeps value, if the account with the given canonical
// email has logged in on that device. Otherwise it returns "".
func (p Proofs) Known(value, email string) string {
	name, proofs := parse(value)
	if name == "" {
		return ""
	}

	for _, key := range p.keys {
		want := []byte(prove(key, name, email))
		isKnown := slices.ContainsFunc(proofs, func(got string) bool {
			return hmac.Equal([]byte(got), want)
		})
		if isKnown {
			return name
		}
	}

	return ""
}

// Add adds a proof for the account with the given canonical email, which has just logged in, to the
// value that its device keeps, and returns the new value. If value is malformed, the device gets a
// new name. If there would be more than MaxAccounts proofs, Add drops the one whose account has not
// logged in for the longest time.
func (p Proofs) Add(value, email string) string {
	name, proofs := parse(value)
	if name == "" {
		raw := make([]byte, nameBytes)
		_, _ = rand.Read(raw) // never fails: crypto/rand crashes the program instead
		name = encoding.EncodeToString(raw)
	}

	for _, key := range p.keys {
		old := prove(key, name, email)
		proofs = slices.DeleteFunc(proofs, func(got string) bool { return got == old })
	}

	proofs = append([]string{prove(p.keys[0], name, email)}, proofs...)
	proofs = proofs[:min(len(proofs), MaxAccounts)]

	return name + "." + strings.Join(proofs, ".")
}

// parse returns the device name and the proofs in a value. The name is "" if the value is malformed.
func parse(value string) (name string, proofs []string) {
	parts := strings.Split(value, ".")
	raw, err := encoding.DecodeString(parts[0])
	if err != nil || len(raw) != nameBytes || len(parts) > 1+MaxAccounts {
		return "", nil
	}

	return parts[0], parts[1:]
}

// prove returns the proof that an account has logged in on a device.
func prove(key []byte, name, email string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(name + "." + email))

	return encoding.EncodeToString(mac.Sum(nil)[:proofBytes])
}
