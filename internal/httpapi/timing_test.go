package httpapi

import (
	"cmp"
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/internal/user"
)

// pairs is how many times two answers are compared. Few say nothing about the time; 1000
// on a machine with nothing else to do are the real figure.
var pairs = flag.Int("pairs", 0, "pairs of answers of which the time is compared; it is judged from 500 on")

const (
	// fewPairs are compared where -pairs asks for none, to see that it works.
	fewPairs = 25
	// judged is from how many pairs on the figure means something: its standard error is
	// 0.018 then, and 0.013 with 1000.
	judged = 500
	// mostTold is how far from a guess, 0.5, the time may get.
	mostTold = 0.05
)

// accountKinds are accounts of which a stranger must not see the difference, each with
// an address of the same length.
var accountKinds = map[string]string{"known": "known@example.com", "disabled": "isoff@example.com", "unknown": "noone@example.com"}

// newAccountKinds makes them, where there are any.
func (s *site) newAccountKinds() {
	s.t.Helper()
	for _, kind := range []string{"known", "disabled"} {
		u, err := s.auth.Register(context.Background(), "Ann", user.Email(accountKinds[kind]), testPassword)
		if err == nil && kind == "disabled" {
			_, err = s.users.SetActive(context.Background(), u.ID, false)
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
}

// seen is all of an answer but for what is another each time whatever is asked.
func (a answer) seen() string {
	a.t.Helper()
	header := maps.Clone(map[string][]string(a.header))
	delete(header, "Date")
	delete(header, requestIDHeader)
	for i, value := range header["Ratelimit"] {
		header["Ratelimit"] = slices.Clone(header["Ratelimit"])
		header["Ratelimit"][i] = timeIn.ReplaceAllString(value, "")
	}
	if a.status == http.StatusTooManyRequests && a.header.Get("Retry-After") != "" {
		header["Retry-After"] = []string{"some seconds"} // which pass by themselves as well
	}
	names := slices.Sorted(maps.Keys(header))
	var b strings.Builder
	fmt.Fprintln(&b, a.status)
	for _, name := range names {
		fmt.Fprintf(&b, "%s: %q\n", name, header[name])
	}
	raw := string(a.raw)
	if id := a.header.Get(requestIDHeader); a.status >= 400 && !strings.Contains(raw, id) {
		a.t.Errorf("%s does not name the request", raw)
	} else if a.status >= 400 {
		raw = strings.ReplaceAll(raw, id, "")
	}
	return b.String() + raw
}

// What is answered does not say whether there is an account, whether it is disabled, or
// whether its address is verified: not by its text, and not by its headers (OWASP ASVS
// 5.0 6.3.8). Nor does the answer to who has tried too often.
func TestAnswersAreAlike(t *testing.T) {
	t.Parallel()
	const budget = 2
	s := newSite(t, setup{limits: evenLimits(budget), proxies: behindProxy, mail: &outbox{}})
	s.newAccountKinds()
	verified := s.account(accountKinds["known"])
	doubtful, err := s.auth.Register(context.Background(), "Ann", "other@example.com", testPassword)
	if err != nil {
		t.Fatal(err)
	}
	s.client().do("POST", "/auth/password/forgot", map[string]any{"email": accountKinds["known"]}).want(202)
	reset := map[string]any{"token": s.outbox.token(t, accountKinds["known"], "reset-password"), "password": testPassword}
	s.client().do("POST", "/auth/password/reset", reset).want(200) // which verifies the address
	if !s.account(accountKinds["known"]).EmailVerified {
		t.Fatal("not verified")
	}
	byKind := func(body func(email string) map[string]any, path string) map[string]func(address string) answer {
		all := map[string]func(address string) answer{}
		for kind, email := range accountKinds {
			all[kind] = func(address string) answer { return s.client().at(address, "POST", path, body(email)) }
		}
		return all
	}
	resend := func(id string) func(address string) answer {
		c := s.signInAs(id)
		return func(address string) answer { return c.at(address, "POST", "/auth/email/resend", nil) }
	}
	for name, tc := range map[string]struct {
		status int
		kinds  map[string]func(address string) answer
	}{
		"login":  {401, byKind(wrongFor, "/auth/login")},
		"forgot": {202, byKind(func(email string) map[string]any { return map[string]any{"email": email} }, "/auth/password/forgot")},
		"resend": {202, map[string]func(string) answer{"verified": resend(verified.ID), "not verified": resend(doubtful.ID)}},
	} {
		s.forgetLimits()
		for try := range budget + 1 {
			answers := map[string][]string{}
			n := 0
			for kind, send := range tc.kinds {
				// Each from an address of its own, so that all have the same budget left.
				n++
				a := send(fmt.Sprintf("203.0.113.%d", n))
				if want := map[bool]int{true: tc.status, false: 429}[try < budget]; a.status != want {
					t.Errorf("%s, %s: got %d, want %d", name, kind, a.status, want)
				}
				answers[a.seen()] = append(answers[a.seen()], kind)
			}
			if len(answers) != 1 {
				t.Errorf("%s tells them apart, try %d: %q", name, try+1, answers)
			}
		}
	}
	// The right password of an account that is disabled is a wrong one.
	s.forgetLimits()
	off := s.client().at("203.0.113.77", "POST", "/auth/login", credentials(accountKinds["disabled"], testPassword))
	nobody := s.client().at("203.0.113.78", "POST", "/auth/login", credentials(accountKinds["unknown"], testPassword))
	if off.seen() != nobody.want(401).seen() {
		t.Errorf("disabled:\n%s\nunknown:\n%s", off.seen(), nobody.seen())
	}
}

// How long an answer takes says no more. An attacker who asks once about one that is
// known and once about one that is not guesses which was which as well by the time as
// by a coin. The order within a pair is random: what one leaves behind, a warm cache or
// a mail that is sent, falls on either alike.
//
// It does not run beside other tests.
func TestTimingDoesNotTell(t *testing.T) {
	n, cost := *pairs, 10 // of bcrypt, as in life: nothing else takes as long
	if n == 0 {
		n, cost = fewPairs, 4
	}
	s := newSite(t, setup{cost: cost, mail: &outbox{}})
	s.newAccountKinds()
	verified, doubtful := s.account(accountKinds["known"]), accountKinds["known"]+".au"
	u, err := s.auth.Register(context.Background(), "Ann", user.Email(doubtful), testPassword)
	if err != nil {
		t.Fatal(err)
	}
	s.client().do("POST", "/auth/password/forgot", map[string]any{"email": accountKinds["known"]}).want(202)
	reset := map[string]any{"token": s.outbox.token(t, accountKinds["known"], "reset-password"), "password": testPassword}
	s.client().do("POST", "/auth/password/reset", reset).want(200)
	yes, no := s.signInAs(u.ID), s.signInAs(verified.ID) // who is to get a mail, and who is not
	to := func(path, kind string, status int) func() {
		c, body := s.client(), map[string]any{"email": accountKinds[kind]}
		if path == "/auth/login" {
			body["password"] = "wrong password"
		}
		return func() { c.quick("127.0.0.1", path, body).want(status) }
	}
	again := func(c *client) func() {
		return func() { c.quick("127.0.0.1", "/auth/email/resend", nil).want(202) }
	}
	for _, tc := range []struct {
		name         string
		known, other func()
	}{
		{"login, known and unknown", to("/auth/login", "known", 401), to("/auth/login", "unknown", 401)},
		{"login, disabled and unknown", to("/auth/login", "disabled", 401), to("/auth/login", "unknown", 401)},
		{"forgot, known and unknown", to("/auth/password/forgot", "known", 202), to("/auth/password/forgot", "unknown", 202)},
		{"resend, not verified and verified", again(yes), again(no)},
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
				s.forgetLimits() // or the second mail within a minute would be none
				s.settle("")     // what the one before has left to be sent is not this one's
				start := time.Now()
				e.send()
				*e.times = append(*e.times, time.Since(start))
			}
		}
		told := auc(known, other)
		t.Logf("%s: AUC %.3f, medians %v and %v, %d pairs", tc.name, told, median(known), median(other), n)
		if n >= judged && (told < 0.5-mostTold || told > 0.5+mostTold) {
			t.Errorf("%s: the time tells them apart, AUC %.3f", tc.name, told)
		}
	}
}

