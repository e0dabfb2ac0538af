package httpapi

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
)

// A device is remembered by a cookie of its own, which outlives the session: the
// device's random name, and for each account that has logged in on it a proof of that.
//
//	<name>.<proof>.<proof>...
//
// It opens nothing. With it an owner's login has its own limit, which no stranger can
// use up, and a login without it is one from a new device. A proof is an HMAC over the
// name and the address of the account, so nothing is stored, and it is worthless for
// any other device or account.
type devices struct {
	cookie Cookie
	keys   [][]byte // the first makes proofs, all are accepted
}

const (
	deviceMaxAge = 400 * 24 * 60 * 60 // seconds; browsers keep no cookie for longer
	// maxDeviceAccounts is how many accounts a device is remembered for.
	maxDeviceAccounts = 8
	deviceNameBytes   = 16
	deviceProofBytes  = 16
)

var deviceEncoding = base64.RawURLEncoding.Strict()

// newDevices returns the devices of a server. Their cookie goes back to its host only,
// whoever shares the session's.
func newDevices(session Cookie, secrets [][]byte) devices {
	d := devices{cookie: Cookie{Name: "device", Secure: session.Secure, SameSite: session.SameSite}}
	if session.SameSite == http.SameSiteStrictMode {
		// It opens nothing, and a browser that comes back from a provider would be a new one.
		d.cookie.SameSite = http.SameSiteLaxMode
	}
	if session.Secure {
		d.cookie.Name = "__Host-device"
	}
	for _, secret := range secrets {
		// A key of its own, so that no proof is a session's handle.
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte("latchkey device v1"))
		d.keys = append(d.keys, mac.Sum(nil))
	}
	return d
}

// read returns the name of the device and the proofs that it brings.
func (d devices) read(r *http.Request) (name string, proofs []string) {
	parts := strings.Split(d.cookie.token(r), ".")
	raw, err := deviceEncoding.DecodeString(parts[0])
	if err != nil || len(raw) != deviceNameBytes || len(parts) > 1+maxDeviceAccounts {
		return "", nil
	}
	return parts[0], parts[1:]
}

// known returns the name of the device that a request comes from, if the account of an
// address has logged in on it, else "".
func (d devices) known(r *http.Request, account string) string {
	name, proofs := d.read(r)
	if name == "" {
		return ""
	}
	for _, key := range d.keys {
		want := proof(key, name, account)
		if slices.ContainsFunc(proofs, func(p string) bool { return hmac.Equal([]byte(p), []byte(want)) }) {
			return name
		}
	}
	return ""
}

// remember has the device of a request remembered for an account, which has just
// logged in on it. Not where the session is to end with the browser: that is a computer
// of others.
func (d devices) remember(w http.ResponseWriter, r *http.Request, account string) {
	name, proofs := d.read(r)
	if name == "" {
		raw := make([]byte, deviceNameBytes)
		_, _ = rand.Read(raw) // never fails: crypto/rand ends the program instead
		name = deviceEncoding.EncodeToString(raw)
	}
	for _, key := range d.keys {
		given := proof(key, name, account)
		proofs = slices.DeleteFunc(proofs, func(p string) bool { return p == given })
	}
	proofs = append([]string{proof(d.keys[0], name, account)}, proofs...)
	d.cookie.write(w, strings.Join(append([]string{name}, proofs[:min(len(proofs), maxDeviceAccounts)]...), "."), deviceMaxAge)
}

func proof(key []byte, name, account string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(name + "." + account))
	return deviceEncoding.EncodeToString(mac.Sum(nil)[:deviceProofBytes])
}
