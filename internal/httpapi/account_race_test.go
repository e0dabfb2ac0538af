package httpapi

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/mail"
	"latchkey/internal/session"
	"latchkey/internal/user"
)

// crowd is how many do the same thing at once.
const crowd = 32

// pair returns two servers on the same stores, which send their mail to one outbox.
func pair(t *testing.T, o setup) []*site {
	t.Helper()
	first := newSite(t, o)
	o.stores = first
	return []*site{first, newSite(t, o)}
}

// atOnce has n clients send something at once, to the servers in turn, and returns the
// answers in their order.
func atOnce(servers []*site, n int, send func(c *client, i int) answer) []answer {
	answers := make([]answer, n)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		c := servers[i%len(servers)].client()
		wg.Go(func() {
			<-start
			answers[i] = send(c, i)
		})
	}
	close(start)
	wg.Wait()
	return answers
}

// tally counts answers by their status and code.
func tally(answers []answer) map[string]int {
	counts := map[string]int{}
	for _, a := range answers {
		what := fmt.Sprint(a.status)
		if code, failed := a.body["code"].(string); failed {
			what += " " + code
		}
		counts[what]++
	}
	return counts
}

// eachRound runs a race as often as -rounds says. run asks judged
// whether its answers can be judged: a store that had no time for one of so many (503) has
// left open what was done. A real Redis has the time.
func eachRound(t *testing.T, run func(round int, judged func([]answer) bool)) {
	t.Helper()
	open := 0
	for round := range *rounds {
		run(round, func(answers []answer) bool {
			if slices.ContainsFunc(answers, func(a answer) bool {
				return a.status == 503 || strings.HasSuffix(a.header.Get("Location"), "_unavailable")
			}) {
				open++
				return false
			}
			return true
		})
	}
	if open > 0 {
		t.Logf("%d of %d rounds were not judged: the stores were too slow", open, *rounds)
	}
	if open == *rounds {
		t.Error("nothing was judged")
	}
}

// oneWon fails unless exactly one answer is a success and all others are the one
// failure. It returns the place of the winner.
func oneWon(t *testing.T, answers []answer, success, failure string) int {
	t.Helper()
	want := map[string]int{success: 1, failure: len(answers) - 1}
	if got := tally(answers); !maps.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	return slices.IndexFunc(answers, func(a answer) bool { return a.status < 300 })
}

// drain waits until nothing is in the queue, and takes all that was sent.
func (s *site) drain() []mail.Message {
	s.t.Helper()
	s.settle("")
	s.outbox.mu.Lock()
	defer s.outbox.mu.Unlock()
	sent := s.outbox.sent
	s.outbox.sent = nil
	return sent
}

// told counts the mails of a subject to an address.
func told(sent []mail.Message, to, subject string) (n int) {
	for _, m := range sent {
		if m.To == to && m.Subject == subject {
			n++
		}
	}
	return n
}

// account is the account of an address as it is now.
func (s *site) account(email string) user.User {
	s.t.Helper()
	u, err := s.users.ByEmail(context.Background(), user.Email(email))
	if err != nil {
		s.t.Fatalf("%s: %v", email, err)
	}
	return u
}

// remove deletes an account at the end of a round: the in-process MongoDB looks through
// all there are.
func (s *site) remove(id string) {
	s.t.Helper()
	if err := s.users.Delete(context.Background(), id); err != nil {
		s.t.Error(err)
	}
}

// proves tells whether a password is that of an account.
func (s *site) proves(id, password string) bool {
	_, err := s.auth.Prove(context.Background(), id, password)
	return err == nil
}

// A one-time token does what it is for once, however many use it at once and wherever,
// and what it does is what the one said who was told so.
func TestRaceOneTimeTokens(t *testing.T) {
	for name, run := range map[string]func(t *testing.T, servers []*site, round int, judged func([]answer) bool){
		"reset": raceReset, "verify": raceVerify, "change": raceChangeEmail,
	} {
		t.Run(name, func(t *testing.T) {
			servers := pair(t, setup{mail: &outbox{}})
			eachRound(t, func(round int, judged func([]answer) bool) { run(t, servers, round, judged) })
		})
	}
}

