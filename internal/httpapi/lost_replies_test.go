package httpapi_test

import (
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2" //nolint:depguard // only spreads the work
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/apitest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/hashpool"
	"latchkey/internal/httpapi"
	"latchkey/internal/ratelimit"
	"latchkey/internal/session"
	"latchkey/internal/testkit"
	"latchkey/internal/user"
)

// The reply to each command of each route is lost once: the connection breaks, or no reply comes.
// The request then has the same effect as without a fault, exactly once: the sessions and the
// account, the security events, the emails and the counts in the response are the same. The request
// may fail because the store is unavailable, provided that the client can repeat it. The test runs
// alone, because it loads all processors.
func TestLostReplies(t *testing.T) {
	pairs := make(chan *lossyPair, lossyPairs)
	providers := newProviderEnv(t)
	for range lossyPairs {
		pairs <- newLossyPair(t, providers)
	}

	// 1. Send each request without a fault.
	var mu sync.Mutex
	var cases []lostReply
	wanted := map[string][]string{}
	inParallel(pairs, lossyRoutes, func(p *lossyPair, r lossyRoute) {
		state, redisCommands, mongoCommands := p.play(t, r, lostReply{})

		mu.Lock()
		defer mu.Unlock()

		wanted[r.name] = state
		cases = append(cases, lostRepliesOf(r, "Redis", redisCommands)...)
		cases = append(cases, lostRepliesOf(r, "MongoDB", mongoCommands)...)
	})

	// 2. Send them with each fault, in random order, because some of them wait for a long time.
	rand.Shuffle(len(cases), func(i, j int) { cases[i], cases[j] = cases[j], cases[i] })

	var repeated atomic.Int64
	inParallel(pairs, cases, func(p *lossyPair, c lostReply) {
		got, _, _ := p.play(t, c.route, c)
		if diff := cmp.Diff(wanted[c.route.name], got); diff != "" {
			t.Errorf("%s: the reply of %s to command %d is lost, %s: (-without the fault +with it)\n%s", c.route.name, c.store, c.command, c.how, diff)
		}
		if p.repeated {
			repeated.Add(1)
			t.Logf("%s: the reply of %s to command %d is lost, %s: repeated", c.route.name, c.store, c.command, c.how)
		}
	})

	t.Logf("%d lost replies, after %d of which the client repeated the request", len(cases), repeated.Load())
}

// A client that gets 503 for the revocation of a session may repeat it. It gets 204, as the session
// has ended, and the event is stored once. Whatever happens, the revocation cancels the change
// of email that a thief has requested.
func TestRevokeAfterOutage(t *testing.T) {
	t.Parallel()

	p := newLossyPair(t, newProviderEnv(t))
	s := p.newScene(t)
	id := s.other.SessionID()
	third := p.direct.SignInAs(s.account.ID)

	// Before the fault, the server must know the time of Redis, and Redis the script that ends a
	// session.
	s.ann.ListSessions()
	fourth := p.direct.SignInAs(s.account.ID).SessionID()
	testkit.NoError(t, p.lossy.Sessions.Revoke(t.Context(), s.account.ID, fourth, ""))

	revoke := func() apitest.Response { return s.ann.Do("DELETE", "/auth/sessions/"+id, nil) }

	// The first two commands read the sessions, and then Redis is down.
	p.redis.Lose(3, math.MaxInt, os.ErrDeadlineExceeded)
	revoke().WantCode(503, "session_store_unavailable")
	p.redis.Stop()
	s.other.WantReason(session.Revoked)
	if tokens := s.documents(t, "users")[0]["tickets"]; fmt.Sprint(tokens) != "map[]" {
		t.Errorf("one-time tokens: got %v, want none", tokens)
	}

	for range 2 {
		revoke().Want(204)
	}

	third.Do("DELETE", "/auth/sessions/"+id, nil).WantCode(404, "not_found")
	p.settle()
	if events := s.documents(t, "activity"); len(events) != 1 || events[0]["name"] != "session_revoked" {
		t.Errorf("events: got %v, want one session_revoked", events)
	}
}

// Of several logouts at the same time, only one is recorded.
func TestLogoutsAtOnce(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	c := s.SignIn()
	for _, a := range testkit.Concurrently(4, func(int) apitest.Response { return c.Clone().Do("POST", "/auth/logout", nil) }) {
		if a.Status != 200 && a.Status != 401 {
			t.Errorf("got %d, want 200 or 401", a.Status)
		}
	}

	if events := s.TakeEvents(); len(events) != 1 || events[0]["name"] != "logout" {
		t.Errorf("events: got %v, want one logout", events)
	}
}

