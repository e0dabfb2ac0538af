package factor

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // see Code
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"strings"
	"time"
)

// The parameters of authenticator apps. Most apps ignore other parameters in the URI and would
// show wrong codes, so these are not configurable.
const (
	// Digits is the number of digits of a code.
	Digits = 6
	// Period is the time for which an app shows a code (RFC 6238, X).
	Period = 30 * time.Second
	// Skew is the number of steps by which the clock of an app may differ from the server's in each
	// direction (RFC 6238, section 5.2).
	Skew = 1
	// SecretSize is the length of a secret in bytes: 160 bits, as RFC 4226, section 4, R6
	// recommends.
	SecretSize = 20
)

// modulus is 10 to the power of Digits.
const modulus = 1_000_000

// maxClockError is the difference between two clocks that MatchesClock still recognizes. It covers
// a clock that is wrong by half a day.
const maxClockError = 12 * time.Hour

var secretEncoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// NewSecret returns a random secret of SecretSize bytes for an authenticator app.
func NewSecret() []byte {
	secret := make([]byte, SecretSize)
	_, _ = rand.Read(secret) // never fails: crypto/rand crashes the program instead

	return secret
}

// EncodeSecret returns a secret in base32 without padding (RFC 4648), which users can type into an
// app.
func EncodeSecret(secret []byte) string { return secretEncoding.EncodeToString(secret) }

// Step returns the number of whole periods from the Unix epoch to t (RFC 6238, T).
func Step(t time.Time) int64 { return t.Unix() / int64(Period/time.Second) }

// Code returns the code of a secret for a step: RFC 6238 with HMAC-SHA-1. That SHA-1 is not
// collision-resistant does not weaken HMAC (RFC 6194, section 3.3), and most apps support no other
// hash.
func Code(secret []byte, step int64) string {
	// 1. The HMAC of the step.
	counter, _ := binary.Append(nil, binary.BigEndian, step) // never fails for an int64
	mac := hmac.New(sha1.New, secret)
	mac.Write(counter)
	sum := mac.Sum(nil)

	// 2. Four bytes of it, at an offset that depends on its last byte (RFC 4226, section 5.3).
	offset := sum[len(sum)-1] & 0xf
	truncated := binary.BigEndian.Uint32(sum[offset:]) & 0x7fffffff

	// 3. The last digits of that number.
	return fmt.Sprintf("%0*d", Digits, truncated%modulus)
}

// Match returns the time step whose code equals code. The step is at most Skew steps from now, and
// later than after, the last accepted step: a code must not be accepted twice (RFC 6238, section
// 5.2; OWASP ASVS 5.0 6.5.1). The caller must store the step in one conditional update, so that of
// two simultaneous requests only one succeeds.
//
// If several steps have the same code, Match returns the last one. With an earlier step, the same
// code would be accepted again.
//
// code must be normalized: see NormalizeCode. Match compares code with every candidate in constant
// time.
func Match(secret []byte, code string, now time.Time, after int64) (step int64, ok bool) {
	current := Step(now)
	for candidate := current - Skew; candidate <= current+Skew; candidate++ {
		isEqual := hmac.Equal([]byte(Code(secret, candidate)), []byte(code))
		if isEqual && candidate > after {
			step = candidate
			ok = true
		}
	}

	return step, ok
}

// MatchesClock reports whether code is the code of the secret at another time, at most 12 hours
// before or after now. off is that time minus now, in whole periods: it is positive if the clock of
// the app is fast. Of several such times, MatchesClock returns the one closest to now.
//
// It explains to the user why a code does not work, and only while the app is being set up. Never
// accept a login because of it: it matches thousands of codes.
func MatchesClock(secret []byte, code string, now time.Time) (off time.Duration, ok bool) {
	current := Step(now)
	for distance := int64(0); distance <= int64(maxClockError/Period); distance++ {
		for _, difference := range []int64{distance, -distance} {
			if hmac.Equal([]byte(Code(secret, current+difference)), []byte(code)) {
				return time.Duration(difference) * Period, true
			}
		}
	}

	return 0, false
}

// NormalizeCode removes all white space from what a user typed, because apps show a space inside a
// code. It returns false unless exactly Digits ASCII digits are left.
func NormalizeCode(s string) (code string, ok bool) {
	code = strings.Join(strings.Fields(s), "")
	if len(code) != Digits || strings.Trim(code, "0123456789") != "" {
		return "", false
	}

	return code, true
}