func raceReset(t *testing.T, servers []*site, round int, judged func([]answer) bool) {
	const email = "ann@example.com"
	s := servers[0]
	if round == 0 {
		s.register(email)
	}
	s.forgetLimits()
	s.client().do("POST", "/auth/password/forgot", map[string]any{"email": email}).want(202)
	token := s.outbox.token(t, email, "reset-password")
	s.drain()
	ann := s.account(email)
	holder := s.signInAs(ann.ID)

	password := func(i int) string { return fmt.Sprintf("password %d of round %d", i, round) }
	answers := atOnce(servers, crowd, func(c *client, i int) answer {
		return c.do("POST", "/auth/password/reset", map[string]any{"token": token, "password": password(i)})
	})
	if !judged(answers) {
		return
	}
	winner := oneWon(t, answers, "200", "400 invalid_token")
	for _, i := range []int{winner, (winner + 1) % crowd, (winner + crowd/2) % crowd} {
		if s.proves(ann.ID, password(i)) != (i == winner) {
			t.Fatalf("round %d: %d was told that its password is set, and that of %d is: %v", round, winner, i, i != winner)
		}
	}
	holder.do("GET", "/auth/session", nil).want(401)
	if n := told(s.drain(), email, "Your Latchkey password was changed"); n != 1 {
		t.Fatalf("round %d: the owner is told %d times", round, n)
	}
}

func raceVerify(t *testing.T, servers []*site, round int, judged func([]answer) bool) {
	s, email := servers[0], fmt.Sprintf("ann%d@example.com", round)
	s.register(email)
	defer s.remove(s.account(email).ID)
	token := s.outbox.token(t, email, "verify-email")
	answers := atOnce(servers, crowd, func(c *client, _ int) answer {
		return c.do("POST", "/auth/email/verify", map[string]any{"token": token})
	})
	if !judged(answers) {
		return
	}
	oneWon(t, answers, "200", "400 invalid_token")
	if !s.account(email).EmailVerified {
		t.Fatalf("round %d: not verified", round)
	}
}

func raceChangeEmail(t *testing.T, servers []*site, round int, judged func([]answer) bool) {
	s := servers[0]
	old, next := fmt.Sprintf("ann%d@example.com", round), fmt.Sprintf("new%d@example.com", round)
	s.register(old).do("POST", "/auth/logout", nil).want(200)
	ann := s.account(old)
	defer s.remove(ann.ID)
	holder := s.signInAs(ann.ID)
	holder.do("POST", "/auth/email/change", map[string]any{"email": next}).want(202)
	token := s.outbox.token(t, next, "verify-email")
	s.drain()
	answers := atOnce(servers, crowd, func(c *client, _ int) answer {
		return c.do("POST", "/auth/email/verify", map[string]any{"token": token})
	})
	if !judged(answers) {
		return
	}
	oneWon(t, answers, "200", "400 invalid_token")
	if u := s.account(next); u.ID != ann.ID || !u.EmailVerified {
		t.Fatalf("round %d: the account is %+v", round, u)
	}
	if _, err := s.users.ByEmail(context.Background(), user.Email(old)); err == nil {
		t.Fatalf("round %d: the old address is still someone's", round)
	}
	holder.do("GET", "/auth/session", nil).want(401)
	sent := s.drain()
	for _, to := range []string{old, next} {
		if n := told(sent, to, "Your Latchkey email address was changed"); n != 1 {
			t.Fatalf("round %d: %s is told %d times", round, to, n)
		}
	}
}

