package httpapi

import (
	"net/http"
	"strings"

	"latchkey/internal/oauth"
)

// flowCookies are the cookies by which a browser shows that a sign-in with a provider was
// begun by it: one for each, so that several tabs do not disturb one another.
type flowCookies struct{ cookie Cookie }

const (
	flowCookieMaxAge = 600 // seconds, as long as a flow lasts
	flowIDLength     = 10
	// maxFlowCookies is how many sign-ins one browser may have begun and not ended.
	maxFlowCookies = 8
)

// newFlowCookies returns the cookies of a server. A browser comes back from a provider by
// a navigation from another site, which SameSite=Strict would leave without them.
func newFlowCookies(session Cookie) flowCookies {
	c := Cookie{Name: "oauth-", Secure: session.Secure, SameSite: session.SameSite}
	if session.Secure {
		c.Name = "__Host-oauth-"
	}
	if c.SameSite == http.SameSiteStrictMode {
		c.SameSite = http.SameSiteLaxMode
	}
	return flowCookies{c}
}

func (f flowCookies) of(id string) Cookie {
	c := f.cookie
	c.Name += id
	return c
}

// secret is what the browser brings for the flow of a state.
func (f flowCookies) secret(r *http.Request, state string) string {
	return f.of(oauth.FlowID(state)).token(r)
}

// keep gives the browser the secret of a flow. Of too many the oldest are dropped, which
// it names first (RFC 6265 section 5.4).
func (f flowCookies) keep(w http.ResponseWriter, r *http.Request, id, secret string) {
	var names []string
	for _, k := range r.Cookies() {
		if strings.HasPrefix(k.Name, f.cookie.Name) && len(k.Name) == len(f.cookie.Name)+flowIDLength {
			names = append(names, k.Name)
		}
	}
	surplus := max(0, len(names)-maxFlowCookies+1)
	for _, name := range names[:min(surplus, maxFlowCookies)] {
		old := f.cookie
		old.Name = name
		old.clear(w)
	}
	f.of(id).write(w, secret, flowCookieMaxAge)
}

// forget drops the cookie of a flow that has ended.
func (f flowCookies) forget(w http.ResponseWriter, r *http.Request, state string) {
	if f.secret(r, state) != "" {
		f.of(oauth.FlowID(state)).clear(w)
	}
}