// Every route that uses a store is in the table of TestLostReplies, except for the one that reports
// the state of the stores.
func TestLossyRoutesAreComplete(t *testing.T) {
	t.Parallel()

	others := []string{
		"GET /auth/config", "GET /auth/providers", "GET /healthz", "GET /readyz", "GET /docs", "GET /docs/*", "GET /openapi.json", "GET /postman.json",
		"GET /client.js", "GET /client.d.ts",
	}
	for _, name := range httpapi.RoutesOf(t) {
		isListed := slices.ContainsFunc(lossyRoutes, func(r lossyRoute) bool {
			listed, _, _ := strings.Cut(r.name, " (")

			return listed == name
		})
		if isListed == slices.Contains(others, name) {
			t.Errorf("%s: in the table: got %v, want %v", name, isListed, !isListed)
		}
	}
}

// lossyPairs is the number of requests that TestLostReplies sends at the same time. The MongoDB
// driver waits up to half a second after a connection has broken.
const lossyPairs = 8

// inParallel calls f for each item, with a pair of servers that no other call uses.
func inParallel[T any](pairs chan *lossyPair, items []T, f func(*lossyPair, T)) {
	var group sync.WaitGroup
	for _, item := range items {
		p := <-pairs
		group.Go(func() {
			defer func() { pairs <- p }()
			f(p, item)
		})
	}

	group.Wait()
}

// lostReply is a command whose reply is lost. The zero value loses none.
type lostReply struct {
	route   lossyRoute
	store   string // Redis or MongoDB
	command int    // its number in the request, from 1
	how     string
	err     error // what reading the reply returns
}

// lostRepliesOf returns the faults for a request that sends a number of commands to a store.
func lostRepliesOf(r lossyRoute, store string, commands int) (all []lostReply) {
	for i := range commands {
		all = append(all,
			lostReply{r, store, i + 1, "and the connection breaks", io.EOF},
			lostReply{r, store, i + 1, "and none comes in time", os.ErrDeadlineExceeded})
	}

	return all
}

// lossyPair is two servers on the same stores. Only lossy loses replies; direct prepares and
// inspects, and sends the emails.
type lossyPair struct {
	direct, lossy *apitest.Server
	redis, mongo  *storetest.LossyDialer
	conn          redis.Conn
	providers     *providerEnv
	repeated      bool // whether the last request was repeated
}

func newLossyPair(t *testing.T, providers *providerEnv) *lossyPair {
	t.Helper()

	direct, _, _ := storetest.ProxiedRedis(t) // with its own server on a cluster
	p := &lossyPair{
		conn:      direct.Conn(t),
		providers: providers,
		// New connections and refreshes of the topology send their own commands.
		redis: &storetest.LossyDialer{Ignored: [][]byte{[]byte("PING"), []byte("ROLE"), []byte("CLUSTER")}},
		// The driver also checks whether the server is alive. Events are stored in the background: see
		// package activity.
		mongo: &storetest.LossyDialer{Ignored: [][]byte{[]byte("hello\x00"), []byte("ismaster\x00"), []byte("isMaster\x00"), []byte("activity\x00")}},
	}

	rule := ratelimit.Rule{Events: 1000, Window: time.Hour}
	o := apitest.Options{
		Mail:      &apitest.Outbox{},
		QueueOnly: true, // a loop that looks for emails would cost more than all requests
		Origins:   []string{testFrontend},
		Providers: providers.settings,
		Limits:    httpapi.Limits{Login: rule, Account: rule, Device: rule}, // of one route: all use the same script
		Redis:     &direct,
		MongoURI:  storetest.Mongo(t),
	}
	p.direct = apitest.New(t, o)

	o.RedisDial = p.redis.Dial
	o.MongoDial = p.mongo.Dial
	p.lossy = apitest.New(t, o)

	return p
}

// play sends a request while a reply is lost, and describes its effect. If a store was
// unavailable, it repeats the request.
func (p *lossyPair) play(t *testing.T, r lossyRoute, c lostReply) (state []string, redisCommands, mongoCommands int) {
	s := p.newScene(t)
	send := r.prepare(s)
	p.settle()
	p.forgetEvents(t)
	s.original = s.ann.Token

	numbers := map[string]int{c.store: c.command}
	p.redis.Lose(numbers["Redis"], numbers["Redis"], c.err)
	p.mongo.Lose(numbers["MongoDB"], numbers["MongoDB"], c.err)
	a := send()
	redisCommands = p.redis.Stop()
	mongoCommands = p.mongo.Stop()

	p.repeated = isUnavailable(a)
	if p.repeated {
		a = send()
	}

	return s.describe(t, a), redisCommands, mongoCommands
}

// isUnavailable reports whether a response asks the client to try again.
func isUnavailable(a apitest.Response) bool {
	return a.Status == 503 || strings.Contains(a.Header.Get("Location"), "_unavailable")
}

// settle waits for what the servers do in the background, and returns the emails.
func (p *lossyPair) settle() (emails []string) {
	p.direct.FlushEvents()
	p.lossy.FlushEvents()
	p.direct.DeliverMails()
	for _, m := range p.direct.TakeMails() {
		emails = append(emails, m.To+": "+m.Subject)
	}

	return emails
}

