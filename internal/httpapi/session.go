package httpapi

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"latchkey/internal/activity"
	"latchkey/internal/session"
)

// sessionInfo describes the current session. It never contains the token.
type sessionInfo struct {
	Authenticated bool   `json:"authenticated" const:"true"`
	SessionID     string `json:"sessionId" pattern:"^[A-Za-z0-9_-]{45}$" description:"The key in Redis is sess: and this ID. It is not a secret and differs from the token in the cookie."`
	session.Owner
	session.Times
	session.Proof
	Level string `json:"level" enum:"aal1,aal2" description:"The level of authentication: aal1 with one factor, aal2 with two."`
}

var sessionOperation = operation{
	id:          "session",
	tag:         tagSession,
	summary:     "Get the current session",
	description: "Works while MongoDB is down.",
	response: response{
		status: http.StatusOK,
		result: "The session",
		body: sessionInfo{
			Authenticated: true,
			SessionID:     exampleSessionID,
			Owner:         session.Owner{UserID: exampleUser.ID, Email: string(exampleUser.Email)},
			Times:         exampleTimes,
			Proof:         exampleProof,
			Level:         exampleProof.Level(),
		},
	},
}

// session handles GET /auth/session. It does not use MongoDB.
func (s *Server) session(w http.ResponseWriter, r *http.Request) error {
	body, err := s.current(r).Response(encodeSession)
	if err != nil {
		return err
	}

	writeBody(w, http.StatusOK, jsonType, body)

	return nil
}

// sessionFromMemory is session for a session in memory.
func (*Server) sessionFromMemory(_ http.Header, _ *http.Request, current *session.Session) []byte {
	body, err := current.Response(encodeSession)
	if err != nil {
		return nil // session returns the error
	}

	return body
}

func encodeSession(s *session.Session) ([]byte, error) {
	return encodeJSON(sessionInfo{
		Authenticated: true,
		SessionID:     s.ID,
		Owner:         s.Owner,
		Times:         s.Times,
		Proof:         s.Proof,
		Level:         s.Level(),
	})
}

type verifyResult struct {
	Authenticated bool `json:"authenticated" const:"true"`
}

var verifyOperation = operation{
	id:      "verify",
	tag:     tagSession,
	summary: "Identify the user for a reverse proxy",
	description: "For `auth_request` of nginx, ForwardAuth of Traefik and `forward_auth` of Caddy. Costs one read from Redis, or none if the server has the session in memory. " +
		"The proxy must remove headers with these names from client requests. " +
		"The email is percent-encoded and may not be verified: identify users by their ID. " +
		"With `REQUIRE_VERIFIED_EMAIL=true`, users whose email is not verified get 403. " +
		"With `min=aal2`, sessions without a second factor get 403.\n\n" +
		"If the proxy sends `X-Forwarded-Method`, `X-Forwarded-Proto`, `X-Forwarded-Host` and `X-Forwarded-Uri`, and a signed-out browser opens a page, " +
		"the 401 response has the URL of the sign-in page in `" + signInHeader + "`. Its `return_to` is that page, if the origin is in `FRONTEND_URL`.",
	params:   verifyParams{},
	redirect: "With `signin=redirect`: a signed-out browser opens a page, and gets a redirect to the sign-in page",
	response: response{
		status:  http.StatusOK,
		result:  "The user is signed in, and the headers identify them",
		body:    verifyResult{true},
		headers: []string{"X-Auth-User-Id", "X-Auth-Email", "X-Auth-Email-Verified", "X-Auth-Level", "X-Auth-Methods", "X-Auth-Time", "X-Auth-Session-Id"},
	},
}

// verify handles GET /auth/verify, which a reverse proxy calls before it forwards a request to
// another application. Headers identify the user. The proxy must remove these headers from the
// requests of clients, including variants with _ or . instead of -. Applications must identify
// accounts by ID, because an email may not be verified.
func (s *Server) verify(w http.ResponseWriter, r *http.Request) error {
	if err := checkMinLevel(r, s.current(r)); err != nil {
		return err
	}

	identify(w.Header(), s.current(r), s.knownVerified(r))
	writeBody(w, http.StatusOK, jsonType, verifiedBody)

	return nil
}

