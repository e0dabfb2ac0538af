package main

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"time"
)

// The routes that are compared with the HTTP baseline.
const (
	sessionPath = "/auth/session" // needs no MongoDB
	mePath      = "/auth/me"      // also reads the account
)

const (
	// usualConnections is the number of clients for which there are goals.
	usualConnections = 64

	// redisConnections is the number of the baseline's connections to Redis. The server has the same.
	redisConnections = 64

	// firstCheckCount is the number of sessions per round that a server checks for the first time.
	firstCheckCount = 1000
)

// checks compares session checks with both HTTP baselines.
func (b *bench) checks() error {
	cached, err := b.startServer(fromMemory)
	if err != nil {
		return err
	}
	defer cached.stop()

	baseline, err := b.startBaseline(cached, sessionPath, mePath)
	if err != nil {
		return err
	}

	if err := b.checksFromMemory(cached, baseline); err != nil {
		return err
	}

	uncached, err := b.startServer(fromRedis)
	if err != nil {
		return err
	}
	defer uncached.stop()

	if err := b.firstChecks(cached, uncached); err != nil {
		return err
	}
	cached.stop() // it sends Redis commands even if it is idle

	return b.checksFromRedis(uncached, baseline)
}

// checksFromMemory compares a server that has the session in memory with net/http alone.
func (b *bench) checksFromMemory(cached *server, baseline string) error {
	const baselineName = "`net/http` alone"

	for _, connections := range []int{1, 16, usualConnections, 256} {
		rateGoal := ""
		commandsGoal := ""
		if connections == usualConnections {
			rateGoal = "≥ 0.85"
			commandsGoal = "≤ 0.01"
		}

		server, plain, err := b.compareRoutes(cached.url+sessionPath, baseline+sessionPath, connections)
		if err != nil {
			return err
		}

		what := fmt.Sprintf("`GET %s`, connections: %d; ", sessionPath, connections)
		b.compare(what+"requests/s", server, baselineName, plain, sample.rate, 0, rateGoal)
		b.compare(what+"p99, ms", server, baselineName, plain, sample.p99, 2, "≤ 1.5")
		b.compare(what+"bytes/response", server, baselineName, plain, sample.size, 0, "")
		b.single(what+"Redis commands/request", number(median(server, sample.commandsEach), 4), commandsGoal)
	}

	server, plain, err := b.compareRoutes(cached.url+mePath, baseline+mePath, usualConnections)
	if err != nil {
		return err
	}

	what := fmt.Sprintf("`GET %s`, connections: %d; ", mePath, usualConnections)
	b.compare(what+"requests/s", server, baselineName, plain, sample.rate, 0, "≥ 0.8")
	b.compare(what+"p99, ms", server, baselineName, plain, sample.p99, 2, "≤ 1.5")

	return nil
}

// firstChecks measures checks of sessions that are not in memory yet.
func (b *bench) firstChecks(cached, uncached *server) error {
	var cookies []string
	checkAll := func(s *server) (sample, error) {
		var latencies []time.Duration
		for _, cookie := range cookies {
			latency, err := b.sendTimed(s.check(cookie))
			if err != nil {
				return sample{}, err
			}
			latencies = append(latencies, latency)
		}

		return latencySample(latencies), nil
	}

	first := func() (_ sample, err error) {
		if cookies, err = b.createSessions(0, firstCheckCount); err != nil {
			return sample{}, err
		}

		return checkAll(cached)
	}
	second := func() (sample, error) { return checkAll(cached) }
	withoutMemory := func() (sample, error) { return checkAll(uncached) }

	samples, err := b.interleave(first, second, withoutMemory)
	if err != nil {
		return err
	}

	what := fmt.Sprintf("`GET %s`, first check of a session, connections: 1; p50, ms", sessionPath)
	b.compare(what, samples[0], "the second check", samples[1], sample.p50, 3, "")
	b.compare(what, samples[0], "`SESSION_CACHE=off`", samples[2], sample.p50, 3, "")

	return nil
}

// checksFromRedis compares a server without memory for sessions with net/http and one GET.
func (b *bench) checksFromRedis(uncached *server, baseline string) error {
	const baselineName = "`net/http` with one `GET` from Redis"

	server, withGet, err := b.compareRoutes(uncached.url+sessionPath, baseline+redisPrefix+sessionPath, usualConnections)
	if err != nil {
		return err
	}

	what := fmt.Sprintf("`GET %s` with `SESSION_CACHE=off`, connections: %d; ", sessionPath, usualConnections)
	b.compare(what+"requests/s", server, baselineName, withGet, sample.rate, 0, "≥ 0.85")
	b.compare(what+"p99, ms", server, baselineName, withGet, sample.p99, 2, "")
	b.compare(what+"Redis commands/request", server, baselineName, withGet, sample.commandsEach, 2, "1")

	return nil
}

// compareRoutes measures a route of the server and its baseline, which must return equal responses.
func (b *bench) compareRoutes(url, baselineURL string, connections int) (server, baseline []sample, err error) {
	measure := func(url string) func() (sample, error) {
		r := request{method: http.MethodGet, url: url, cookie: b.cookie}
		return func() (sample, error) { return b.measure(r, connections) }
	}

	samples, err := b.interleave(measure(url), measure(baselineURL))
	if err != nil {
		return nil, nil, err
	}

	if math.Abs(ratio(samples[0], samples[1], sample.size)-1) > maxErrors {
		return nil, nil, errors.New("the responses of the server and the baseline differ in size")
	}

	return samples[0], samples[1], nil
}

// check returns a request for the session of a cookie.
func (s *server) check(cookie string) request {
	return request{method: http.MethodGet, url: s.url + sessionPath, cookie: cookie}
}
