package httpapi

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"

	"latchkey/internal/activity"
	"latchkey/internal/session"
)

// listedSession is one of the user's sessions.
type listedSession struct {
	ID      string `json:"id" pattern:"^[A-Za-z0-9_-]{45}$"`
	Current bool   `json:"current" description:"Whether it is the session of this request."`
	session.Times
	session.Client
	session.Proof
	Level string `json:"level" enum:"aal1,aal2" description:"The level of authentication: aal1 with one factor, aal2 with two."`
}

type sessionsResult struct {
	Sessions []listedSession `json:"sessions" description:"Empty if the session of this request ended at the same moment."`
}

var listSessionsOperation = operation{
	id:          "listSessions",
	tag:         tagSession,
	summary:     "List the user's sessions",
	description: "Lists live sessions, most recently used first.",
	response: response{
		status: http.StatusOK,
		result: "The live sessions of the user",
		body: sessionsResult{[]listedSession{{
			ID:      exampleSessionID,
			Current: true,
			Times:   exampleTimes,
			Client:  session.Client{Device: "Firefox 142 on Linux", IP: "203.0.113.7"},
			Proof:   exampleProof,
			Level:   exampleProof.Level(),
		}}},
	},
}

// listSessions handles GET /auth/sessions.
func (s *Server) listSessions(w http.ResponseWriter, r *http.Request) error {
	current := s.current(r)
	live, err := s.sessions.List(r.Context(), current.UserID)
	if err != nil {
		return err
	}

	listed := make([]listedSession, len(live))
	for i, l := range live {
		listed[i] = listedSession{
			ID:      l.ID,
			Current: l.ID == current.ID,
			Times:   l.Times,
			Client:  l.Client,
			Proof:   l.Proof,
			Level:   l.Level(),
		}
	}

	return writeJSON(w, http.StatusOK, sessionsResult{listed})
}

type sessionIDParams struct {
	ID string `path:"id" description:"The ID of a session from GET /auth/sessions."`
}

var revokeSessionOperation = operation{
	id:          "revokeSession",
	tag:         tagSession,
	summary:     "End one of the user's sessions",
	description: "Ending the session of this request is a logout. If the response is lost, the same request can be repeated: it succeeds again.",
	params:      sessionIDParams{},
	response: response{
		status:  http.StatusNoContent,
		result:  "The session has ended. If it was the session of this request, its cookie is cleared",
		headers: []string{"Set-Cookie", "Clear-Site-Data"},
	},
}

// revokeSession handles DELETE /auth/sessions/{id}. Ending the current session is a logout.
// Sessions of other users are reported as unknown.
func (s *Server) revokeSession(w http.ResponseWriter, r *http.Request) error {
	current := s.current(r)
	id := chi.URLParam(r, "id")
	if id == current.ID {
		if err := s.endSession(w, r); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)

		return nil
	}

	err := s.auth.RevokeSession(r.Context(), s.caller(r), id)
	if errors.Is(err, session.ErrNotFound) {
		return errNoSession
	}
	if err != nil {
		return err
	}

	s.record(w, r, activity.Event{Name: activity.SessionRevoked, UserID: current.UserID, SessionID: id, Once: true})
	w.WriteHeader(http.StatusNoContent)

	return nil
}

type revokeSessionsParams struct {
	Scope string `query:"scope" enum:"others,all" description:"Which sessions to end: the user's other sessions (the default), or all, including the session of this request."`
}

type revokeSessionsResult struct {
	Revoked int `json:"revoked" minimum:"0" description:"The number of sessions ended."`
}

var revokeSessionsOperation = operation{
	id:          "revokeSessions",
	tag:         tagSession,
	summary:     "End the user's other sessions, or all of them",
	description: "A login that is in progress at that moment does not begin a session. Other devices become unknown to the account.",
	params:      revokeSessionsParams{},
	response: response{
		status:  http.StatusOK,
		result:  "The number of sessions ended. With `scope=all` the cookie is cleared",
		body:    revokeSessionsResult{2},
		headers: []string{"Set-Cookie", "Clear-Site-Data"},
	},
}

// revokeSessions handles DELETE /auth/sessions?scope=others|all.
func (s *Server) revokeSessions(w http.ResponseWriter, r *http.Request) error {
	current := s.current(r)
	keep := current.ID

	query, err := url.ParseQuery(r.URL.RawQuery)
	scope := query["scope"]

	switch {
	case err == nil && (len(scope) == 0 || slices.Equal(scope, []string{"others"})):
	case err == nil && slices.Equal(scope, []string{"all"}):
		keep = ""
	default:
		return invalidFields(fieldError{"scope", "invalid", "The scope must be others or all."})
	}

	changed, err := s.auth.RevokeSessions(r.Context(), current.UserID, keep)
	if err == nil && keep == "" {
		// The response clears the cookie, so end this session even if it is missing from the
		// user's index.
		err = s.sessions.End(r.Context(), session.Revoked)
	}
	if err != nil {
		return err
	}

	s.record(w, r, activity.Event{Name: activity.SessionsRevoked, UserID: current.UserID, SessionID: current.ID, Count: changed.Ended})
	s.devices.renew(w, r, current, changed.User)
	if keep == "" {
		s.forget(w)
	}

	return writeJSON(w, http.StatusOK, revokeSessionsResult{changed.Ended})
}

// maxUserAgent is the number of bytes of a User-Agent that are kept.
const maxUserAgent = 256

// userAgent returns the User-Agent of a request, truncated and in valid UTF-8.
func userAgent(r *http.Request) string {
	ua := r.UserAgent()
	return strings.ToValidUTF8(ua[:min(len(ua), maxUserAgent)], "")
}