// verifyFromMemory is like verify. It returns nil unless the server has in memory whether the email is
// verified.
func (s *Server) verifyFromMemory(h http.Header, r *http.Request, current *session.Session) []byte {
	if checkMinLevel(r, current) != nil {
		return nil // verify returns the error
	}

	verified, known := s.verifiedInMemory(current)
	if !known {
		return nil
	}

	identify(h, current, verified)

	return verifiedBody
}

// identify sets the headers that identify the user to an application.
func identify(h http.Header, current *session.Session, emailVerified bool) {
	h.Set("X-Auth-User-Id", current.UserID)
	h.Set("X-Auth-Email", headerEmail(current.Email))
	h.Set("X-Auth-Email-Verified", strconv.FormatBool(emailVerified))
	h.Set("X-Auth-Level", current.Level())
	h.Set("X-Auth-Methods", current.Names(","))
	h.Set("X-Auth-Time", strconv.FormatInt(current.AuthenticatedAt.Unix(), 10))
	h.Set("X-Auth-Session-Id", current.ID)
}

var verifiedBody, _ = encodeJSON(verifyResult{true})

// headerEmail percent-encodes an email for use in a header, except for letters, digits and the
// characters "-._~+@". This leaves most emails unchanged. It encodes hosts that are not ASCII, and
// characters such as "|" and "$" in the local part: anyone could register such an email to attack an
// application behind the proxy.
func headerEmail(email string) string {
	return unescapeReadable.Replace(url.QueryEscape(email))
}

var unescapeReadable = strings.NewReplacer("%40", "@", "%2B", "+")

type rotateResult struct {
	Message      string `json:"message" const:"Session rotated"`
	SessionID    string `json:"sessionId" pattern:"^[A-Za-z0-9_-]{45}$"`
	OldSessionID string `json:"oldSessionId" pattern:"^[A-Za-z0-9_-]{45}$"`
}

var rotateOperation = operation{
	id:      "rotateSession",
	tag:     tagSession,
	summary: "Give the session a new token",
	description: "The old token stops working at once. If several requests rotate the same token at the same time, exactly one succeeds and the others get 401. " +
		"The absolute lifetime does not change.",
	response: response{
		status:  http.StatusOK,
		result:  "The session under its new ID, and its cookie",
		body:    rotateResult{"Session rotated", exampleSessionID, exampleOldSessionID},
		headers: []string{"Set-Cookie"},
	},
}

// rotate handles POST /auth/rotate-session. The session continues with a new token.
func (s *Server) rotate(w http.ResponseWriter, r *http.Request) error {
	next, token, err := s.sessions.Rotate(r.Context())
	if err != nil {
		return err
	}

	s.cookie.set(w, next, token)
	s.record(w, r, activity.Event{Name: activity.SessionRotated, UserID: next.UserID, SessionID: next.ID})

	return writeJSON(w, http.StatusOK, rotateResult{"Session rotated", next.ID, s.current(r).ID})
}

// checkMinLevel checks the level of a session against the parameter min of GET /auth/verify. Errors:
// errSecondFactorRequired, and an invalid_input failure for a parameter that is not a level.
func checkMinLevel(r *http.Request, current *session.Session) error {
	if r.URL.RawQuery == "" {
		return nil
	}

	query, err := url.ParseQuery(r.URL.RawQuery)
	levels := query["min"]

	switch {
	case err != nil || len(levels) > 1:
	case len(levels) == 0 || levels[0] == session.AAL1:
		return nil
	case levels[0] == session.AAL2 && hasSecondFactor(current):
		return nil
	case levels[0] == session.AAL2:
		return errSecondFactorRequired
	}

	return invalidFields(fieldError{"min", "invalid", "The parameter min must be aal1 or aal2."})
}