func (p *lossyPair) forgetEvents(t *testing.T) {
	_, err := p.direct.DB.Collection("activity").DeleteMany(t.Context(), bson.D{})
	testkit.NoError(t, err)
}

// scene is the only account in the stores, with two sessions. One of them has requested a change of
// the email.
type scene struct {
	*lossyPair
	account  user.User
	ann      *apitest.Client // sends the request
	original string          // ann's token before the request
	other    *apitest.Client // has the other session
	app      apitest.App     // of the account, if the route needs one
}

func (p *lossyPair) newScene(t *testing.T) *scene {
	_, err := p.conn.Do("FLUSHDB")
	testkit.NoError(t, err)
	for _, name := range []string{"users", "identities"} {
		_, err := p.direct.DB.Collection(name).DeleteMany(t.Context(), bson.D{})
		testkit.NoError(t, err)
	}

	s := &scene{lossyPair: p, account: p.direct.CreateUser("ann@example.com")}
	s.ann = p.lossy.WithToken(p.direct.SignInAs(s.account.ID).Token)
	s.other = p.direct.SignInAs(s.account.ID)
	testkit.NoError(t, p.direct.Users.PutToken(t.Context(), s.account.ID, s.account.Email, user.EmailChangeToken, user.OneTimeToken{
		RequestID: "from the other session",
		Email:     "thief@example.com",
		Expires:   time.Now().Add(time.Hour),
	}))

	return s
}

// describe describes a response and everything that the request may have changed.
func (s *scene) describe(t *testing.T, a apitest.Response) []string {
	location, _ := url.Parse(a.Header.Get("Location"))
	state := []string{
		fmt.Sprintf("response: %d, revoked %v, error %q", a.Status, a.JSON["revoked"], location.Query().Get("error")),
		fmt.Sprintf("ann: same token %v, %s", s.ann.Token == s.original, s.sessionOf(s.ann.Token)),
		"ann's first token: " + s.sessionOf(s.original),
		"the other session: " + s.sessionOf(s.other.Token),
		fmt.Sprintf("sessions: %d", s.direct.LiveSessions(s.conn)),
	}

	emails := s.settle() // sending them changes accounts
	slices.Sort(emails)
	for _, email := range slices.Compact(emails) { // at least once
		state = append(state, "email to "+email)
	}

	for _, u := range s.documents(t, "users") {
		hash, _ := u["password"].(string)
		verify := func(password string) bool {
			ok, _, _ := s.direct.Hasher.Verify(t.Context(), hashpool.Anyone, hash, password)

			return ok
		}
		tokens, _ := u["tickets"].(bson.M)
		kinds := make([]string, 0, len(tokens))
		for kind := range tokens {
			kinds = append(kinds, kind)
		}
		slices.Sort(kinds)
		state = append(state, fmt.Sprintf("account: %v %v, verified %v, active %v, unlinked %v, tokens %v, logged in %v, no password %v, password %v, new password %v",
			u["name"], u["email"], u["emailVerified"], u["isActive"], u["unlinked"], kinds, u["lastLogin"] != nil, hash == "", verify(apitest.Password), verify(apitest.NewPassword)))
	}

	u, err := s.direct.Users.ByID(t.Context(), s.account.ID)
	if !errors.Is(err, user.ErrNotFound) {
		testkit.NoError(t, err)
	}
	for _, f := range u.ListFactors() {
		state = append(state, fmt.Sprintf("factor: %s, used %v, failures %d", f.Name, !f.LastUsed.IsZero(), f.Failures))
	}
	state = append(state, fmt.Sprintf("recovery codes: %d, trusted devices: %d, enrolment: %v, waiting login: %v",
		len(u.RecoveryCodes), len(u.ListTrusted(s.direct.Now())), u.Enrolment != nil, s.isWaiting()))

	for _, i := range s.documents(t, "identities") {
		state = append(state, fmt.Sprintf("identity: %v %v, pending %v, logged in %v", i["provider"], i["providerId"], i["pending"] != nil, i["lastLogin"] != nil))
	}

	for _, e := range s.documents(t, "activity") {
		state = append(state, fmt.Sprintf("event: %v, count %v, new device %v", e["name"], e["count"], e["newDevice"]))
	}
	slices.Sort(state[5:])

	return state
}

// sessionOf describes the session of a token.
func (s *scene) sessionOf(token string) string {
	a := s.direct.WithToken(token).Do("GET", "/auth/session", nil)

	return fmt.Sprintf("%d %s", a.Status, a.Text("reason"))
}

// isWaiting reports whether ann has a login that waits for the second factor.
func (s *scene) isWaiting() bool {
	c := s.direct.NewClient()
	c.Factors = s.ann.Factors

	return c.Do("GET", "/auth/login/factor", nil).Status == http.StatusOK
}

func (s *scene) documents(t *testing.T, collection string) (all []bson.M) {
	cursor, err := s.direct.DB.Collection(collection).Find(t.Context(), bson.D{})
	testkit.NoError(t, errors.Join(err, cursor.All(t.Context(), &all)))

	return all
}
