package httpapi

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

	"latchkey/internal/devstore/storetest"
)

// stage is where histories are played, one after the other: two servers on the same
// stores, of which the first meets the outages.
type stage struct {
	flavour    int
	servers    [2]*site
	redis      redis.Conn
	redisMu    sync.Mutex // for operators, of whom there may be several at once
	redisProxy *storetest.Proxy
	mongoProxy *storetest.Proxy

	// Of the history that is played:
	w         *world
	jars      [jars]int      // the token of each client; -1 is none
	names     map[int]string // of sessions that move, by a token
	past      []string       // passwords that ever were
	outage    *outage        // that goes on
	lossy     bool           // and began in the middle of a request
	lasts     int            // for so many requests
	listing   []string
	requests  int
	counts    map[string]int // by operation and answer
	slow      int            // requests for which a store had no time by itself
	nextEmail int
}

// violation is an answer that the model forbids, after the history that led to it.
type violation struct {
	listing []string
	wrong   string
	facts   string // what was known before
}

func (v *violation) String() string {
	return strings.Join(v.listing, "\n") + "\n=> " + v.wrong + "\n\nWhat was known before:\n" + v.facts
}

func newStage(t *testing.T, flavour int) *stage {
	direct, proxied, redisProxy := storetest.ProxiedRedis(t)
	mongo, err := url.Parse(storetest.Mongo(t))
	if err != nil {
		t.Fatal(err)
	}
	directMongo, mongoProxy := mongo.String(), storetest.NewProxy(t, mongo.Host)
	mongo.Host, mongo.RawQuery = mongoProxy.Addr, "directConnection=true"
	f := flavours[flavour]
	p := &stage{flavour: flavour, redis: direct.Conn(t), redisProxy: redisProxy, mongoProxy: mongoProxy}
	o := setup{touchInterval: f.touch, maxPerUser: f.cap}
	o.redis, o.mongo, o.secrets = &proxied, mongo.String(), f.secrets[0]
	p.servers[0] = newSite(t, o)
	o.redis, o.mongo, o.secrets = &direct, directMongo, f.secrets[1]
	p.servers[1] = newSite(t, o)
	for _, s := range p.servers {
		s.unread = seenOften
	}
	if err := p.servers[1].users.EnsureIndex(context.Background()); err != nil { // with all the time that it takes
		t.Fatal(err)
	}
	return p
}

// answersSeen counts answers by their kind.
var answersSeen sync.Map

// seenOften tells whether many answers of a kind were compared with the document.
func seenOften(a answer) bool {
	const many = 8
	path, _, _ := strings.Cut(a.request, "/sessions/")
	n, _ := answersSeen.LoadOrStore(fmt.Sprint(path, a.status, a.body["code"], a.body["reason"]), new(atomic.Int64))
	return n.(*atomic.Int64).Add(1) > many
}

