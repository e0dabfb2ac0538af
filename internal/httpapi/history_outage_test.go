package httpapi

import (
	"bytes"
	"net"
	"sync/atomic"
	"time"

	"latchkey/internal/devstore/storetest"
)

// outage is a way in which a store is not well.
type outage struct {
	name string
	away away
	slow bool // costs who meets it the time that the server waits
	// faults are those of the proxy, which begin after so many chunks.
	faults func(after int) storetest.Faults
}

// from has a fault begin after so many chunks.
func from(after int, fault func(net.Conn, []byte) bool) func(net.Conn, []byte) bool {
	var seen atomic.Int64
	return func(conn net.Conn, chunk []byte) bool { return seen.Add(1) > int64(after) && fault(conn, chunk) }
}

// only has a fault happen once, after so many chunks.
func only(after int, fault func(net.Conn, []byte) bool) func(net.Conn, []byte) bool {
	var seen atomic.Int64
	return func(conn net.Conn, chunk []byte) bool { return seen.Add(1) == int64(after)+1 && fault(conn, chunk) }
}

// quickOutages is how many of them are answered at once; they come first.
const quickOutages = 5

// outages are those of histories. With each, what is answered with 503 is not done, unless
// the outage began in the middle of it.
var outages = []outage{
	{"Redis cuts connections", redisAway, false, func(after int) storetest.Faults {
		return storetest.Faults{Command: from(after, reset)}
	}},
	{"Redis is loading", redisAway, false, func(after int) storetest.Faults {
		return storetest.Faults{Command: from(after, say("-LOADING Redis is loading the dataset in memory\r\n"))}
	}},
	{"Redis is out of memory", redisAway, false, func(after int) storetest.Faults {
		return storetest.Faults{Command: onWrites(from(after, say("-OOM command not allowed when used memory > 'maxmemory'.\r\n")))}
	}},
	{"Redis cuts connections at writes", redisAway, false, func(after int) storetest.Faults {
		return storetest.Faults{Command: onWrites(from(after, hangUp))}
	}},
	{"answers of Redis are lost", redisAway, false, func(after int) storetest.Faults {
		return storetest.Faults{Reply: from(after, hangUp)}
	}},
	{"Redis hangs", redisAway, true, func(after int) storetest.Faults {
		return storetest.Faults{Command: from(after, swallow)}
	}},
	{"Redis says nothing to what it does", redisAway, true, func(after int) storetest.Faults {
		return storetest.Faults{Reply: from(after, swallow)}
	}},
	{"Redis does what it is asked when nobody waits any more", redisAway, true, func(int) storetest.Faults {
		return storetest.Faults{Hold: func(chunk []byte) bool { return bytes.Contains(chunk, []byte("EVAL")) }}
	}},
	{"a command to Redis is cut", glitch, false, func(after int) storetest.Faults {
		return storetest.Faults{Command: only(after, reset)}
	}},
	{"an answer of Redis is cut", glitch, false, func(after int) storetest.Faults {
		return storetest.Faults{Reply: only(after, hangUp)}
	}},
	{"Redis is slow", glitch, false, func(int) storetest.Faults {
		return storetest.Faults{Reply: late(5 * time.Millisecond)}
	}},
	{"Redis forgets its scripts", glitch, false, func(int) storetest.Faults {
		return faults["scripts forgotten all the time"].Faults
	}},
	{"MongoDB cuts connections", mongoAway, true, func(after int) storetest.Faults {
		return storetest.Faults{Command: from(after, reset)}
	}},
	{"answers of MongoDB are lost", mongoAway, true, func(after int) storetest.Faults {
		return storetest.Faults{Reply: from(after, hangUp)}
	}},
	{"MongoDB hangs", mongoAway, true, func(after int) storetest.Faults {
		return storetest.Faults{Command: from(after, swallow)}
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
	if s.outage.away == mongoAway {
		proxy = p.mongoProxy
	}
	proxy.Set(s.outage.faults(s.after))
	return ""
}

// lasted notes that so many requests were answered during an outage.
func (p *stage) lasted(requests int) string {
	if p.lasts -= requests; p.outage == nil || p.lasts > 0 {
		return ""
	}
	return p.heal()
}

// heal ends an outage. MongoDB is found again by a driver that looks for it at times;
// Redis at once.
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
	if ended.away != mongoAway {
		return ""
	}
	const patience = 20 * time.Second
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		a, err := p.servers[0].client().try("GET", "/readyz", nil, nil)
		switch {
		case err != nil:
			return err.Error()
		case a.status == 200:
			return ""
		case time.Since(begun) > patience:
			return "not ready though the stores are: " + string(a.raw)
		}
	}
}
