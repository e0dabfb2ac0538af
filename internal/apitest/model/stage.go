package model

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/apitest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
)

// stage plays histories one after the other on two servers that share their stores. The
// first server has the outages.
type stage struct {
	configuration int
	servers       [2]*apitest.Server
	redis         redis.Conn
	redisMu       sync.Mutex // for operators, of whom there may be several at once
	redisProxy    *storetest.Proxy
	mongoProxy    *storetest.Proxy

	// Of the current history:
	w         *world
	tokens    [clientCount]int // the token of each client; -1 is none
	names     map[int]string   // of sessions that move, by a token
	past      []string         // passwords that ever were
	outage    *outage          // that goes on
	lossy     bool             // and began in the middle of a request
	lasts     int              // for so many requests
	listing   []string
	requests  int
	counts    map[string]int // by operation and answer
	slow      int            // requests for which a store had no time by itself
	nextEmail int
}

// violation is a response that the model forbids, with the history that led to it.
type violation struct {
	listing []string
	wrong   string
	facts   string // what was known before
}

func (v *violation) String() string {
	return strings.Join(v.listing, "\n") + "\n=> " + v.wrong + "\n\nWhat was known before:\n" + v.facts
}

func newStage(t *testing.T, configuration int) *stage {
	direct, proxied, redisProxy := storetest.ProxiedRedis(t)
	mongo, err := url.Parse(storetest.Mongo(t))
	testkit.NoError(t, err)
	directMongo, mongoProxy := mongo.String(), storetest.NewProxy(t, mongo.Host)
	mongo.Host, mongo.RawQuery = mongoProxy.Addr, "directConnection=true"
	f := configurations[configuration]
	p := &stage{configuration: configuration, redis: direct.Conn(t), redisProxy: redisProxy, mongoProxy: mongoProxy}
	o := apitest.Options{RealTimeouts: true, TouchInterval: f.touch, MaxPerUser: f.cap}
	o.Redis, o.MongoURI, o.Secrets = &proxied, mongo.String(), f.secrets[0]
	p.servers[0] = apitest.New(t, o)
	o.Redis, o.MongoURI, o.Secrets = &direct, directMongo, f.secrets[1]
	p.servers[1] = apitest.New(t, o)

	for _, s := range p.servers {
		s.SkipContract = seenOften
	}

	if err := p.servers[1].Users.EnsureEmailIndex(context.Background()); err != nil { // with all the time that it takes
		t.Fatal(err)
	}

	return p
}

// responsesSeen counts responses by kind.
var responsesSeen sync.Map

// seenOften reports whether many responses of the same kind were already compared with the
// OpenAPI document.
func seenOften(a apitest.Response) bool {
	const many = 8
	path, _, _ := strings.Cut(a.Request, "/sessions/")
	n, _ := responsesSeen.LoadOrStore(fmt.Sprint(path, a.Status, a.JSON["code"], a.JSON["reason"]), new(atomic.Int64))

	return n.(*atomic.Int64).Add(1) > many
}

// play plays a history and returns the first violation, or nil.
func (p *stage) play(steps []step) (v *violation) {
	f := configurations[p.configuration]
	p.w = &world{cap: f.cap, touch: f.touch, secrets: f.secrets[0]}
	p.past, p.listing, p.requests, p.slow = nil, nil, 0, 0
	p.forget()

	for _, name := range []string{"ann", "bob", "cai"} {
		p.nextEmail++
		p.w.accounts = append(p.w.accounts, account{name: name, email: fmt.Sprintf("%s%d@example.com", name, p.nextEmail), active: yes})
	}

	p.names, p.counts = map[int]string{}, map[string]int{}
	defer p.clear()
	for _, s := range append(steps[:len(steps):len(steps)], step{kind: endOfHistory}) {
		before := p.w.String()
		if wrong := p.step(s); wrong != "" {
			return &violation{p.listing, wrong, before}
		}
	}

	return nil
}

// forget makes the clients lose their cookies.
func (p *stage) forget() {
	for i := range p.tokens {
		p.tokens[i] = -1
	}
}

// endOfHistory is the step that reads with every token.
const endOfHistory = "end of the history"

// step plays a step and returns what was wrong, or "".
func (p *stage) step(s step) string {
	switch s.kind {
	case timePasses:
		return p.passTime(s.length)
	case storeFails:
		return p.fail(s)
	case hoursOfUse:
		for range 5 {
			if wrong := p.passTime(50 * time.Minute); wrong != "" {
				return wrong
			}

			if wrong := p.perform([]step{{kind: "session", jar: s.jar, server: s.server}}); wrong != "" {
				return wrong
			}
		}

		return ""
	case together:
		return p.perform(s.among)
	case endOfHistory:
		return p.audit()
	}

	return p.perform([]step{s})
}

// passTime moves the servers' clocks, and does the same for Redis by shortening all TTLs
// and moving the times in the indexes.
func (p *stage) passTime(d time.Duration) string {
	if wrong := p.heal(); wrong != "" {
		return wrong
	}

	if _, err := passTimeScript.Do(p.redis, d.Milliseconds()); err != nil {
		return "time cannot pass: " + err.Error()
	}

	for _, s := range p.servers {
		s.Advance(d)
	}

	p.note("%v pass", d)
	p.w.pass(p.now())

	return ""
}

// passTimeScript takes a number of milliseconds.
var passTimeScript = redis.NewScript(0, `
for _, key in ipairs(redis.call('KEYS', '*')) do
  local left = redis.call('PTTL', key)
  if left >= 0 and left <= tonumber(ARGV[1]) then
    redis.call('DEL', key)
  else
    if redis.call('TYPE', key).ok == 'zset' then
      for _, name in ipairs(redis.call('ZRANGE', key, 0, -1)) do
        redis.call('ZINCRBY', key, -1000 * tonumber(ARGV[1]), name)
      end
    end
    if left >= 0 then redis.call('PEXPIRE', key, left - tonumber(ARGV[1])) end
  end
end
return 1`)

