package model

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/apitest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
)

// player plays histories one after the other on two servers that share their stores. Server 0
// has the outages.
type player struct {
	options    apitest.Options
	servers    [2]*apitest.Server
	redis      redis.Conn
	redisMu    sync.Mutex // for operations that run at the same time
	redisProxy *storetest.Proxy
	mongoProxy *storetest.Proxy
	emails     int    // the number of email addresses used so far
	requests   int    // the number of requests in all histories
	slow       int    // the number of those for which a store was too slow without an outage
	fromMemory uint64 // the number of sessions that those found in memory

	// Of the current history:
	w          *world
	cookies    [clientCount]int // the token of each client; -1 means none
	outage     *outage          // nil if there is none
	lossy      bool             // whether requests that fail may have an effect
	outageLeft int              // the number of requests until its end
	notes      []string         // what was played
}

var noCookies = [clientCount]int{-1, -1, -1, -1}

func newPlayer(t *testing.T, o apitest.Options) *player {
	redis, proxiedRedis, redisProxy := storetest.ProxiedRedis(t)
	mongo, err := url.Parse(storetest.Mongo(t))
	testkit.NoError(t, err)
	mongoProxy := storetest.NewProxy(t, mongo.Host)

	// Only outages need the short timeouts of production: a busy machine exceeds them.
	direct := o
	proxied := o
	direct.Redis = &redis
	direct.MongoURI = mongo.String()
	direct.Secrets = slices.Clone(o.Secrets)
	slices.Reverse(direct.Secrets)

	mongo.Host = mongoProxy.Addr
	mongo.RawQuery = "directConnection=true"
	proxied.RealTimeouts = true
	proxied.Redis = &proxiedRedis
	proxied.MongoURI = mongo.String()

	p := &player{
		options:    o,
		servers:    [2]*apitest.Server{apitest.New(t, proxied), apitest.New(t, direct)},
		redis:      redis.Conn(t),
		redisProxy: redisProxy,
		mongoProxy: mongoProxy,
	}
	testkit.NoError(t, p.servers[1].Users.EnsureEmailIndex(context.Background()))

	return p
}

// play plays a history. It stops at the first response that the model forbids, and returns
// what led to it and what is wrong, or "".
func (p *player) play(history []step) string {
	defer p.clear()

	p.w = &world{cap: p.options.MaxPerUser, touch: p.options.TouchInterval, verifiedOnly: p.options.RequireVerifiedEmail}
	for _, name := range []string{"ann", "bob", "cai"} {
		p.emails++
		p.w.accounts = append(p.w.accounts, account{name: name, email: fmt.Sprintf("%s%d@example.com", name, p.emails), active: yes})
	}

	p.cookies = noCookies
	p.notes = nil

	for _, s := range history {
		knownBefore := p.w.String()
		if problem := p.step(s); problem != "" {
			p.note("=> %s\n\nKnown before:\n%s", problem, knownBefore)

			return strings.Join(p.notes, "\n")
		}
	}

	return ""
}

// shrink leaves out the steps that are not needed for a failure.
func (p *player) shrink(history []step, failure string) string {
	for i := len(history) - 1; i >= 0; i-- {
		shorter := slices.Concat(history[:i], history[i+1:])
		if newFailure := p.play(shorter); newFailure != "" {
			history = shorter
			failure = newFailure
		}
	}

	return failure
}

// step plays a step and returns what was wrong, or "".
func (p *player) step(s step) string {
	switch s.kind {
	case timePasses:
		return p.passTime(s.duration)
	case storeFails:
		return p.startOutage(s)
	case concurrentSteps:
		return p.perform(s.steps...)
	case endOfHistory:
		return p.audit()
	}

	return p.perform(s)
}

// passTime advances the servers' clocks by d. In Redis it has the same effect by shortening every
// TTL and moving the index times back.
func (p *player) passTime(d time.Duration) string {
	if problem := p.endOutage(); problem != "" {
		return problem
	}

	if _, err := passTimeScript.Do(p.redis, d.Milliseconds()); err != nil {
		return "advance time in Redis: " + err.Error()
	}

	for _, s := range p.servers {
		s.Advance(d)
	}

	p.note("advance the clocks by %v", d)
	p.w.expire(p.since(p.now()))

	return ""
}

// passTimeScript advances time in Redis. Its argument is a number of milliseconds.
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

// awaitReports waits until the servers know of a change that was made directly in Redis: each
// acknowledges a change that the other one makes after it.
func (p *player) awaitReports() {
	for _, s := range p.servers {
		if s.Cache != nil {
			_, _ = s.Cache.Invalidate(context.Background(), "none") // during an outage, it waits for a lease
		}
	}
}

// remember makes the servers keep all sessions in memory, without extending them. Otherwise few
// requests would find theirs there. During an outage it does nothing, because its commands would
// count.
func (p *player) remember() {
	if p.outage != nil {
		return
	}

	for _, s := range p.servers {
		if s.Cache == nil {
			continue
		}
		for _, k := range p.w.tokens {
			if k.alive != no {
				_, _ = s.Sessions.ByID(context.Background(), k.id)
			}
		}
	}
}

// hits returns the number of times that the servers loaded a session from memory.
func (p *player) hits() (hits uint64) {
	for _, s := range p.servers {
		if s.Cache != nil {
			hits += s.Cache.Stats().Hits
		}
	}

	return hits
}

