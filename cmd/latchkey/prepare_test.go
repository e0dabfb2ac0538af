package main

import (
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
)

// If MongoDB fails while a server makes stored emails canonical, the server tries again. Until it
// succeeds, it is not ready, and strangers cannot register the email of an account that another
// application has stored in another spelling.
func TestEmailsEventuallyBecomeCanonical(t *testing.T) {
	t.Parallel()
	uri, proxy := storetest.ProxiedMongo(t)
	users := storetest.Database(t, uri).Collection("users")
	_, err := users.InsertOne(t.Context(), bson.D{{Key: "name", Value: "Ann"}, {Key: "email", Value: "Ann@Example.com"}})
	testkit.NoError(t, err)

	var scans atomic.Int32
	proxy.Set(storetest.Faults{Command: func(client net.Conn, chunk []byte) bool {
		if !strings.Contains(string(chunk), `[a-z0-9]+(-`) {
			return false
		}
		scans.Add(1)

		return storetest.HangUp(client, chunk)
	}})

	addr, _, _ := start(t, environment(t, "MONGODB_URI="+uri, "MONGODB_TIMEOUT=5s"))
	const registration = `{"name":"Eve","email":"ann@example.com","password":"quiet lamps under seven bridges"}`

	wantGet(t, "http://"+addr+"/readyz", http.StatusServiceUnavailable, `"mongodb":"unavailable"`)
	mustSend(t, http.StatusServiceUnavailable, "POST", "http://"+addr+"/auth/register", registration)
	testkit.Eventually(t, "several attempts", func() bool { return scans.Load() > 4 }) // the driver tries twice

	proxy.Set(storetest.Faults{})
	testkit.Eventually(t, "the server to be ready", func() bool {
		return send(t, "GET", "http://"+addr+"/readyz", "").StatusCode == http.StatusOK
	})
	mustSend(t, http.StatusConflict, "POST", "http://"+addr+"/auth/register", registration)

	count, err := users.CountDocuments(t.Context(), bson.D{{Key: "email", Value: "ann@example.com"}})
	if err != nil || count != 1 {
		t.Errorf("accounts with the canonical email: got %d, %v; want 1", count, err)
	}
}
