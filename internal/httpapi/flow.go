package httpapi

import (
	"net/http"
	"strings"
	"time"

	"latchkey/internal/oauth"
)

// flowCookies prove that a browser started a sign-in with a provider. Every sign-in has its own
// cookie, so that several tabs do not interfere with each other.
type flowCookies struct{ cookie Cookie }

// maxFlowCookies is the maximum number of unfinished sign-ins of one browser.
const maxFlowCookies = 8

// of returns the cookie of a flow.
func (f flowCookies) of(id string) Cookie {
	c := f.cookie
	c.Name += id

	return c
}

// secret returns the secret that the browser sent for the flow with the given state, or "" if it sent
// none.
func (f flowCookies) secret(r *http.Request, state string) string {
	return f.of(oauth.FlowID(state)).value(r)
}

// keep stores the secret of a flow in the browser. Beyond maxFlowCookies it deletes the oldest
// cookies, which browsers send first (RFC 6265 section 5.4).
func (f flowCookies) keep(w http.ResponseWriter, r *http.Request, id, secret string) {
	var names []string
	for _, cookie := range r.Cookies() {
		isFlow := strings.HasPrefix(cookie.Name, f.cookie.Name) && len(cookie.Name) == len(f.cookie.Name)+oauth.FlowIDLength
		if isFlow {
			names = append(names, cookie.Name)
		}
	}

	surplus := max(0, len(names)-maxFlowCookies+1)
	for _, name := range names[:min(surplus, maxFlowCookies)] {
		old := f.cookie
		old.Name = name
		old.clear(w)
	}

	f.of(id).write(w, secret, int(oauth.FlowTTL/time.Second))
}

// forget deletes the cookie of a flow that has ended.
func (f flowCookies) forget(w http.ResponseWriter, r *http.Request, state string) {
	if f.secret(r, state) != "" {
		f.of(oauth.FlowID(state)).clear(w)
	}
}
