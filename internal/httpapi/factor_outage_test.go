package httpapi_test

import (
	"io"
	"math"
	"net/http"
	"strings"
	"testing"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/session"
	"latchkey/internal/testkit"
)

// usesFactors reports whether a request of TestLostReplies is about second factors.
func (r lossyRoute) usesFactors() bool {
	for _, part := range []string{"factor", "totp", "code", "devices", "waiting"} {
		if strings.Contains(r.name, part) {
			return true
		}
	}

	return false
}

// Redis or MongoDB goes down at each command of each route about second factors. The client gets 503, or the
// response that it gets otherwise, and a session only in the latter case. What is left is consistent, and no
// other session survives a change of the factors.
func TestStoreDownDuringFactors(t *testing.T) {
	t.Parallel()

	pairs := make(chan *lossyPair, lossyPairs)
	providers := newProviderEnv(t)
	for range lossyPairs {
		pairs <- newLossyPair(t, providers)
	}

	var routes []lossyRoute
	for _, r := range lossyRoutes {
		if r.usesFactors() {
			routes = append(routes, r)
		}
	}
	inParallel(pairs, routes, func(p *lossyPair, r lossyRoute) {
		for store, dialer := range map[string]*storetest.LossyDialer{"Redis": p.redis, "MongoDB": p.mongo} {
			for command := 1; p.goesDown(t, r, store, dialer, command); command++ {
				continue
			}
		}
	})
}

// goesDown sends a request while a store is down from a command on. It reports whether the request sends so
// many commands.
func (p *lossyPair) goesDown(t *testing.T, r lossyRoute, store string, dialer *storetest.LossyDialer, command int) bool {
	s := p.newScene(t)
	send := r.prepare(s)
	p.settle()
	before, err := p.direct.Users.ByID(t.Context(), s.account.ID)
	testkit.NoError(t, err)

	dialer.Lose(command, math.MaxInt, io.EOF)
	a := send()
	isReached := dialer.Stop() >= command

	isFailed := isUnavailable(a)
	if isSignedIn := a.Cookie != nil && a.Cookie.MaxAge >= 0; isFailed && isSignedIn {
		t.Errorf("%s: %s is down from command %d on: got %d and a session", r.name, store, command, a.Status)
	}
	if !isFailed && a.Status >= http.StatusBadRequest {
		t.Errorf("%s: %s is down from command %d on: got %s", r.name, store, command, a.Raw)
	}

	after, err := p.direct.Users.ByID(t.Context(), s.account.ID)
	testkit.NoError(t, err)
	if isOpen := len(after.Factors) == 0; isOpen && len(after.RecoveryCodes)+len(after.Trusted) > 0 || !isOpen && len(after.RecoveryCodes) == 0 {
		t.Errorf("%s: %s is down from command %d on: left %+v", r.name, store, command, after.SecondFactors)
	}
	if len(before.Factors) != len(after.Factors) && s.sessionOf(s.other.Token) != "401 "+string(session.FactorsChanged) {
		t.Errorf("%s: %s is down from command %d on: the factors changed, and another session is %s", r.name, store, command, s.sessionOf(s.other.Token))
	}

	return isReached
}
