package model

import (
	"bytes"
	"net"
	"sync/atomic"
	"time"

	"latchkey/internal/devstore/storetest"
)

// outage is a way in which a store can fail.
type outage struct {
	name   string
	down   down
	slow   bool // makes requests wait for a timeout
	once   bool // affects only one command or reply
	faults storetest.Faults
}

// fault is the type of the functions in storetest.Faults.
type fault = func(net.Conn, []byte) bool

// outages lists the outages that can occur in a history. A request that gets 503 has no effect, unless the
// outage began during the request, or loses replies only.
var outages = []outage{
	{name: "Redis resets connections", down: redisDown, faults: storetest.Faults{Command: storetest.Reset}},
	{name: "Redis closes connections on writes", down: redisDown, faults: storetest.Faults{Command: storetest.OnWrites(storetest.HangUp)}},
	{name: "replies of Redis are lost", down: redisDown, faults: storetest.Faults{Reply: storetest.HangUp}},
	{name: "Redis is loading", down: redisDown, faults: storetest.Faults{
		Command: storetest.Say("-LOADING Redis is loading the dataset in memory\r\n"),
	}},
	{name: "Redis is out of memory", down: redisDown, faults: storetest.Faults{
		Command: storetest.OnWrites(storetest.Say("-OOM command not allowed when used memory > 'maxmemory'.\r\n")),
	}},
	{name: "Redis hangs", down: redisDown, slow: true, faults: storetest.Faults{Command: storetest.Swallow}},
	{name: "Redis executes commands but does not reply", down: redisDown, slow: true, faults: storetest.Faults{Reply: storetest.Swallow}},
	{name: "Redis executes scripts after their request has failed", down: redisDown, slow: true, faults: storetest.Faults{
		Hold: func(chunk []byte) bool { return bytes.Contains(chunk, []byte("EVAL")) },
	}},
	{name: "one command to Redis is lost", down: glitch, once: true, faults: storetest.Faults{Command: storetest.Reset}},
	{name: "one reply of Redis is lost", down: glitch, once: true, faults: storetest.Faults{Reply: storetest.HangUp}},
	{name: "Redis is slow", down: glitch, faults: storetest.Faults{Reply: storetest.Late(5 * time.Millisecond)}},
	{name: "Redis has lost its scripts", down: glitch, faults: storetest.Faults{Command: storetest.ForgetScripts}},
	{name: "MongoDB resets connections", down: mongoDown, slow: true, faults: storetest.Faults{Command: storetest.Reset}},
	{name: "replies of MongoDB are lost", down: mongoDown, slow: true, faults: storetest.Faults{Reply: storetest.HangUp}},
	{name: "MongoDB hangs", down: mongoDown, slow: true, faults: storetest.Faults{Command: storetest.Swallow}},
}

// startingAfter returns the outage's faults, delayed until n commands or replies have passed.
func (o outage) startingAfter(n int) storetest.Faults {
	delayed := func(f fault) fault {
		if f == nil {
			return nil
		}

		var seen atomic.Int64

		return func(conn net.Conn, chunk []byte) bool {
			i := seen.Add(1) - int64(n)
			active := i == 1 || i > 1 && !o.once

			return active && f(conn, chunk)
		}
	}

	return storetest.Faults{Command: delayed(o.faults.Command), Reply: delayed(o.faults.Reply), Hold: o.faults.Hold}
}

// executes reports whether Redis executes commands during the outage, although nobody gets the replies.
// A request whose session is in memory then need not fail before it has changed anything.
func (o outage) executes() bool { return o.down == redisDown && o.faults.Reply != nil }

// startOutage begins the outage of a step.
func (p *player) startOutage(s step) string {
	if problem := p.endOutage(); problem != "" {
		return problem
	}

	p.note("outage of server 0: %s, after %d commands or replies, for %d requests", s.outage.name, s.after, s.requests)
	p.outage = &s.outage
	p.lossy = s.after > 0 || p.servers[0].Cache != nil && s.outage.executes()
	p.outageLeft = s.requests

	proxy := p.redisProxy
	if s.outage.down == mongoDown {
		proxy = p.mongoProxy
	}

	proxy.Set(s.outage.startingAfter(s.after))

	return ""
}

// endOutage ends the outage, if there is one. The MongoDB driver needs a while to notice.
func (p *player) endOutage() string {
	if p.outage == nil {
		return ""
	}

	ended := p.outage
	p.outage = nil
	p.lossy = false
	p.redisProxy.Release()
	p.redisProxy.Set(storetest.Faults{})
	p.mongoProxy.Set(storetest.Faults{})
	p.w.resumeTouch = p.now().Add(touchPause)
	p.note("the outage ends")
	if ended.down != mongoDown {
		return ""
	}

	const maxWait = 20 * time.Second
	for started := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		a := p.servers[0].NewClient().Do("GET", "/readyz", nil)
		switch {
		case a.Status == 200:
			return ""
		case time.Since(started) > maxWait:
			return "not ready after the end of an outage: " + string(a.Raw)
		}
	}
}
