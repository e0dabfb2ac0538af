package telemetry

import (
	"net/http"
	"strconv"
)

// other is the label value for everything that is not in a set. Without it, a client that sends
// random methods or paths would fill the memory with series.
const other = "other"

// values is a set of label values. It must be complete before the first request.
type values map[string]string

func newValues(members ...string) values {
	var set values
	set.add(members...)

	return set
}

func (v *values) add(members ...string) {
	if *v == nil {
		*v = values{}
	}

	for _, s := range members {
		(*v)[s] = s
	}
}

// label returns the member of the set that equals s, or other. It does not return s itself, which
// may be part of a request: the series would keep the whole request in memory.
func (v values) label(s string) string {
	if member, ok := v[s]; ok {
		return member
	}

	return other
}

// The sets of values that do not depend on other packages.
var (
	httpMethods = newValues(
		http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodOptions, http.MethodTrace, http.MethodConnect)
	loginOutcomes  = newValues(LoginSuccess, LoginFailed, LoginBusy)
	levels         = newValues("aal1", "aal2") // of authentication: see session.Proof
	factorOutcomes = newValues(FactorSuccess, FactorFailure)
	redisCommands  = newValues(
		"GET", "MGET", "SET", "DEL", "ZADD", "ZCARD", "ZRANGE", "ZREM", "EVAL", "EVALSHA", "HDEL", "HGET", "PUBLISH", "SCAN", "DBSIZE",
		"PING", "ROLE", "WAIT", "ASKING", "INFO", "CONFIG", "CLIENT", "ACL", "TIME")
	mongoCommands = newValues(
		"find", "insert", "update", "delete", "findAndModify", "aggregate", "count", "distinct",
		"getMore", "killCursors", "createIndexes", "dropIndexes", "listIndexes", "listCollections", "collMod",
		"ping", "hello", "endSessions", "commitTransaction", "abortTransaction")
	mailOutcomes = newValues(MailSent, MailRetried, MailDropped)
)

// statuses maps each HTTP status code to its digits, so that requests do not allocate them.
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