func coin() bool {
	b := make([]byte, 1)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the program instead
	return b[0]&1 == 1
}

func median(times []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(times))[len(times)/2].Round(time.Microsecond)
}

// auc is the probability that one of a took longer than one of b (Mann and Whitney's U
// over the number of pairs): 0.5 tells nothing, 0 and 1 tell all.
func auc(a, b []time.Duration) float64 {
	type timed struct {
		took time.Duration
		isA  bool
	}
	var all []timed
	for _, took := range a {
		all = append(all, timed{took, true})
	}
	for _, took := range b {
		all = append(all, timed{took, false})
	}
	slices.SortFunc(all, func(x, y timed) int { return cmp.Compare(x.took, y.took) })
	sum := 0.0 // of the ranks of a; those that are equal share theirs
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j].took == all[i].took {
			j++
		}
		for _, e := range all[i:j] {
			if e.isA {
				sum += float64(i+j+1) / 2
			}
		}
		i = j
	}
	n := float64(len(a))
	return (sum - n*(n+1)/2) / (n * float64(len(b)))
}

func TestAUC(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		a, b []time.Duration
		want float64
	}{
		{[]time.Duration{3, 4}, []time.Duration{1, 2}, 1},
		{[]time.Duration{1, 2}, []time.Duration{3, 4}, 0},
		{[]time.Duration{1, 2}, []time.Duration{1, 2}, 0.5},
		{[]time.Duration{1, 4}, []time.Duration{2, 3}, 0.5},
		{[]time.Duration{2, 2, 5}, []time.Duration{2, 1, 4}, (0.5 + 1 + 0 + 0.5 + 1 + 0 + 3) / 9},
	} {
		if got := auc(tc.a, tc.b); got != tc.want {
			t.Errorf("%v, %v: %v, want %v", tc.a, tc.b, got, tc.want)
		}
	}
}