// now returns the current time of the servers.
func (p *stage) now() interval { t := p.servers[0].Now(); return interval{t, t} }

func (p *stage) note(format string, args ...any) {
	p.listing = append(p.listing, fmt.Sprintf(format, args...))
}

// perform sends the requests of steps, at the same time if there are several.
func (p *stage) perform(steps []step) string {
	var ops []op
	var by []step
	for _, s := range steps {
		if o, ok := p.resolve(s); ok {
			ops, by = append(ops, o), append(by, s)
		}
	}

	if len(ops) == 0 {
		return ""
	}

	began := p.now()
	p.w.pass(began)
	p.w.down = 0
	if p.outage != nil && slices.ContainsFunc(by, func(s step) bool { return p.meetsOutage(s) }) {
		p.w.down = p.outage.down
	}

	responses, errs := make([]apitest.Response, len(ops)), make([]error, len(ops))
	clients := make([]*apitest.Client, len(ops))
	var group sync.WaitGroup
	for i, o := range ops {
		clients[i] = p.servers[1].NewClient()
		if p.meetsOutage(by[i]) {
			clients[i] = p.servers[0].NewClient()
		}

		if o.as >= 0 {
			clients[i].Token = p.w.held[o.as].token
		}

		group.Go(func() { responses[i], errs[i] = p.do(clients[i], o) })
	}

	group.Wait()
	at := interval{began.from, p.now().to}
	p.requests += len(ops)

	for i, o := range ops {
		p.list(i, o, by[i], responses[i])
		if errs[i] != nil {
			return errs[i].Error()
		}
	}

	lossy := p.lossy
	for _, a := range responses {
		if tooSlow := p.tooSlow(a); p.w.down|tooSlow != p.w.down {
			p.w.down, lossy = p.w.down|tooSlow, true
			p.slow++
		}
	}

	if i, wrong := p.w.judgeAll(ops, responses, at); wrong != "" {
		return fmt.Sprintf("%s: %s\n%s %s\n%s", ops[i].kind, wrong, responses[i].Raw, responses[i].Header.Get("Set-Cookie"), p.logged(responses[i]))
	}

	p.w.learnAll(ops, responses, at, lossy)

	for i, o := range ops {
		p.counts[fmt.Sprint(o.kind, " ", responses[i].Status, " ", responses[i].JSON["code"])]++
		p.keep(by[i], o, responses[i])
		p.remember(responses[i])
	}

	return p.lasted(len(ops))
}

// meetsOutage reports whether a step uses the server with the outages. During an outage
// most steps do.
func (p *stage) meetsOutage(s step) bool {
	return s.server == 0 || p.outage != nil && !s.aside
}

// keep stores the cookie of a response in the client.
func (p *stage) keep(s step, o op, a apitest.Response) {
	if !s.thief {
		switch cookieChange(a) {
		case setsCookie:
			p.tokens[s.jar] = p.w.byToken(a.Cookie.Value)
		case dropsCookie:
			p.tokens[s.jar] = -1
		}
	}

	if o.next != "" {
		p.past = append(p.past, o.next)
	}

	if o.kind == "register" {
		p.past = append(p.past, o.password)
	}
}

func (p *stage) list(i int, o op, s step, a apitest.Response) {
	as, about := "", ""
	if o.as >= 0 {
		as = fmt.Sprintf(" with token %d", o.as)
	}

	if o.about >= 0 {
		about = fmt.Sprintf(" token %d", o.about)
	}

	if o.password != "" {
		about += fmt.Sprintf(" %q", o.password)
	}

	if o.next != "" {
		about += fmt.Sprintf(" -> %q", o.next)
	}

	cookie := ""
	switch cookieChange(a) {
	case setsCookie:
		cookie = "; sets the cookie"
	case dropsCookie:
		cookie = "; drops the cookie"
	}

	at := "server 1"
	if p.meetsOutage(s) {
		at = "server 0"
	}

	mark := ""
	if i > 0 {
		mark = "  at the same time: "
	}

	code, _ := a.JSON["code"].(string)
	reason, _ := a.JSON["reason"].(string)
	p.note("%s%s: %s%s%s, client %d, %s: %d %s %s%s", mark, p.w.accounts[o.who].name, o.kind, about, as, s.jar, at, a.Status, code, reason, cookie)
}

// tooSlow returns the store that was too slow for a request, as happens on a busy machine.
// That counts as an outage.
func (p *stage) tooSlow(a apitest.Response) down {
	if a.Status != 503 {
		return 0
	}

	logged := p.logged(a)
	late := func(word string) bool { return strings.Contains(logged, word) }
	switch {
	case !slices.ContainsFunc([]string{"i/o timeout", "deadline exceeded", ": LATE "}, late):
		return 0
	case a.Text("code") == "user_store_unavailable":
		return mongoDown
	}

	return redisDown
}

// logged returns the log line of a failed request.
func (p *stage) logged(a apitest.Response) string {
	for _, s := range p.servers {
		for line := range strings.Lines(s.Log.String()) {
			if strings.Contains(line, "request failed") && strings.Contains(line, a.Text("requestId")) {
				return line
			}
		}
	}

	return ""
}

// clear ends the outage of a history and cleans up.
func (p *stage) clear() {
	_ = p.heal()
	_, _ = p.redis.Do("FLUSHDB")
	_, _ = p.servers[1].DB.Collection("users").DeleteMany(context.Background(), bson.D{})
	for _, s := range p.servers {
		s.Secrets.Reset()
		s.Log.Reset()
	}
}
