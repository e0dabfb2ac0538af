package httpapi_test

import (
	"net/http"
	"testing"

	"latchkey/internal/apitest"
	"latchkey/internal/devstore/storetest"
)

// Accounts are read from the primary, whatever read preference the connection string has. On a
// secondary that lags, a new account does not exist, and its session would end.
func TestLaggingSecondary(t *testing.T) {
	t.Parallel()

	for _, options := range []string{
		"",
		"&readPreference=secondaryPreferred",
		"&readPreference=secondary&maxStalenessSeconds=120&readConcernLevel=available",
		"&readPreference=nearest&w=1",
	} {
		t.Run(options, func(t *testing.T) {
			t.Parallel()

			s := apitest.New(t, apitest.Options{MongoURI: storetest.NewLaggingReplicaSet(t).URI + options})
			ann := s.Register("ann@example.com")
			ann.Do("GET", "/auth/me", nil).Want(http.StatusOK)
			ann.Do("GET", "/auth/session", nil).Want(http.StatusOK)
			s.NewClient().Do("POST", "/auth/login", map[string]any{"email": "ann@example.com", "password": apitest.Password}).Want(http.StatusOK)
		})
	}
}

// A connection to a secondary alone has no primary to read from. A session does not end because
// the account is missing there.
func TestSecondaryDoesNotEndSessions(t *testing.T) {
	t.Parallel()
	members := storetest.NewLaggingReplicaSet(t)
	s := apitest.New(t, apitest.Options{MongoURI: members.URI})
	lagging := apitest.New(t, apitest.Options{Redis: &s.Redis, MongoURI: members.Secondary})

	ann := s.Register("ann@example.com")
	lagging.WithToken(ann.Token).Do("GET", "/auth/me", nil).Want(http.StatusServiceUnavailable)
	lagging.WithToken(ann.Token).Do("PUT", "/profile", map[string]any{"name": "B"}).Want(http.StatusServiceUnavailable)
	ann.Do("GET", "/auth/me", nil).Want(http.StatusOK)

	// The secondary replies to a ping, but no login can work.
	lagging.NewClient().Do("GET", "/readyz", nil).WantCode(http.StatusServiceUnavailable, "not_ready")
	s.NewClient().Do("GET", "/readyz", nil).Want(http.StatusOK)
}
