package telemetry

import (
	"maps"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
)

// other is the value of a label for everything that is in no set. Without it a client
// that sends a new method or path each time would fill the memory with series.
const other = "other"

// values is a closed set of values of a label.
type values map[string]string

func closed(v ...string) values {
	set := make(values, len(v))
	for _, s := range v {
		set[s] = s
	}
	return set
}

// of returns s as it stands in the set: s itself may be a piece of a request, which a
// series would keep in memory.
func (v values) of(s string) string {
	if own, ok := v[s]; ok {
		return own
	}
	return other
}

// declared is a set that depends on the settings, and is complete before the first
// request.
type declared struct {
	mu     sync.Mutex // of who adds
	values atomic.Pointer[values]
}

func (d *declared) add(v ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := closed(v...)
	if before := d.values.Load(); before != nil {
		maps.Copy(all, *before)
	}
	d.values.Store(&all)
}

func (d *declared) of(s string) string {
	if v := d.values.Load(); v != nil {
		return v.of(s)
	}
	return other
}

// The sets that do not depend on the settings.
var (
	httpMethods = closed(
		http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodOptions, http.MethodTrace, http.MethodConnect)
	endReasons = closed(
		"idle_timeout", "absolute_timeout", "logged_out", "revoked", "password_changed",
		"email_changed", "account_disabled", "account_deleted", "too_many_sessions", "replaced")
	loginOutcomes = closed(LoginSuccess, LoginFailed, LoginBusy)
	budgets       = closed("register", "login", "mail", "token", "password", "oauth", "callback")
	scopes        = closed("address", "account", "device", "account-devices", "address-devices")
	redisCommands = closed(
		"GET", "GETDEL", "SET", "DEL", "ZADD", "ZCARD", "ZRANGE", "ZREM", "EVAL", "EVALSHA", "SCAN", "DBSIZE",
		"PING", "ROLE", "WAIT", "ASKING", "INFO", "CONFIG", "CLIENT", "ACL", "TIME")
	mongoCommands = closed(
		"find", "insert", "update", "delete", "findAndModify", "aggregate", "count", "distinct",
		"getMore", "killCursors", "createIndexes", "dropIndexes", "listIndexes", "listCollections", "collMod",
		"ping", "hello", "endSessions", "commitTransaction", "abortTransaction")
	mailKinds = closed(
		"verify_email", "reset_password", "confirm_email", "email_change_asked", "email_changed",
		"password_changed", "new_device", "identity_linked", "identity_unlinked", "account_claimed", "account_deleted")
	mailOutcomes = closed(MailSent, MailRetried, MailDropped)
	stores       = closed("redis", "mongodb")
)

// statuses are the texts of the status codes that HTTP can have, so that none is made
// for each request.
var statuses = func() (texts [600]string) {
	for i := 100; i < len(texts); i++ {
		texts[i] = strconv.Itoa(i)
	}
	return texts
}()

func statusText(status int) string {
	if status < 100 || status >= len(statuses) {
		return other
	}
	return statuses[status]
}