// Of registrations of one address at once, however it is written, one makes an account
// and a session. The unique index decides: a look before the insert would let several
// through.
func TestRaceRegister(t *testing.T) {
	servers := pair(t, setup{})
	s, users := servers[0], servers[0].database().Collection("users")
	conn := s.redis.Conn(t)
	spellings := []string{
		"Ann%d@Bücher.Example", " ann%d@b\u00dcCHER.example", "aNN%d@bu\u0308cher.example ", "ANN%d@BU\u0308CHER.EXAMPLE",
		"ann%d@xn--bcher-kva.example", " Ann%d@XN--BCHER-KVA.example",
	}
	eachRound(t, func(round int, judged func([]answer) bool) {
		before, err := users.CountDocuments(context.Background(), bson.D{})
		if err != nil {
			t.Fatal(err)
		}
		signedIn := s.liveSessions(conn)
		password := func(i int) string { return fmt.Sprintf("password number %d", i) }
		answers := atOnce(servers, crowd, func(c *client, i int) answer {
			email := fmt.Sprintf(spellings[i%len(spellings)], round)
			if round%2 == 1 { // as a form of ASCII alone
				email = fmt.Sprintf([]string{"Ann%d@Example.com", " ann%d@example.COM", "aNN%d@eXAMPLE.com"}[i%3], round)
			}
			a := c.do("POST", "/auth/register", map[string]any{"name": fmt.Sprintf("Ann %d", i), "email": email, "password": password(i)})
			if (c.token != "") != (a.status == 201) {
				t.Errorf("round %d: %d and the cookie %q", round, a.status, c.token)
			}
			return a
		})
		if !judged(answers) {
			return
		}
		winner := oneWon(t, answers, "201", "409 email_taken")
		email := fmt.Sprintf("ann%d@bücher.example", round)
		if round%2 == 1 {
			email = fmt.Sprintf("ann%d@example.com", round)
		}
		ann := s.account(email)
		if ann.ID != answers[winner].text("user", "id") || ann.Name != fmt.Sprintf("Ann %d", winner) || !s.proves(ann.ID, password(winner)) {
			t.Fatalf("round %d: %+v is not the account of who was told so: %s", round, ann, answers[winner].raw)
		}
		n, err := users.CountDocuments(context.Background(), bson.D{})
		if err != nil || n != before+1 {
			t.Fatalf("round %d: %d accounts were made, %v", round, n-before, err)
		}
		if begun := s.liveSessions(conn) - signedIn; begun != 1 {
			t.Fatalf("round %d: %d sessions were begun", round, begun)
		}
	})
}

// standing is an account with two sessions and links to reset the password and to
// change the address, for one round of TestRaceResetAndChange.
type standing struct {
	id, old, next string
	first, second *client
	reset, change string // tokens
	left          int    // sessions of rounds that could not be judged
}

// named signs in with the password of before, as a browser of that name.
func named(c *client, name, email string) answer {
	c.t.Helper()
	header := http.Header{"Content-Type": {"application/json"}, "User-Agent": {name}}
	return c.send("POST", "/auth/login", header, encoded(credentials(email, testPassword)))
}

func newStanding(t *testing.T, s *site, round int) standing {
	t.Helper()
	st := standing{old: fmt.Sprintf("ann%d@example.com", round), next: fmt.Sprintf("new%d@example.com", round), first: s.client(), second: s.client(), left: s.liveSessions(s.redis.Conn(t))}
	s.register(st.old).do("POST", "/auth/logout", nil).want(200)
	named(st.first, "first", st.old).want(200)
	named(st.second, "second", st.old).want(200)
	st.first.do("POST", "/auth/email/change", map[string]any{"email": st.next}).want(202)
	st.change = s.outbox.token(t, st.next, "verify-email")
	s.client().do("POST", "/auth/password/forgot", map[string]any{"email": st.old}).want(202)
	st.reset = s.outbox.token(t, st.old, "reset-password")
	st.id = s.account(st.old).ID
	return st
}

// move is one request of the race: who sends it, and the password that it sets.
type move struct {
	by       *client // whose cookie it has; nil sends none
	path     string
	body     map[string]any
	password string
}

