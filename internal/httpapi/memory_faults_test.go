package httpapi_test

import (
	"bytes"
	"net"
	"testing"
	"time"

	"latchkey/internal/apitest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
	"latchkey/internal/testkit/suite"
)

// memoryFault is a fault between servers and Redis while a session ends. The first server ends it.
type memoryFault struct {
	ofEnder, ofReader func(*storetest.Proxy) storetest.Faults // either may be nil
	forgets           bool                                    // see watch
	isAlone           bool                                    // whether there is no other server
}

func onTracking(fault func(net.Conn, []byte) bool) func(*storetest.Proxy) storetest.Faults {
	return func(p *storetest.Proxy) storetest.Faults {
		return storetest.Faults{Command: p.OnTracking(fault), Reply: p.OnTracking(fault)}
	}
}

func onReplies(fault func(net.Conn, []byte) bool) func(*storetest.Proxy) storetest.Faults {
	return func(*storetest.Proxy) storetest.Faults { return storetest.Faults{Reply: fault} }
}

const (
	// withinLease is a delay that does not end the lease of a server.
	withinLease = 100 * time.Millisecond

	// beyondLease is a delay that does.
	beyondLease = time.Second
)

var memoryFaults = map[string]memoryFault{
	"none": {},

	"stream cut":       {ofReader: onTracking(storetest.HangUp)},
	"stream swallowed": {ofReader: onTracking(storetest.Swallow)},
	"stream late":      {ofReader: onTracking(storetest.Late(beyondLease))},
	"stream slow":      {ofReader: onTracking(storetest.Late(withinLease))},

	"Redis cut":       {ofReader: onReplies(storetest.HangUp)},
	"Redis swallowed": {ofReader: onReplies(storetest.Swallow)},
	"Redis late":      {ofReader: onReplies(storetest.Late(beyondLease))},

	"stream of the ender cut":       {ofEnder: onTracking(storetest.HangUp)},
	"stream of the ender swallowed": {ofEnder: onTracking(storetest.Swallow)},
	"stream of the ender slow":      {ofEnder: onTracking(storetest.Late(withinLease))},
	"both streams swallowed":        {ofEnder: onTracking(storetest.Swallow), ofReader: onTracking(storetest.Swallow)},

	// The server removes the session from its own memory before its stream tells it to.
	"stream of a single server slow": {ofEnder: onTracking(storetest.Late(withinLease)), isAlone: true},

	// The server that ends the session cannot tell the others.
	"message lost": {ofEnder: onChanges(storetest.Reset), ofReader: onTracking(storetest.Swallow)},

	// A report overtakes the reply with the record that it is about.
	"replies slow": {
		ofReader: func(p *storetest.Proxy) storetest.Faults {
			return storetest.Faults{Reply: p.OnOthers(storetest.Late(withinLease / 2))}
		},
		forgets: true,
	},
}

// onChanges returns a fault of the commands that tell other servers of a change.
func onChanges(fault func(net.Conn, []byte) bool) func(*storetest.Proxy) storetest.Faults {
	return func(*storetest.Proxy) storetest.Faults {
		return storetest.Faults{Command: func(client net.Conn, chunk []byte) bool {
			return bytes.Contains(chunk, []byte("latchkey:changes")) && fault(client, chunk)
		}}
	}
}

// endsInMemory are requests that end the session of victim, or replace its token.
var endsInMemory = map[string]func(victim, other *apitest.Client) bool{
	"logout": func(victim, _ *apitest.Client) bool { return victim.Do("POST", "/auth/logout", nil).Status == 200 },
	"rotate": func(victim, _ *apitest.Client) bool {
		return victim.Do("POST", "/auth/rotate-session", nil).Status == 200
	},
	"revoke": func(_, other *apitest.Client) bool { return other.Do("DELETE", "/auth/sessions", nil).Status == 200 },
}

// Whatever happens to the connections between servers and Redis, no server accepts a session from
// memory once its end has been answered, neither during the fault nor after it.
func TestEndsDuringFaults(t *testing.T) {
	suite.Require(t, suite.Memory)
	t.Parallel()

	for name, fault := range memoryFaults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			servers := 3
			if fault.isAlone {
				servers = 1
			}
			f := newFleet(t, servers, true)
			for range max(1, *rounds/10) {
				for name, end := range endsInMemory {
					f.endDuring(fault, name, end)
				}
			}
		})
	}
}

// endDuring ends a session during a fault while all servers have it in memory.
func (f *fleet) endDuring(fault memoryFault, name string, end func(victim, other *apitest.Client) bool) {
	f.t.Helper()

	ender := f.servers[0]
	other := ender.SignIn()
	victim := ender.SignIn()
	f.remember(other.Token)
	f.remember(victim.Token)
	w := f.watch(victim.Token, fault.forgets)

	if fault.ofEnder != nil {
		f.proxies[0].Set(fault.ofEnder(f.proxies[0]))
	}
	if fault.ofReader != nil {
		f.proxies[1].Set(fault.ofReader(f.proxies[1]))
	}
	if fault.forgets {
		f.awaitCheck()
	}

	w.end(func() bool { return end(victim.Clone(), other.Clone()) })
	w.checkAll(f.servers)

	for _, p := range f.proxies {
		p.Set(storetest.Faults{})
	}
	f.remember(other.Token) // once the streams have recovered
	w.checkAll(f.servers)
	w.report(name)

	other.Do("POST", "/auth/logout", nil).Want(200)
	f.awaitAcknowledgements()
}

// awaitCheck waits until the second server has read a session from Redis since now. With a watch that
// forgets, it then reads the session all the time, also while it ends.
func (f *fleet) awaitCheck() {
	f.t.Helper()

	misses := f.servers[1].Cache.Stats().Misses
	testkit.Eventually(f.t, "a read", func() bool { return f.servers[1].Cache.Stats().Misses > misses+1 })
}
