package main

import (
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/primitive"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
)

// operatorWithProxies returns an operator whose stores can fail, the proxies, and the ID of an
// account with a linked external account.
func operatorWithProxies(t *testing.T) (o *operator, redis, mongo *storetest.Proxy, userID string) {
	t.Helper()

	_, proxied, redis := storetest.ProxiedRedis(t)
	uri, mongo := storetest.ProxiedMongo(t)
	environ := append(environment(t), fmt.Sprintf("REDIS_URI=redis://%s/%d", proxied.Addr, proxied.DB), "MONGODB_URI="+uri)
	o = &operator{t: t, environ: environ}
	o.mustRun("ann@example.com", "a long password\n", "users", "create", "ann@example.com", "Ann")

	db := storetest.Database(t, uri)
	var account struct {
		ID primitive.ObjectID `bson:"_id"`
	}
	testkit.NoError(t, db.Collection("users").FindOne(t.Context(), bson.D{}).Decode(&account))
	_, err := db.Collection("identities").InsertOne(t.Context(), bson.D{
		{Key: "userId", Value: account.ID},
		{Key: "provider", Value: "acme"},
		{Key: "issuer", Value: "https://acme.example"},
		{Key: "providerId", Value: "1"},
	})
	testkit.NoError(t, err)
	o.mustRun("acme", "", "users", "show", "ann@example.com")

	return o, redis, mongo, account.ID.Hex()
}

// wantEvents fails the test unless these security events are stored after the registration.
func (o *operator) wantEvents(want ...string) {
	o.t.Helper()

	uri, _ := strings.CutPrefix(o.environ[len(o.environ)-1], "MONGODB_URI=")
	cursor, err := storetest.Database(o.t, uri).Collection("activity").Find(o.t.Context(), bson.D{})
	testkit.NoError(o.t, err)
	var stored []struct{ Name, Provider, By string }
	testkit.NoError(o.t, cursor.All(o.t.Context(), &stored))

	var got []string
	for _, event := range stored[1:] {
		got = append(got, strings.TrimSpace(event.Name+" "+event.Provider))
		if event.By != "operator" {
			o.t.Errorf("%s: got by %q, want operator", event.Name, event.By)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		o.t.Errorf("events (-want +got):\n%s", diff)
	}
}

// isDeletion reports whether a command to MongoDB deletes external accounts.
func isDeletion(chunk []byte) bool {
	return strings.Contains(string(chunk), "\x02delete\x00") && strings.Contains(string(chunk), "identities")
}

// If MongoDB fails during a deletion, the account is only disabled. Repeating the command deletes
// it, and only then is the deletion recorded.
func TestOperatorRepeatsDeletion(t *testing.T) {
	t.Parallel()
	o, _, mongo, _ := operatorWithProxies(t)

	mongo.Set(storetest.Faults{Command: func(client net.Conn, chunk []byte) bool {
		return isDeletion(chunk) && storetest.HangUp(client, chunk)
	}})
	o.wantError("the account is disabled, but not deleted; run the command again", "", "users", "delete", "--yes", "ann@example.com")
	o.mustRun("(?m)^state +disabled", "", "users", "show", "ann@example.com")
	o.wantEvents("account_disabled")

	mongo.Set(storetest.Faults{})
	o.mustRun("Deleted ann@example.com", "", "users", "delete", "--yes", "ann@example.com")
	o.wantEvents("account_disabled", "account_deleted")
}

// If Redis fails after an external account was unlinked, the change is recorded, and the operator
// learns how to end the remaining sessions.
func TestOperatorUnlinksWhileRedisFails(t *testing.T) {
	t.Parallel()
	o, redis, mongo, id := operatorWithProxies(t)

	var unlinked atomic.Bool
	mongo.Set(storetest.Faults{Command: func(_ net.Conn, chunk []byte) bool {
		if isDeletion(chunk) {
			unlinked.Store(true)
		}

		return false
	}})
	redis.Set(storetest.Faults{Command: func(client net.Conn, chunk []byte) bool {
		return unlinked.Load() && storetest.HangUp(client, chunk)
	}})
	o.wantError("end them with latchkey sessions revoke --user "+id, "", "users", "unlink", "ann@example.com", "acme")
	o.wantEvents("identity_unlinked acme")

	redis.Set(storetest.Faults{})
	o.mustRun("0 sessions ended", "", "sessions", "revoke", "--user", id)
}