// moves are what happens to an account at once. In most rounds something is missing: of
// all together it would be the same that wins each time.
func (st standing) moves(round int) []move {
	parts := []string{"reset change verify", "change verify", "verify", "reset verify", "reset change"}[round%5]
	var all []move
	if strings.Contains(parts, "reset") {
		for i, by := range []*client{nil, nil, st.second} {
			password := fmt.Sprintf("password of reset %d", i)
			all = append(all, move{by, "/auth/password/reset", map[string]any{"token": st.reset, "password": password}, password})
		}
	}
	if strings.Contains(parts, "change") {
		for i, by := range []*client{st.first, st.first, st.second} {
			password := fmt.Sprintf("password of change %d", i)
			all = append(all, move{by, "/auth/password/change", map[string]any{"currentPassword": testPassword, "newPassword": password}, password})
		}
	}
	if strings.Contains(parts, "verify") {
		for _, by := range []*client{st.first, nil} {
			all = append(all, move{by: by, path: "/auth/email/verify", body: map[string]any{"token": st.change}})
		}
	}
	all = append(all, move{by: st.first, path: "/auth/rotate-session"})
	for _, email := range []string{st.old, st.old, st.next, st.next} {
		all = append(all, move{path: "/auth/login", body: map[string]any{"email": email, "password": testPassword}})
	}
	return all
}

// Resets, changes of the password and of the address, and logins at once leave an
// account with one password and one address, and with no session that the change which
// won should have ended.
func TestRaceResetAndChange(t *testing.T) {
	servers := pair(t, setup{mail: &outbox{}})
	s := servers[0]
	won := map[string]int{}
	eachRound(t, func(round int, judged func([]answer) bool) {
		st := newStanding(t, s, round)
		defer s.remove(st.id)
		moves := st.moves(round)
		clients := make([]*client, len(moves))
		// Not in the order of the list: whoever comes first has the advantage.
		answers := atOnce(servers, len(moves), func(c *client, i int) answer {
			i = (i + round) % len(moves)
			if m := moves[i]; m.by != nil {
				c.token = m.by.token
			}
			clients[i] = c
			if moves[i].path == "/auth/login" {
				return named(c, "login", moves[i].body["email"].(string))
			}
			if moves[i].body == nil {
				return c.do("POST", moves[i].path, nil)
			}
			return c.do("POST", moves[i].path, moves[i].body)
		})
		if !judged(answers) {
			return
		}
		byMove := make([]answer, len(moves))
		for i, a := range answers {
			byMove[(i+round)%len(moves)] = a
		}
		o := st.outcome(t, s, moves, byMove)
		won[o.how]++
		o.check(t, servers, round, clients)
		if t.Failed() {
			t.Fatalf("round %d, %s: %v", round, o.how, tally(answers))
		}
		s.drain()
	})
	t.Logf("%d rounds, who won: %v", *rounds, won)
}

// outcome is what is true after a round, and was said.
type outcome struct {
	standing
	how      string
	email    string   // of the account now
	sessions []string // the browsers whose sessions may be alive
}

// overtaken tells whether an answer says that a change was made perhaps, and that the
// session of who asked for it has ended because of it.
func (a answer) overtaken(reason session.Reason) bool {
	return a.status == 401 && a.body["reason"] == string(reason)
}

