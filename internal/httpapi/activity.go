package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"

	"latchkey/internal/activity"
	"latchkey/internal/device"
)

// record records a security event of a request (OWASP ASVS 5.0 16.3.1).
func (s *Server) record(w http.ResponseWriter, r *http.Request, e activity.Event) {
	e.RequestID = w.Header().Get(requestIDHeader)
	e.Route = r.Method + " " + chi.RouteContext(r.Context()).RoutePattern()
	e.IP = s.clientIPs.of(r)
	e.UserAgent = userAgent(r)
	e.Device = device.Name(e.UserAgent)

	s.activity.Record(r.Context(), e)
}

// recordForSession records a security event of the current session.
func (s *Server) recordForSession(w http.ResponseWriter, r *http.Request, name activity.Name) {
	current := s.current(r)

	s.record(w, r, activity.Event{
		Name:      name,
		UserID:    current.UserID,
		SessionID: current.ID,
	})
}

// activityPage is the maximum number of events in a response.
const activityPage = 50

// flushTimeout bounds how long listActivity waits for events that are being written.
const flushTimeout = 500 * time.Millisecond

// securityEvent is a security event as its user sees it.
type securityEvent struct {
	ID        string        `json:"id" pattern:"^[0-9a-f]{24}$"`
	At        time.Time     `json:"at"`
	Event     activity.Name `json:"event"`
	SessionID string        `json:"sessionId,omitempty" description:"The session that caused the event or that it affected."`
	IP        string        `json:"ip,omitempty"`
	UserAgent string        `json:"userAgent,omitempty"`
	Device    string        `json:"device,omitempty" description:"The browser and system, such as Firefox 142 on Linux."`
	Provider  string        `json:"provider,omitempty" description:"The provider of the external account."`
	Level     string        `json:"level,omitempty" enum:"aal1,aal2" description:"For logins and step-ups: the level of authentication of the session."`
	Methods   string        `json:"methods,omitempty" description:"For logins and step-ups: how the user proved their identity, separated by commas."`
	NewDevice bool          `json:"newDevice,omitzero" description:"Set for a login from a device that is new to the account."`
	By        string        `json:"by,omitempty" enum:"operator" description:"Missing if the client of the request caused the event."`
	Count     int           `json:"count,omitzero" description:"The number of sessions ended."`
}

type activityParams struct {
	Before string `query:"before" pattern:"^[0-9a-f]{24}$" description:"The next member of the previous page."`
}

type activityResult struct {
	Events []securityEvent `json:"events" maxItems:"50"`
	Next   string          `json:"next,omitempty" pattern:"^[0-9a-f]{24}$" description:"The value of before for the next page. Missing on the last page."`
}

var listActivityOperation = operation{
	id:          "listActivity",
	tag:         tagAccount,
	summary:     "List the security events of the account",
	description: "Returns 50 events at a time, newest first.",
	params:      activityParams{},
	response: response{
		status: http.StatusOK,
		result: "A page of events",
		body: activityResult{
			Events: []securityEvent{{
				ID:        "65f1a2b3c4d5e6f708192a3b",
				At:        exampleTime,
				Event:     activity.Login,
				SessionID: exampleSessionID,
				IP:        "203.0.113.7",
				Device:    "Firefox 142 on Linux",
			}},
		},
	},
}

// listActivity handles GET /auth/activity with the user's events, newest first. The parameter
// before continues after an event.
func (s *Server) listActivity(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()["before"]
	if len(query) > 1 || len(query) == 1 && !activity.IsID(query[0]) {
		return invalidFields(fieldError{"before", "invalid", "The parameter before must be the ID of an event."})
	}
	before := ""
	if len(query) == 1 {
		before = query[0]
	}

	// Include what this client has just done, unless writing it takes long.
	soon, cancel := context.WithTimeout(r.Context(), flushTimeout)
	defer cancel()
	_ = s.activity.Flush(soon)

	// Read one more than a page, to find out whether there is another page.
	events, err := s.activity.ByUser(r.Context(), s.current(r).UserID, before, activityPage+1)
	if err != nil {
		return err
	}

	next := ""
	if len(events) > activityPage {
		events = events[:activityPage]
		next = events[activityPage-1].ID
	}

	shown := make([]securityEvent, len(events))
	for i, e := range events {
		shown[i] = securityEvent{
			ID:        e.ID,
			At:        e.At,
			Event:     e.Name,
			SessionID: e.SessionID,
			IP:        e.IP,
			UserAgent: e.UserAgent,
			Device:    e.Device,
			Provider:  e.Provider,
			Level:     e.Level,
			Methods:   e.Methods,
			NewDevice: e.NewDevice,
			By:        e.By,
			Count:     e.Count,
		}
	}

	return writeJSON(w, http.StatusOK, activityResult{Events: shown, Next: next})
}
