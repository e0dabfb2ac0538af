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
	name string
	down down
	slow bool // costs who meets it the time that the server waits
	// faults returns the faults of the proxy, which begin after a number of chunks.
	faults func(after int) storetest.Faults
}

// from makes a fault begin after a number of chunks.
func from(after int, fault func(net.Conn, []byte) bool) func(net.Conn, []byte) bool {
	var seen atomic.Int64

	return func(conn net.Conn, chunk []byte) bool { return seen.Add(1) > int64(after) && fault(conn, chunk) }
}

// only makes a fault happen once, after a number of chunks.
func only(after int, fault func(net.Conn, []byte) bool) func(net.Conn, []byte) bool {
	var seen atomic.Int64

	return func(conn net.Conn, chunk []byte) bool { return seen.Add(1) == int64(after)+1 && fault(conn, chunk) }
}

// quickOutages is the number of outages, at the beginning of the list, that cause no delay.
const quickOutages = 5

// outages are the outages of histories. A request that gets 503 has no effect, unless the
// outage began during the request.
var outages = []outage{
	{"Redis cuts connections", redisDown, false, func(after int) storetest.Faults {
		return storetest.Faults{Command: from(after, storetest.Reset)}
	}},
	{"Redis is loading", redisDown, false, func(after int) storetest.Faults {
		return storetest.Faults{Command: from(after, storetest.Say("-LOADING Redis is loading the dataset in memory\r\n"))}
	}},
	{"Redis is out of memory", redisDown, false, func(after int) storetest.Faults {
		return storetest.Faults{Command: storetest.OnWrites(from(after, storetest.Say("-OOM command not allowed when used memory > 'maxmemory'.\r\n")))}
	}},
	{"Redis cuts connections at writes", redisDown, false, func(after int) storetest.Faults {
		return storetest.Faults{Command: storetest.OnWrites(from(after, storetest.HangUp))}
	}},
	{"answers of Redis are lost", redisDown, false, func(after int) storetest.Faults {
		return storetest.Faults{Reply: from(after, storetest.HangUp)}
	}},
	{"Redis hangs", redisDown, true, func(after int) storetest.Faults {
		return storetest.Faults{Command: from(after, storetest.Swallow)}
	}},
	{"Redis says nothing to what it does", redisDown, true, func(after int) storetest.Faults {
		return storetest.Faults{Reply: from(after, storetest.Swallow)}
	}},
	{"Redis does what it is asked when nobody waits any more", redisDown, true, func(int) storetest.Faults {
		return storetest.Faults{Hold: func(chunk []byte) bool { return bytes.Contains(chunk, []byte("EVAL")) }}
	}},
	{"a command to Redis is cut", glitch, false, func(after int) storetest.Faults {
		return storetest.Faults{Command: only(after, storetest.Reset)}
	}},
	{"an answer of Redis is cut", glitch, false, func(after int) storetest.Faults {
		return storetest.Faults{Reply: only(after, storetest.HangUp)}
	}},
	{"Redis is slow", glitch, false, func(int) storetest.Faults {
		return storetest.Faults{Reply: storetest.Late(5 * time.Millisecond)}
	}},
	{"Redis forgets its scripts", glitch, false, func(int) storetest.Faults {
		return storetest.Faults{Command: storetest.ForgetScripts}
	}},
	{"MongoDB cuts connections", mongoDown, true, func(after int) storetest.Faults {
		return storetest.Faults{Command: from(after, storetest.Reset)}
	}},
	{"answers of MongoDB are lost", mongoDown, true, func(after int) storetest.Faults {
		return storetest.Faults{Reply: from(after, storetest.HangUp)}
	}},
	{"MongoDB hangs", mongoDown, true, func(after int) storetest.Faults {
		return storetest.Faults{Command: from(after, storetest.Swallow)}
	}},
}

// fail begins an outage.
func (p *stage) fail(s step) string {
	if wrong := p.heal(); wrong != "" {
		return wrong
	}

	p.note("%v", s)
	p.outage, p.lossy, p.lasts = &s.outage, s.after > 0, s.lasts
	proxy := p.redisProxy
	if s.outage.down == mongoDown {
		proxy = p.mongoProxy
	}

	proxy.Set(s.outage.faults(s.after))

	return ""
}

// lasted counts requests during an outage and ends it after the last.
func (p *stage) lasted(requests int) string {
	if p.lasts -= requests; p.outage == nil || p.lasts > 0 {
		return ""
	}

	return p.heal()
}

// heal ends an outage. The MongoDB driver needs a while to notice.
func (p *stage) heal() string {
	if p.outage == nil {
		return ""
	}

	ended := p.outage
	p.outage, p.lossy = nil, false
	p.redisProxy.Release()
	p.redisProxy.Set(storetest.Faults{})
	p.mongoProxy.Set(storetest.Faults{})
	p.note("it is over")
	if ended.down != mongoDown {
		return ""
	}

	const patience = 20 * time.Second
	for started := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		a, err := p.servers[0].NewClient().Try("GET", "/readyz", nil, nil)
		switch {
		case err != nil:
			return err.Error()
		case a.Status == 200:
			return ""
		case time.Since(started) > patience:
			return "not ready though the stores are: " + string(a.Raw)
		}
	}
}
