package httpapi_test

import (
	"cmp"
	"crypto/rand"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/internal/apitest"
	"latchkey/internal/testkit"
	"latchkey/internal/testkit/suite"
)

// pairs is the number of compared pairs of responses. 1000 on a quiet machine give a
// meaningful result.
var pairs = flag.Int("pairs", 0, "pairs of responses to compare; with at least 500, the test fails if their times differ")

const (
	// fewPairs is the default. It only tests that the measurement works.
	fewPairs = 25
	// judgedPairs is the number of pairs from which on the result counts. Its standard error is
	// 0.018, and 0.013 with 1000 pairs.
	judgedPairs = 500
	// maxAdvantage is the maximum difference between the result and 0.5, a coin toss.
	maxAdvantage = 0.05
)

// accountKinds are accounts that a stranger must not be able to tell apart. Their email
// addresses have the same length.
var accountKinds = map[string]string{"known": "known@example.com", "disabled": "isoff@example.com", "unknown": "noone@example.com"}

// newAccountKinds creates the accounts.
func newAccountKinds(s *apitest.Server) {
	s.T.Helper()

	s.CreateUser(accountKinds["known"])
	disabled := s.CreateUser(accountKinds["disabled"])
	_, err := s.Users.SetActive(s.T.Context(), disabled.ID, false)
	testkit.NoError(s.T, err)
}

// visibleParts returns everything in a response that does not change from request to
// request.
func visibleParts(a apitest.Response) string {
	a.T.Helper()

	id := a.Header.Get("X-Request-Id")
	raw := string(a.Raw)
	if a.Status >= 400 && !strings.Contains(raw, id) {
		a.T.Errorf("%s: the request ID is missing", raw)
	}

	header := a.Header.Clone()
	header.Del("Date")
	if header.Get("Retry-After") != "" {
		header.Set("Retry-After", "some seconds")
	}

	var text strings.Builder
	_ = header.Write(&text) // in the order of names

	visible := strings.ReplaceAll(fmt.Sprint(a.Status, "\n", text.String(), raw), id, "")

	return resetSeconds.ReplaceAllString(visible, "")
}

// Responses do not reveal whether an account exists, is disabled or has a verified email
// address, neither by their text nor by their headers (OWASP ASVS 5.0 6.3.8).
func TestResponsesDoNotRevealAccounts(t *testing.T) {
	t.Parallel()

	const budget = 2
	s := apitest.New(t, apitest.Options{Limits: sameLimits(budget), TrustedProxies: behindProxy, Mail: &apitest.Outbox{}})
	newAccountKinds(s)
	s.MarkEmailVerified(accountKinds["known"])
	verified := s.Account(accountKinds["known"])
	doubtful := s.CreateUser("other@example.com")

	byKind := func(body func(email string) map[string]any, path string) map[string]func(address string) apitest.Response {
		all := map[string]func(address string) apitest.Response{}
		for kind, email := range accountKinds {
			all[kind] = func(address string) apitest.Response { return s.NewClient().DoFrom(address, "POST", path, body(email)) }
		}

		return all
	}

	resend := func(id string) func(address string) apitest.Response {
		c := s.SignInAs(id)

		return func(address string) apitest.Response { return c.DoFrom(address, "POST", "/auth/email/resend", nil) }
	}

	for name, tc := range map[string]struct {
		status int
		kinds  map[string]func(address string) apitest.Response
	}{
		"login":  {401, byKind(wrongPassword, "/auth/login")},
		"forgot": {202, byKind(func(email string) map[string]any { return map[string]any{"email": email} }, "/auth/password/forgot")},
		"resend": {202, map[string]func(string) apitest.Response{"verified": resend(verified.ID), "the email address is not verified": resend(doubtful.ID)}},
	} {
		s.ResetLimits()

		for try := range budget + 1 {
			responses := map[string][]string{}
			n := 0
			for kind, send := range tc.kinds {
				// A different IP for each request, so that all have the same limit left.
				n++
				a := send(fmt.Sprintf("203.0.113.%d", n))
				if want := map[bool]int{true: tc.status, false: 429}[try < budget]; a.Status != want {
					t.Errorf("%s, %s: got %d, want %d", name, kind, a.Status, want)
				}

				responses[visibleParts(a)] = append(responses[visibleParts(a)], kind)
			}

			if len(responses) != 1 {
				t.Errorf("%s: responses differ in attempt %d: %q", name, try+1, responses)
			}
		}
	}

	// The correct password of a disabled account is like a wrong one.
	s.ResetLimits()
	off := s.NewClient().DoFrom("203.0.113.77", "POST", "/auth/login", apitest.Credentials(accountKinds["disabled"], apitest.Password))
	unknown := s.NewClient().DoFrom("203.0.113.78", "POST", "/auth/login", apitest.Credentials(accountKinds["unknown"], apitest.Password))
	if visibleParts(off) != visibleParts(unknown.Want(401)) {
		t.Errorf("responses differ: disabled account:\n%s\nunknown account:\n%s", visibleParts(off), visibleParts(unknown))
	}
}

