package httpapi

import (
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"

	"latchkey/internal/activity"
	"latchkey/internal/token"
	"latchkey/internal/user"
)

// trustCookies prove that a browser is a trusted device. Each account has its own, so that several people
// can use one browser.
type trustCookies struct{ cookie Cookie }

// trustIDLength is the number of characters of a hash of the account's ID in the name of a cookie: enough
// to distinguish the accounts of one browser.
const trustIDLength = 16

// of returns the cookie of an account.
func (t trustCookies) of(userID string) Cookie {
	c := t.cookie
	c.Name += token.Hash(userID)[:trustIDLength]

	return c
}

// proof returns the proof that the browser sent for an account, or "".
func (t trustCookies) proof(r *http.Request, userID string) string { return t.of(userID).value(r) }

// keep stores the proof for an account in the browser.
func (t trustCookies) keep(w http.ResponseWriter, userID, proof string) {
	t.of(userID).write(w, proof, int(user.TrustMaxAge/time.Second))
}

// trustedDevice is a device on which no second factor is asked for.
type trustedDevice struct {
	ID        string    `json:"id" minLength:"1"`
	Device    string    `json:"device" description:"The browser and system, such as Firefox 142 on Linux."`
	IP        string    `json:"ip" description:"The IP from which the device became trusted."`
	CreatedAt time.Time `json:"createdAt"`
	ExpiresAt time.Time `json:"expiresAt"`
	Current   bool      `json:"current" description:"Whether it is the device of this request."`
}

type devicesResult struct {
	Devices []trustedDevice `json:"devices"`
}

var listDevicesOperation = operation{
	id:          "listDevices",
	tag:         tagFactors,
	summary:     "List the trusted devices",
	description: "On a trusted device, a login does not ask for a second factor for 30 days. Sensitive changes still do. Changing the password or a factor, or ending the other sessions, revokes all trusted devices.",
	response: response{
		status: http.StatusOK,
		result: "The trusted devices, newest first",
		body: devicesResult{[]trustedDevice{{
			ID:        "KQ5D7WZP3ARNXM2BJTGHV6SCEY",
			Device:    "Firefox 142 on Linux",
			IP:        "203.0.113.7",
			CreatedAt: exampleTime,
			ExpiresAt: exampleTime.Add(user.TrustMaxAge),
			Current:   true,
		}}},
	},
}

// listDevices handles GET /auth/devices.
func (s *Server) listDevices(w http.ResponseWriter, r *http.Request) error {
	u, err := s.account(r)
	if err != nil {
		return err
	}
	trusted := u.ListTrusted(s.now())
	current := s.auth.TrustedDevice(u, s.trust.proof(r, u.ID))

	shown := make([]trustedDevice, len(trusted))
	for i, d := range trusted {
		shown[i] = trustedDevice{
			ID:        d.ID,
			Device:    d.Device,
			IP:        d.IP,
			CreatedAt: d.CreatedAt,
			ExpiresAt: d.Expires,
			Current:   d.ID == current,
		}
	}

	return writeJSON(w, http.StatusOK, devicesResult{shown})
}

type deviceIDParams struct {
	ID string `path:"id" description:"The ID of a device from GET /auth/devices."`
}

var removeDeviceOperation = operation{
	id:      "removeDevice",
	tag:     tagFactors,
	summary: "Stop trusting a device",
	params:  deviceIDParams{},
	response: response{
		status: http.StatusNoContent,
		result: "The next login on the device asks for a second factor",
	},
}

// removeDevice handles DELETE /auth/devices/{id}.
func (s *Server) removeDevice(w http.ResponseWriter, r *http.Request) error {
	if err := s.auth.Untrust(r.Context(), s.current(r).UserID, chi.URLParam(r, "id")); err != nil {
		return s.endIfAccountGone(r, err)
	}

	s.recordForSession(w, r, activity.DeviceUntrusted)
	w.WriteHeader(http.StatusNoContent)

	return nil
}