// play plays a history and returns what was wrong first; nil is nothing.
func (p *stage) play(steps []step) (v *violation) {
	f := flavours[p.flavour]
	p.w = &world{cap: f.cap, touch: f.touch, secrets: f.secrets[0]}
	p.past, p.listing, p.requests, p.slow = nil, nil, 0, 0
	p.forget()
	for _, name := range []string{"ann", "bob", "cai"} {
		p.nextEmail++
		p.w.people = append(p.w.people, owner{name: name, email: fmt.Sprintf("%s%d@example.com", name, p.nextEmail), active: yes})
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

// forget has the clients lose their cookies.
func (p *stage) forget() {
	for i := range p.jars {
		p.jars[i] = -1
	}
}

// endOfHistory asks for everything that there ever was.
const endOfHistory = "end of the history"

// step does a step and returns what was wrong; "" is nothing.
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

// passTime has time pass for the servers and for Redis, which keeps the time that is left
// of its keys, and in the indexes the time when sessions expire.
func (p *stage) passTime(d time.Duration) string {
	if wrong := p.heal(); wrong != "" {
		return wrong
	}
	if _, err := passTimeScript.Do(p.redis, d.Milliseconds()); err != nil {
		return "time cannot pass: " + err.Error()
	}
	for _, s := range p.servers {
		s.advance(d)
	}
	p.note("%v pass", d)
	p.w.pass(p.now())
	return ""
}

// passTimeScript takes how many milliseconds it is.
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

// now is this moment on the clock of the servers.
func (p *stage) now() span { t := p.servers[0].now(); return span{t, t} }

func (p *stage) note(format string, args ...any) {
	p.listing = append(p.listing, fmt.Sprintf(format, args...))
}

// perform has clients do something, at once where it is several.
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
	p.w.away = 0
	if p.outage != nil && slices.ContainsFunc(by, func(s step) bool { return p.meetsOutage(s) }) {
		p.w.away = p.outage.away
	}
	answers, errs := make([]answer, len(ops)), make([]error, len(ops))
	clients := make([]*client, len(ops))
	var group sync.WaitGroup
	for i, o := range ops {
		clients[i] = p.servers[1].client()
		if p.meetsOutage(by[i]) {
			clients[i] = p.servers[0].client()
		}
		if o.as >= 0 {
			clients[i].token = p.w.held[o.as].token
		}
		group.Go(func() { answers[i], errs[i] = p.do(clients[i], o) })
	}
	group.Wait()
	at := span{began.from, p.now().to}
	p.requests += len(ops)
	for i, o := range ops {
		p.list(i, o, by[i], answers[i])
		if errs[i] != nil {
			return errs[i].Error()
		}
	}
	lossy := p.lossy
	for _, a := range answers {
		if tooSlow := p.tooSlow(a); p.w.away|tooSlow != p.w.away {
			p.w.away, lossy = p.w.away|tooSlow, true
			p.slow++
		}
	}
	if i, wrong := p.w.judgeAll(ops, answers, at); wrong != "" {
		return fmt.Sprintf("%s: %s\n%s %s\n%s", ops[i].kind, wrong, answers[i].raw, answers[i].header.Get("Set-Cookie"), p.logged(answers[i]))
	}
	p.w.learnAll(ops, answers, at, lossy)
	for i, o := range ops {
		p.counts[fmt.Sprint(o.kind, " ", answers[i].status, " ", answers[i].body["code"])]++
		p.keep(by[i], o, answers[i])
		p.remember(answers[i])
	}
	return p.lasted(len(ops))
}

// meetsOutage tells whether a step is done at the server that meets the outages. While
// there is one, most are.
func (p *stage) meetsOutage(s step) bool {
	return s.server == 0 || p.outage != nil && !s.aside
}

// keep gives a client the cookie that came with an answer.
func (p *stage) keep(s step, o op, a answer) {
	if !s.thief {
		switch a.toCookie() {
		case setsCookie:
			p.jars[s.jar] = p.w.holder(a.cookie.Value)
		case dropsCookie:
			p.jars[s.jar] = -1
		}
	}
	if o.next != "" {
		p.past = append(p.past, o.next)
	}
	if o.kind == "register" {
		p.past = append(p.past, o.password)
	}
}

func (p *stage) list(i int, o op, s step, a answer) {
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
	switch a.toCookie() {
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
	code, _ := a.body["code"].(string)
	reason, _ := a.body["reason"].(string)
	p.note("%s%s: %s%s%s, client %d, %s: %d %s %s%s", mark, p.w.people[o.who].name, o.kind, about, as, s.jar, at, a.status, code, reason, cookie)
}

// tooSlow tells which store had no time for a request, as on a machine that is very busy:
// that is an outage, too.
func (p *stage) tooSlow(a answer) away {
	if a.status != 503 {
		return 0
	}
	logged := p.logged(a)
	late := func(word string) bool { return strings.Contains(logged, word) }
	switch {
	case !slices.ContainsFunc([]string{"i/o timeout", "deadline exceeded", ": LATE "}, late):
		return 0
	case a.text("code") == "user_store_unavailable":
		return mongoAway
	}
	return redisAway
}

// logged is what a server has logged of a request that failed.
func (p *stage) logged(a answer) string {
	for _, s := range p.servers {
		for line := range strings.Lines(s.log.String()) {
			if strings.Contains(line, "request failed") && strings.Contains(line, a.text("requestId")) {
				return line
			}
		}
	}
	return ""
}

// clear ends the outage of a history and removes what it has left.
func (p *stage) clear() {
	_ = p.heal()
	_, _ = p.redis.Do("FLUSHDB")
	_, _ = p.servers[1].db.Collection("users").DeleteMany(context.Background(), bson.D{})
	for _, s := range p.servers {
		s.canaries.mu.Lock()
		s.canaries.tokens = nil
		s.canaries.mu.Unlock()
		s.log.mu.Lock()
		s.log.b.Reset()
		s.log.mu.Unlock()
	}
}
