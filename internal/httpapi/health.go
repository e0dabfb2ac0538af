package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
)

type healthResult struct {
	Status string `json:"status" const:"ok"`
}

type readyResult struct {
	Status string      `json:"status" const:"ready"`
	Stores storeStates `json:"stores"`
}

// storeStates are the states of the stores.
type storeStates struct {
	Redis   storeState `json:"redis"`
	MongoDB storeState `json:"mongodb"`
}

type storeState string

const (
	storeOK          storeState = "ok"
	storeUnavailable storeState = "unavailable"
)

var (
	healthzOperation = operation{
		id:          "healthz",
		tag:         tagOperations,
		summary:     "Check that the process is alive",
		description: "Does not depend on the stores, so that an outage of one does not restart every server.",
		response: response{
			status: http.StatusOK,
			result: "The process is alive",
			body:   healthResult{"ok"},
		},
	}
	readyzOperation = operation{
		id:          "readyz",
		tag:         tagOperations,
		summary:     "Check that the server can handle requests",
		description: "Checks every store. Returns 503 as well while the server shuts down.",
		response: response{
			status: http.StatusOK,
			result: "The server is ready",
			body:   readyResult{"ready", storeStates{storeOK, storeOK}},
		},
	}
)

// healthz handles GET /healthz. It does not depend on the stores, so that an outage of one
// does not restart every server.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, healthResult{"ok"})
}

// readyz handles GET /readyz. It fails if a store does not respond or if the server is
// shutting down.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) error {
	stores, err := s.checkStores(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, readyResult{"ready", stores})
}

// Ready returns an error if GET /readyz fails. Its text names the states of the stores.
func (s *Server) Ready(ctx context.Context) error {
	_, err := s.checkStores(ctx)
	var f *failure
	if !errors.As(err, &f) {
		return err
	}

	text := f.detail
	if f.stores != nil {
		text += fmt.Sprintf("; mongodb: %s; redis: %s", f.stores.MongoDB, f.stores.Redis)
	}

	return errors.New(text)
}

// checkStores pings the stores and returns their states.
func (s *Server) checkStores(ctx context.Context) (storeStates, error) {
	if s.draining.Load() {
		return storeStates{}, errDraining
	}

	var states storeStates
	var wg sync.WaitGroup
	check := func(state *storeState, ping func(context.Context) error) {
		wg.Go(func() {
			*state = storeOK
			if err := ping(ctx); err != nil {
				*state = storeUnavailable
			}
		})
	}
	check(&states.Redis, s.sessions.Ping)
	check(&states.MongoDB, s.users.Ping)
	wg.Wait()

	if states.Redis != storeOK || states.MongoDB != storeOK {
		return storeStates{}, storesDown(states)
	}

	return states, nil
}

// storesDown returns the failure of GET /readyz if a store does not respond.
func storesDown(states storeStates) *failure {
	return &failure{
		status: http.StatusServiceUnavailable,
		code:   errDraining.code,
		detail: "A store is unavailable.",
		stores: &states,
	}
}