// outcome compares the account with the answers. It has one password, which is the one
// whose setter was told so, and the one address; a reset and a change of the address void
// each other's link.
func (st standing) outcome(t *testing.T, s *site, moves []move, answers []answer) outcome {
	t.Helper()
	allowed := map[string][]string{
		"/auth/password/reset":  {"200", "400 invalid_token"},
		"/auth/password/change": {"200", "401 wrong_password", "401 not_authenticated"},
		"/auth/email/verify":    {"200", "400 invalid_token", "401 not_authenticated"},
		"/auth/rotate-session":  {"200", "401 not_authenticated"},
		"/auth/login":           {"200", "401 invalid_credentials"},
	}
	u, err := s.users.ByID(context.Background(), st.id)
	if err != nil {
		t.Fatal(err)
	}
	o, moved, said, made := outcome{standing: st, email: string(u.Email)}, string(u.Email) == st.next, false, 0
	if s.proves(st.id, testPassword) {
		made++
		o.sessions = []string{"login"} // what begins with the password of now
	}
	confirmed := false // by the first session, which goes on then
	for i, a := range answers {
		m := &moves[i]
		for what := range tally([]answer{a}) {
			if !slices.Contains(allowed[m.path], what) {
				t.Errorf("%s: %s", m.path, a.raw)
			}
		}
		if m.path == "/auth/email/verify" {
			said = said || a.status == 200 || a.overtaken(session.EmailChanged)
			confirmed = confirmed || a.status == 200 && m.by != nil
			if a.status == 200 && !moved {
				t.Errorf("the address was not changed: %s", a.raw)
			}
		}
		if m.password == "" {
			continue
		}
		works := s.proves(st.id, m.password)
		if a.status == 200 && !works || works && a.status != 200 && !a.overtaken(session.PasswordChanged) {
			t.Errorf("%q works: %v, and %s was answered %d", m.password, works, m.path, a.status)
		}
		if works {
			made++
			o.how = m.path
			if m.path == "/auth/password/change" && a.status == 200 {
				o.sessions = []string{map[*client]string{st.first: "first", st.second: "second"}[m.by]}
			}
		}
	}
	if made != 1 || moved && !said || moved && o.how == "/auth/password/reset" || !moved && o.how == "" {
		t.Errorf("%d passwords work, the last of %q; the address is changed: %v", made, o.how, moved)
	}
	if moved && o.how == "" && confirmed {
		o.sessions = append(o.sessions, "first")
	}
	if moved {
		o.how += " /auth/email/verify"
	}
	return o
}

// check fails for each session that lives and should not.
func (o outcome) check(t *testing.T, servers []*site, round int, clients []*client) {
	t.Helper()
	s := servers[0]
	live, err := s.sessions.List(context.Background(), o.id)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range live {
		if !slices.Contains(o.sessions, l.UserAgent()) {
			t.Errorf("a session of %s lives on, allowed are %q", l.UserAgent(), o.sessions)
		}
		if l.Email != o.email {
			t.Errorf("a session of %s speaks in the name of %s, the account's address is %s", l.UserAgent(), l.Email, o.email)
		}
	}
	// No cookie that any answer set works beyond these, and nothing lives outside the list.
	tokens := map[string]bool{o.first.token: true, o.second.token: true}
	for _, c := range clients {
		tokens[c.token] = true
	}
	in := 0
	for token := range tokens {
		if token != "" && (&client{site: servers[round%2], token: token}).do("GET", "/auth/session", nil).status == 200 {
			in++
		}
	}
	if in != len(live) {
		t.Errorf("%d cookies work, %d sessions are listed", in, len(live))
	}
	if _, err := s.sessions.RevokeAll(context.Background(), o.id, "", "test"); err != nil {
		t.Fatal(err)
	}
	if n := s.liveSessions(s.redis.Conn(t)) - o.left; n != 0 {
		t.Errorf("%d sessions are in no list", n)
	}
}