// Response times do not reveal whether an account exists. An attacker who sends a request about a known and
// one about an unknown account guesses which is which no better than by tossing a coin. The
// order within a pair is random, so that side effects, such as a warm cache or an email
// being sent, affect both alike.
//
// The test runs alone.
func TestTimingDoesNotRevealAccounts(t *testing.T) {
	suite.Require(t, suite.Timing)

	n := *pairs
	cost := 10 // the default; hashing takes most of the time of a login
	if n == 0 {
		n = fewPairs
		cost = 4
	}

	s := apitest.New(t, apitest.Options{BcryptCost: cost, Mail: &apitest.Outbox{}})
	newAccountKinds(s)
	s.SkipContract = func(apitest.Response) bool { return true }
	s.MarkEmailVerified(accountKinds["known"])
	verified := s.Account(accountKinds["known"])
	doubtful := s.CreateUser(accountKinds["known"] + ".au")
	login := func(kind string) func() {
		return func() { s.NewClient().Do("POST", "/auth/login", wrongPassword(accountKinds[kind])).Want(401) }
	}
	forgot := func(kind string) func() {
		body := map[string]any{"email": accountKinds[kind]}

		return func() { s.NewClient().Do("POST", "/auth/password/forgot", body).Want(202) }
	}
	resend := func(id string) func() {
		c := s.SignInAs(id)

		return func() { c.Do("POST", "/auth/email/resend", nil).Want(202) }
	}

	for _, tc := range []struct {
		name         string
		known, other func()
	}{
		{"login, known and unknown", login("known"), login("unknown")},
		{"login, disabled and unknown", login("disabled"), login("unknown")},
		{"forgot, known and unknown", forgot("known"), forgot("unknown")},
		{"resend, not verified and verified", resend(doubtful.ID), resend(verified.ID)},
	} {
		var known, other []time.Duration
		for range n {
			each := []struct {
				send  func()
				times *[]time.Duration
			}{{tc.known, &known}, {tc.other, &other}}
			if coin() {
				slices.Reverse(each)
			}

			for _, e := range each {
				s.ResetLimits() // otherwise the second email within a minute would not be sent
				s.SentMails()   // waits until the previous email is sent
				start := time.Now()
				e.send()
				*e.times = append(*e.times, time.Since(start))
			}
		}

		area := auc(known, other)
		t.Logf("%s: AUC %.3f, %d pairs", tc.name, area, n)
		if n >= judgedPairs && (area < 0.5-maxAdvantage || area > 0.5+maxAdvantage) {
			t.Errorf("%s: response times differ: AUC: got %.3f, want about 0.5", tc.name, area)
		}
	}
}

func coin() bool {
	b := make([]byte, 1)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the program instead

	return b[0]&1 == 1
}

// auc returns the probability that a value of a is larger than a value of b, counting equal values as
// half. 0.5 reveals nothing, 0 and 1 reveal everything.
func auc(a, b []time.Duration) float64 {
	sum := 0
	for _, x := range a {
		for _, y := range b {
			sum += cmp.Compare(x, y) + 1
		}
	}

	return float64(sum) / float64(2*len(a)*len(b))
}

func TestAUC(t *testing.T) {
	t.Parallel()

	for _, tc := range []struct {
		a, b []time.Duration
		want float64
	}{
		{[]time.Duration{3, 4}, []time.Duration{1, 2}, 1},
		{[]time.Duration{1, 2}, []time.Duration{3, 4}, 0},
		{[]time.Duration{2, 5}, []time.Duration{2, 4}, 2.5 / 4},
	} {
		if got := auc(tc.a, tc.b); got != tc.want {
			t.Errorf("%v, %v: %v, want %v", tc.a, tc.b, got, tc.want)
		}
	}
}
