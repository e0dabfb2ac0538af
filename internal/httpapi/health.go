package httpapi

import (
	"context"
	"net/http"
	"sync"
)

// healthAnswer says how the server is.
type healthAnswer struct {
	Status string            `json:"status"`
	Stores map[string]string `json:"stores,omitempty"`
}

// healthz answers GET /healthz: the process lives. It asks no store, so that an
// outage of one does not have every server restarted.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, healthAnswer{Status: "ok"})
}

// readyz answers GET /readyz: the stores answer, each by name.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) error {
	pings := map[string]func(context.Context) error{
		"redis":   s.sessions.Ping,
		"mongodb": s.users.Ping,
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	stores, ready := make(map[string]string, len(pings)), true
	for name, ping := range pings {
		wg.Go(func() {
			err := ping(r.Context())
			mu.Lock()
			defer mu.Unlock()
			stores[name] = "ok"
			if err != nil {
				stores[name], ready = "unavailable", false
			}
		})
	}
	wg.Wait()
	if !ready {
		return &failure{
			status: http.StatusServiceUnavailable, code: "not_ready",
			detail: "A store does not answer", stores: stores,
		}
	}
	return writeJSON(w, http.StatusOK, healthAnswer{Status: "ready", Stores: stores})
}
