package httpapi

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
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

// readyz answers GET /readyz: the stores answer, each by name, and the server is to stay.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) error {
	stores, err := s.ask(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, healthAnswer{Status: "ready", Stores: stores})
}

// Ready returns what GET /readyz would refuse with: that the server drains, or which
// stores do not answer.
func (s *Server) Ready(ctx context.Context) error {
	_, err := s.ask(ctx)
	var f *failure
	if !errors.As(err, &f) {
		return err
	}
	text := f.detail
	for _, name := range slices.Sorted(maps.Keys(f.stores)) {
		text += "; " + name + ": " + f.stores[name]
	}
	return errors.New(text)
}

// ask asks every store whether it answers.
func (s *Server) ask(ctx context.Context) (map[string]string, error) {
	if s.draining.Load() {
		return nil, &failure{status: http.StatusServiceUnavailable, code: "not_ready", detail: "The server is about to stop"}
	}
	pings := map[string]func(context.Context) error{
		"redis":   s.sessions.Ping,
		"mongodb": s.users.Ping,
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	stores, ready := make(map[string]string, len(pings)), true
	for name, ping := range pings {
		wg.Go(func() {
			err := ping(ctx)
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
		return nil, &failure{
			status: http.StatusServiceUnavailable, code: "not_ready",
			detail: "A store does not answer", stores: stores,
		}
	}
	return stores, nil
}
