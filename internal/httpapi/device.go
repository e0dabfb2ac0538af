package httpapi

import (
	"net/http"

	"latchkey/internal/device"
)

// devices recognizes browsers by a cookie that outlives the session and holds the proofs of
// package device. A login on a known device has its own rate limit. A login on a new device is
// reported to the owner.
type devices struct {
	cookie Cookie
	proofs device.Proofs
}

// deviceMaxAge is in seconds. Browsers keep no cookie for longer.
const deviceMaxAge = 400 * 24 * 60 * 60

// newDevices returns the devices of a server. Their cookie is sent to this host only, even if
// the session cookie has a domain.
func newDevices(session Cookie, secrets [][]byte) devices {
	d := devices{
		cookie: Cookie{Name: "device", Secure: session.Secure, SameSite: session.SameSite},
		proofs: device.NewProofs(secrets),
	}

	if session.SameSite == http.SameSiteStrictMode {
		// With Strict, a browser that returns from a provider would look like a new device. Lax is
		// safe here, because this cookie grants no access.
		d.cookie.SameSite = http.SameSiteLaxMode
	}

	if session.Secure {
		d.cookie.Name = "__Host-device"
	}

	return d
}

// known returns the name of the device that sent the request, or "" if the account has never
// logged in on it.
func (d devices) known(r *http.Request, email string) string {
	return d.proofs.Known(d.cookie.value(r), email)
}

// remember makes the device that sent the request known to an account that has just logged in.
// Do not call it for a session that ends with the browser, which may be on a shared computer.
func (d devices) remember(w http.ResponseWriter, r *http.Request, email string) {
	d.cookie.write(w, d.proofs.Add(d.cookie.value(r), email), deviceMaxAge)
}

// rememberUntilClosed makes a device known to an account until the browser is closed. It changes
// nothing if the browser already has a device cookie, which may know other accounts for longer.
func (d devices) rememberUntilClosed(w http.ResponseWriter, r *http.Request, email string) {
	if d.cookie.value(r) == "" {
		d.cookie.write(w, d.proofs.Add("", email), 0)
	}
}
