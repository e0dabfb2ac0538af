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
	nameBytes = 16
	macBytes  = 16
)

// encoding is strict: a lenient decoder would accept several encodings of the same name.
var encoding = base64.RawURLEncoding.Strict()

// Signer creates and verifies the value that a device keeps. The value contains the device's random
// name and a proof for each account that has logged in on the device:
//
//	<name>.<account ID>:<generation>:<MAC>.<account ID>:<generation>:<MAC>...
//
// The MAC covers the device name, the account ID and the account's device generation. So a proof is
// useless for other devices and accounts, and becomes invalid when the account gets a new
// generation: see user.User.DeviceGeneration.
type Signer struct {
	keys [][]byte // the first key creates proofs; all keys verify them
}

// NewSigner returns a Signer for a list of secrets. The first secret creates proofs; all secrets
// verify them.
func NewSigner(secrets [][]byte) Signer {
	var s Signer
	for _, secret := range secrets {
		// Derive a separate key, so that proofs are never valid where the secret is used for
		// another purpose.
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte("latchkey device v2"))
		s.keys = append(s.keys, mac.Sum(nil))
	}

	return s
}

// Proofs are the verified proofs of a device. The zero value has none.
type Proofs struct {
	name     string    // of the device
	accounts []account // the most recent login first
}

// account is an account ID with one of the account's device generations.
type account struct{ id, generation string }

// Empty reports whether the device has proved nothing.
func (p Proofs) Empty() bool { return len(p.accounts) == 0 }

// Device returns the name of the device if it is known to the account with the given ID and device
// generation, and "" otherwise.
func (p Proofs) Device(id, generation string) string {
	if !slices.Contains(p.accounts, account{id, generation}) {
		return ""
	}

	return p.name
}

// WasKnown reports whether the device is known to an account, or was in an earlier generation.
func (p Proofs) WasKnown(id string) bool {
	return slices.ContainsFunc(p.accounts, func(a account) bool { return a.id == id })
}

// Read returns the genuine proofs in the value that a device keeps. It ignores all others.
func (s Signer) Read(value string) Proofs {
	name, rest, _ := strings.Cut(value, ".")
	proofs := strings.Split(rest, ".")

	raw, err := encoding.DecodeString(name)
	if err != nil || len(raw) != nameBytes || len(proofs) > MaxAccounts {
		return Proofs{}
	}

	p := Proofs{name: name}
	for _, proof := range proofs {
		fields := strings.Split(proof, ":")
		if len(fields) != 3 {
			continue
		}

		a := account{id: fields[0], generation: fields[1]}
		isGenuine := slices.ContainsFunc(s.keys, func(key []byte) bool {
			return hmac.Equal([]byte(fields[2]), []byte(prove(key, name, a)))
		})
		if isGenuine {
			p.accounts = append(p.accounts, a)
		}
	}

	if p.Empty() {
		return Proofs{}
	}

	return p
}

// Add returns the value for a device with the proofs p that has just logged in to an account. A
// device without proofs gets a new name. A proof for an earlier generation of the account is replaced.
// If there would be more than MaxAccounts proofs, Add drops the one whose account has not logged in
// for the longest time.
func (s Signer) Add(p Proofs, id, generation string) string {
	if p.Empty() {
		raw := make([]byte, nameBytes)
		_, _ = rand.Read(raw) // never fails: crypto/rand crashes the program instead
		p.name = encoding.EncodeToString(raw)
	}

	accounts := []account{{id, generation}}
	for _, a := range p.accounts {
		if a.id != id && len(accounts) < MaxAccounts {
			accounts = append(accounts, a)
		}
	}

	value := p.name
	for _, a := range accounts {
		value += "." + a.id + ":" + a.generation + ":" + prove(s.keys[0], p.name, a)
	}

	return value
}

// prove returns the MAC of a proof. Its input is unambiguous, because a name has a fixed length and
// an ID contains no colon.
func prove(key []byte, name string, a account) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(name + "." + a.id + ":" + a.generation))

	return encoding.EncodeToString(mac.Sum(nil)[:macBytes])
}