// Who holds the same cookie as the one that changes the password or the address, and
// has it rotated in the last moment, is not kept by that: it may be a thief, and a
// session in the name of the old address is nobody's.
func TestRotatedDuringChange(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]struct {
		path string
		body func(token string) map[string]any
		done func(s *site, id string) bool
	}{
		"password": {
			"/auth/password/change",
			func(string) map[string]any {
				return map[string]any{"currentPassword": testPassword, "newPassword": newPassword}
			},
			func(s *site, id string) bool { return s.proves(id, newPassword) },
		},
		"address": {
			"/auth/email/verify",
			func(token string) map[string]any { return map[string]any{"token": token} },
			func(s *site, id string) bool {
				u, err := s.users.ByID(context.Background(), id)
				return err == nil && u.Email == "new@example.com"
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			direct, proxied, proxy := storetest.ProxiedRedis(t)
			box := &outbox{}
			s := newSite(t, setup{redis: &direct, mail: box})
			behind := newSite(t, setup{redis: &proxied, mongo: s.mongo, mail: box})
			ann := s.register("ann@example.com")
			ann.do("POST", "/auth/email/change", map[string]any{"email": "new@example.com"}).want(202)
			token, id := box.token(t, "new@example.com", "verify-email"), s.account("ann@example.com").ID

			thief := ann.clone()
			var rotated atomic.Bool
			proxy.Set(storetest.Faults{Command: func(_ net.Conn, chunk []byte) bool {
				// The sessions are ended once more after the change: at that moment.
				if bytes.Contains(chunk, []byte("barrier:{"+id)) && change.done(s, id) && rotated.CompareAndSwap(false, true) {
					thief.do("POST", "/auth/rotate-session", nil).want(200)
				}
				return false
			}})
			victim := &client{site: behind, token: ann.token}
			a := victim.do("POST", change.path, change.body(token))
			if a.status != 200 && a.status != 401 || !change.done(s, id) || !rotated.Load() {
				t.Fatalf("changed %v, rotated %v, answered %d", change.done(s, id), rotated.Load(), a.status)
			}
			if a := thief.do("GET", "/auth/session", nil); a.status != 401 {
				t.Errorf("the session lives on, rotated by another: %s", a.raw)
			}
			if n := s.liveSessions(s.redis.Conn(t)); n != 0 {
				t.Errorf("%d sessions", n)
			}
		})
	}
}

// A login with the old password that is under way while the password becomes another
// begins no session that outlives it, at whichever moment it is.
func TestLoginDuringChange(t *testing.T) {
	t.Parallel()
	const email = "ann@example.com"
	setNew := map[string]func(ann *client, token string){
		"reset": func(ann *client, token string) {
			ann.do("POST", "/auth/password/reset", map[string]any{"token": token, "password": newPassword}).want(200)
		},
		"change": func(ann *client, _ string) {
			ann.do("POST", "/auth/password/change", map[string]any{"currentPassword": testPassword, "newPassword": newPassword}).want(200)
		},
	}
	for name, set := range setNew {
		for _, moment := range []string{"looked up before", "whole before the end"} {
			t.Run(name+" "+moment, func(t *testing.T) {
				t.Parallel()
				direct, proxied, proxy := storetest.ProxiedRedis(t)
				box := &outbox{}
				s := newSite(t, setup{redis: &direct, mail: box})
				behind := newSite(t, setup{redis: &proxied, mongo: s.mongo, mail: box})
				ann := s.register(email)
				named(s.client(), "other", email).want(200) // which is to be ended
				s.client().do("POST", "/auth/password/forgot", map[string]any{"email": email}).want(202)
				token, id := box.token(t, email, "reset-password"), s.account(email).ID
				var met atomic.Bool
				once := func(what string, then func()) {
					proxy.Set(storetest.Faults{Command: func(_ net.Conn, chunk []byte) bool {
						if bytes.Contains(chunk, []byte(what)) && bytes.Contains(chunk, []byte("{"+id)) && met.CompareAndSwap(false, true) {
							then()
						}
						return false
					}})
				}
				login := s.client()
				if moment == "looked up before" {
					// The login has read the account and asks for its epoch.
					login = behind.client()
					once("barrier:", func() { set(ann.clone(), token) })
					login.do("POST", "/auth/login", credentials(email, testPassword)).wantCode(401, "invalid_credentials")
				} else {
					// The change has ended the sessions that there were, and is about to be made.
					once("ZREM", func() {
						login.do("POST", "/auth/login", credentials(email, testPassword)).want(200)
					})
					changer := &client{site: behind, token: ann.token}
					set(changer, token)
				}
				if !met.Load() || !s.proves(id, newPassword) {
					t.Fatal("the two have not met")
				}
				if login.token != "" {
					login.clone().do("GET", "/auth/session", nil).want(401)
				}
				live, err := s.sessions.List(context.Background(), id)
				if most := map[string]int{"reset": 0, "change": 1}[name]; err != nil || len(live) > most {
					t.Errorf("%d sessions, %v", len(live), err)
				}
			})
		}
	}
}