// now returns the time on the servers' clock.
func (p *player) now() time.Time { return p.servers[0].Now() }

// since returns the interval from a time until now.
func (p *player) since(t time.Time) interval { return interval{t, p.now()} }

func (p *player) note(format string, args ...any) {
	p.notes = append(p.notes, fmt.Sprintf(format, args...))
}

// perform sends the requests of steps at the same time and judges the responses.
func (p *player) perform(steps ...step) string {
	var ops []op
	for _, s := range steps {
		if o, ok := p.resolve(s); ok {
			ops = append(ops, o)
		}
	}

	if len(ops) == 0 {
		return ""
	}

	p.remember()
	start := p.now()
	p.w.expire(p.since(start))

	hits := p.hits()
	responses := testkit.Concurrently(len(ops), func(i int) apitest.Response { return p.do(ops[i]) })
	now := p.since(start)
	p.fromMemory += p.hits() - hits
	p.requests += len(ops)
	for i, o := range ops {
		p.noteResponse(o, responses[i])
	}

	lossy := p.findOutages(ops, responses, now)
	if i, problem := p.w.judgeAll(ops, responses, now); problem != "" {
		a := responses[i]
		return fmt.Sprintf("%s: %s\n%s %s\n%s", ops[i].kind, problem, a.Raw, a.Header.Get("Set-Cookie"), p.logLine(a))
	}

	p.w.learnAll(ops, responses, now, lossy)
	for i, o := range ops {
		p.storeCookie(o, responses[i])
	}

	p.outageLeft -= len(ops)
	if p.outageLeft > 0 {
		return ""
	}

	return p.endOutage()
}

// timeoutPattern matches the log line of a request for which a store was too slow, as happens on a
// busy machine. That counts as an outage.
var timeoutPattern = regexp.MustCompile("i/o timeout|deadline exceeded|: LATE ")

// findOutages sets which stores were down for the responses. It returns whether
// an operation that got 503 may have been executed.
func (p *player) findOutages(ops []op, responses []apitest.Response, took interval) (lossy bool) {
	p.w.down = 0
	if p.outage != nil && slices.ContainsFunc(ops, func(o op) bool { return o.server == 0 }) {
		p.w.down = p.outage.down
	}

	lossy = p.lossy
	for i, a := range responses {
		store := redisDown
		if a.Text("code") == "user_store_unavailable" {
			store = mongoDown
		}

		line := p.logLine(a)
		failed := a.Status == 503 || strings.Contains(line, partlyEnrolled)
		timedOut := failed && timeoutPattern.MatchString(line) || loggedOutSlowly(ops[i], a, took)
		if timedOut && p.w.down&store == 0 {
			p.w.down |= store
			p.slow++
			lossy = true
		}
	}

	return lossy
}

// loggedOutSlowly reports whether a change ended the session of its client, perhaps because the server waited
// for Redis in vain when it gave the session a new token. That is not logged.
func loggedOutSlowly(o op, a apitest.Response, took interval) bool {
	const patience = 300 * time.Millisecond // a little less than REDIS_TIMEOUT

	return renewsAfterChange(o) && a.Status < 300 && cookieChange(a) == dropsCookie && took.to.Sub(took.from) > patience
}

// partlyEnrolled is the log message about an authenticator app that was added, although Redis failed.
const partlyEnrolled = "authenticator app was added, but"

// logLine returns the log line about a failed request.
func (p *player) logLine(a apitest.Response) string {
	for _, s := range p.servers {
		for line := range strings.Lines(s.Log.String()) {
			isFailure := strings.Contains(line, "request failed") || strings.Contains(line, partlyEnrolled)
			if isFailure && strings.Contains(line, a.Header.Get("X-Request-Id")) {
				return line
			}
		}
	}

	return ""
}

// storeCookie stores a response's cookie in the client that sent the request.
func (p *player) storeCookie(o op, a apitest.Response) {
	if o.client < 0 {
		return
	}

	switch cookieChange(a) {
	case setsCookie:
		p.cookies[o.client] = p.w.byValue(a.Cookie.Value)
	case dropsCookie:
		p.cookies[o.client] = -1
	}
}

// noteResponse notes an operation and its response. Token -1 means no token.
func (p *player) noteResponse(o op, a apitest.Response) {
	p.note("%s: %s with token %d, target %d, password %q -> %q, pending login %d, trusted device %d, %s, client %d, server %d: %d %v %v, cookie %s",
		p.w.accounts[o.account].name, o.kind, o.token, o.target, o.password, o.next, o.pending, o.trust, cmp.Or(o.code.kind, "no code"), o.client, o.server,
		a.Status, a.JSON["code"], a.JSON["reason"], cookieChange(a))
}

// clearScript deletes all keys but the registrations of the servers. FLUSHDB would make every server
// on this Redis forget its sessions in memory.
var clearScript = redis.NewScript(0, `
for _, key in ipairs(redis.call('KEYS', '*')) do
  if key ~= 'members' then redis.call('DEL', key) end
end
return 1`)

// clear removes what a history has left behind.
func (p *player) clear() {
	_ = p.endOutage()
	_, _ = clearScript.Do(p.redis)
	_, _ = p.servers[1].DB.Collection("users").DeleteMany(context.Background(), bson.D{})
	for _, s := range p.servers {
		s.Advance(touchPause)
		s.Secrets.Reset()
		s.Log.Reset()
	}
}
