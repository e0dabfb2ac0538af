package httpapi

import (
	"context"
	"net/http"

	"latchkey/internal/device"
	"latchkey/internal/session"
	"latchkey/internal/user"
)

// devices recognizes browsers by a cookie that outlives the session and holds the proofs of
// package device. A login on a known device has its own rate limit. A login on a new device is
// reported to the owner.
type devices struct {
	cookie Cookie
	signer device.Signer
}

// deviceMaxAge is in seconds. Browsers keep no cookie for longer.
const deviceMaxAge = 400 * 24 * 60 * 60

// newDevices returns the devices of a server.
func newDevices(session Cookie, secrets [][]byte) devices {
	return devices{
		cookie: session.companion("device"),
		signer: device.NewSigner(secrets),
	}
}

// proofs returns the proofs of the device that sent the request.
func (d devices) proofs(r *http.Request) device.Proofs { return d.signer.Read(d.cookie.value(r)) }

// knows reports whether the device that sent the request is known to an account.
func (d devices) knows(r *http.Request, u user.User) bool {
	return d.proofs(r).Device(u.ID, u.DeviceGeneration) != ""
}

// remember makes the device that sent the request known to an account. Do not call it for a session
// that ends with the browser, which may be on a shared computer.
func (d devices) remember(w http.ResponseWriter, r *http.Request, u user.User) {
	d.cookie.write(w, d.signer.Add(d.proofs(r), u.ID, u.DeviceGeneration), deviceMaxAge)
}

// rememberUntilClosed makes a device known to an account until the browser is closed. It changes
// nothing if the device is already known to another account, which may be for longer.
func (d devices) rememberUntilClosed(w http.ResponseWriter, r *http.Request, u user.User) {
	if d.proofs(r).Empty() {
		d.cookie.write(w, d.signer.Add(device.Proofs{}, u.ID, u.DeviceGeneration), 0)
	}
}

// renew makes the device of a signed-in user known again, after that user has changed the account
// and thereby revoked all known devices. A device that was unknown stays unknown: whoever has copied
// the session cookie must not get a proof that outlives the session. The device
// of a session that ends with the browser becomes unknown, because it may be a shared computer.
func (d devices) renew(w http.ResponseWriter, r *http.Request, s *session.Session, u user.User) {
	if s.Persistent && d.proofs(r).WasKnown(u.ID) {
		d.remember(w, r, u)
	}
}

// admitDevice reports whether the device that sent the request may become known to an account, or
// already is. Only a few new devices an hour may become known, and none while Redis is down.
func (s *Server) admitDevice(r *http.Request, u user.User) bool {
	if s.devices.knows(r, u) {
		return true
	}

	ok, err := s.limiter.AdmitNew(r.Context(), u.ID)

	return ok && err == nil
}

// accountKey is the context key of the account that recognizeDevice has loaded.
type accountKey struct{}

// recognizeDevice returns the name of the device that sent a request if it is known to the account
// with the given email, and "" otherwise. To find out, it loads the account, and attaches it to the
// returned request: see loadedAccount. A device without genuine proofs is unknown to every account
// and costs no query.
func (s *Server) recognizeDevice(r *http.Request, email user.Email) (*http.Request, string, error) {
	proofs := s.devices.proofs(r)
	if proofs.Empty() {
		return r, "", nil
	}

	u, err := s.auth.Account(r.Context(), email)
	if err != nil {
		return r, "", err
	}

	withAccount := context.WithValue(r.Context(), accountKey{}, &u)

	return r.WithContext(withAccount), proofs.Device(u.ID, u.DeviceGeneration), nil
}

// loadedAccount returns the account that recognizeDevice has loaded, or nil if it did not need to.
func loadedAccount(r *http.Request) *user.User {
	u, _ := r.Context().Value(accountKey{}).(*user.User)

	return u
}
