package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
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
		description: "Checks that every store can be read and written. The result is reused for up to a second. Also returns 503 during shutdown and, after startup, until the spelling of the stored emails has been checked.",
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

// readyz handles GET /readyz. It fails if a store does not respond or refuses reads or writes, if the
// stored emails have not been checked yet, or if the server is shutting down.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) error {
	stores, err := s.checkStores(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, readyResult{"ready", stores})
}

// Ready returns an error if GET /readyz fails. The error text gives operators the reason.
func (s *Server) Ready(ctx context.Context) error {
	_, err := s.checkStores(ctx)
	var f *failure
	if errors.As(err, &f) {
		return fmt.Errorf("%s %w", f.detail, err)
	}

	return err
}

// readinessMaxAge is how long the result of a check is used. GET /readyz is public and has no rate
// limit, so the load on the stores must not depend on the number of requests.
const readinessMaxAge = time.Second

// readiness checks the stores, and keeps the result for readinessMaxAge.
type readiness struct {
	checkRedis, checkMongo func(context.Context) error

	mu        sync.Mutex // held during a check, so that concurrent requests share it
	checkedAt time.Time
	states    storeStates
	err       error
}

// checkStores returns the states of the stores, and an error unless requests can use both.
func (s *Server) checkStores(ctx context.Context) (storeStates, error) {
	if s.draining.Load() {
		return storeStates{}, errDraining
	}

	r := &s.readiness
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.checkedAt.IsZero() || s.now().Sub(r.checkedAt) >= readinessMaxAge {
		// A client that disconnects must not make the check fail for all others.
		r.check(context.WithoutCancel(ctx))
		r.checkedAt = s.now()
	}

	return r.states, r.err
}

// check checks both stores. The caller must hold mu.
func (r *readiness) check(ctx context.Context) {
	var redisErr, mongoErr error
	var checks sync.WaitGroup
	checks.Go(func() { redisErr = r.checkRedis(ctx) })
	checks.Go(func() { mongoErr = r.checkMongo(ctx) })
	checks.Wait()

	r.err = nil
	r.states = storeStates{Redis: stateOf(redisErr), MongoDB: stateOf(mongoErr)}
	if err := errors.Join(mongoErr, redisErr); err != nil {
		r.err = fmt.Errorf("%w: %w", storesDown(r.states), err)
	}
}

func stateOf(err error) storeState {
	if err != nil {
		return storeUnavailable
	}

	return storeOK
}

// storesDown returns the failure of GET /readyz if requests cannot use a store.
func storesDown(states storeStates) *failure {
	return &failure{
		status: http.StatusServiceUnavailable,
		code:   errDraining.code,
		detail: "A store is unavailable.",
		stores: &states,
	}
}
