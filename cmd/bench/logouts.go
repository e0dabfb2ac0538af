package main

import (
	"fmt"
	"net/http"
	"slices"
	"time"
)

const (
	// maxServers is the maximum number of servers that a logout has to tell.
	maxServers = 3

	// settleTime is long enough for a new server to know all others. Until then, each of its logouts
	// waits for a whole lease: see package coherence.
	settleTime = 2 * time.Second
)

// logouts compares logouts that end a session in the memory of several servers with those of a server
// without memory for sessions.
func (b *bench) logouts() error {
	uncached, err := b.startServer(fromRedis)
	if err != nil {
		return err
	}
	defer uncached.stop()

	var servers []*server
	for len(servers) < maxServers {
		s, err := b.startServer(fromMemory)
		if err != nil {
			return err
		}
		defer s.stop()
		servers = append(servers, s)
		time.Sleep(settleTime)

		what := fmt.Sprintf("`POST /auth/logout`, servers with the session in memory: %d", len(servers))
		if err := b.compareLogouts(what, servers, uncached); err != nil {
			return err
		}
	}

	suspended := servers[maxServers-1]
	live := servers[:maxServers-1]
	if err := suspended.suspend(); err != nil {
		return err
	}
	defer suspended.resume() // otherwise it cannot stop

	first, _, err := b.alternateLogouts(1, live, uncached)
	if err != nil {
		return err
	}

	// A lease lasts 250 ms, and other servers wait for a tenth longer.
	what := fmt.Sprintf("`POST /auth/logout`, one of %d servers suspended", maxServers)
	b.single(what+"; first logout, ms", number(first.P50, 2), "≤ 280")

	return b.compareLogouts(what+", later logouts", live, uncached)
}

// compareLogouts adds the rows for logouts on the first of several servers.
func (b *bench) compareLogouts(what string, servers []*server, uncached *server) error {
	on, off, err := b.alternateLogouts(b.logoutCount, servers, uncached)
	if err != nil {
		return err
	}

	const baselineName = "`SESSION_CACHE=off`"
	b.compare(what+"; p50, ms", []sample{on}, baselineName, []sample{off}, sample.p50, 2, "")
	b.compare(what+"; p99, ms", []sample{on}, baselineName, []sample{off}, sample.p99, 2, "")

	return nil
}

// alternateLogouts measures n logouts on the first of several servers, which all have the session in
// memory, and n on a server without memory for sessions. The two take turns.
func (b *bench) alternateLogouts(n int, servers []*server, uncached *server) (on, off sample, err error) {
	cookies, err := b.createSessions(0, 2*n)
	if err != nil {
		return sample{}, sample{}, err
	}

	var onLatencies, offLatencies []time.Duration
	for pair := range slices.Chunk(cookies, 2) {
		onLatency, err := b.logout(pair[0], servers)
		if err != nil {
			return sample{}, sample{}, err
		}
		onLatencies = append(onLatencies, onLatency)

		offLatency, err := b.logout(pair[1], []*server{uncached})
		if err != nil {
			return sample{}, sample{}, err
		}
		offLatencies = append(offLatencies, offLatency)
	}

	return latencySample(onLatencies), latencySample(offLatencies), nil
}

// logout checks a session on all servers, logs out on the first one, and returns how long that took.
func (b *bench) logout(cookie string, servers []*server) (time.Duration, error) {
	for _, s := range servers {
		if _, _, err := b.send(s.check(cookie)); err != nil {
			return 0, err
		}
	}

	return b.sendTimed(request{method: http.MethodPost, url: servers[0].url + "/auth/logout", cookie: cookie})
}
