package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"

	"latchkey/internal/activity"
	"latchkey/internal/auth"
	"latchkey/internal/session"
)

// record notes a security event of a request (OWASP ASVS 5.0 16.3.1).
func (s *Server) record(w http.ResponseWriter, r *http.Request, e activity.Event) {
	e.RequestID = w.Header().Get(requestIDHeader)
	e.Route = r.Method + " " + chi.RouteContext(r.Context()).RoutePattern()
	e.IP, e.UserAgent = clientIP(r), userAgent(r)
	e.Device = session.Device(e.UserAgent)
	s.activity.Record(r.Context(), e)
}

// recordOf is record for what a session has done.
func (s *Server) recordOf(w http.ResponseWriter, r *http.Request, name activity.Name) {
	current := s.current(r)
	s.record(w, r, activity.Event{Name: name, UserID: current.UserID, SessionID: current.Handle})
}

// originOf is where a request comes from, for the mail about what it does.
func originOf(r *http.Request) auth.Origin {
	return auth.Origin{IP: clientIP(r), Device: session.Device(userAgent(r))}
}

// activityPage is how many events one answer has at most.
const activityPage = 50

// flushTimeout is how long a list waits for events that are being written.
const flushTimeout = 500 * time.Millisecond

// shownEvent is a security event as its user sees it.
type shownEvent struct {
	ID        string        `json:"id"`
	At        time.Time     `json:"at"`
	Event     activity.Name `json:"event"`
	SessionID string        `json:"sessionId,omitempty"`
	IP        string        `json:"ip,omitempty"`
	UserAgent string        `json:"userAgent,omitempty"`
	Device    string        `json:"device,omitempty"`
	Provider  string        `json:"provider,omitempty"`
	NewDevice bool          `json:"newDevice,omitzero"`
	By        string        `json:"by,omitempty"`
	Count     int           `json:"count,omitzero"`
}

// listActivity answers GET /auth/activity: the user's own events, the newest first.
// With before it goes on after an event.
func (s *Server) listActivity(w http.ResponseWriter, r *http.Request) error {
	before := r.URL.Query()["before"]
	if len(before) > 1 || len(before) == 1 && !activity.IsID(before[0]) {
		return invalidFields(fieldError{"before", "invalid", "must be the id of an event"})
	}
	after := ""
	if len(before) == 1 {
		after = before[0]
	}
	// What this client has just done is there when it asks, as long as that does not take
	// long.
	soon, cancel := context.WithTimeout(r.Context(), flushTimeout)
	defer cancel()
	_ = s.activity.Flush(soon)
	// One more than is shown tells whether there are more.
	events, err := s.activity.ByUser(r.Context(), s.current(r).UserID, after, activityPage+1)
	if err != nil {
		return err
	}
	next := ""
	if len(events) > activityPage {
		events = events[:activityPage]
		next = events[activityPage-1].ID
	}
	shown := make([]shownEvent, len(events))
	for i, e := range events {
		shown[i] = shownEvent{e.ID, e.At, e.Name, e.SessionID, e.IP, e.UserAgent, e.Device, e.Provider, e.NewDevice, e.By, e.Count}
	}
	return writeJSON(w, http.StatusOK, struct {
		Events []shownEvent `json:"events"`
		Next   string       `json:"next,omitempty"`
	}{shown, next})
}
