package main

import (
	"errors"
	"fmt"
	"math"
)

// sessionPath is a route that needs Redis but not MongoDB.
const sessionPath = "/auth/session"

// connections is the number of clients, and of the baseline's connections to Redis. The server has
// the same number.
const connections = 64

// checks compares a session check with both baselines.
func (b *bench) checks() error {
	baseline, err := b.startBaseline()
	if err != nil {
		return err
	}

	var measures []func() (sample, error)
	for _, url := range []string{b.url + sessionPath, baseline + redisPath, baseline + plainPath} {
		measures = append(measures, func() (sample, error) { return b.measure(url, "", connections) })
	}

	samples, err := b.interleave(measures...)
	if err != nil {
		return err
	}

	server := samples[0]
	withGet := samples[1]
	plain := samples[2]
	for _, other := range [][]sample{withGet, plain} {
		if math.Abs(ratio(server, other, sample.size)-1) > maxErrors {
			return errors.New("the responses of the server and the baseline differ in size")
		}
	}

	const withGetName = "`net/http` with one `GET` from Redis"
	const plainName = "`net/http` alone"
	what := fmt.Sprintf("`GET %s`, %d connections: ", sessionPath, connections)
	b.compare(what+"requests/s", server, withGetName, withGet, sample.rate, 0, "≥ 0.85")
	b.compare(what+"p50, ms", server, withGetName, withGet, sample.p50, 2, "")
	b.compare(what+"p99, ms", server, withGetName, withGet, sample.p99, 2, "")
	b.compare(what+"bytes/response", server, withGetName, withGet, sample.size, 0, "")
	b.compare(what+"Redis commands/request", server, withGetName, withGet, sample.commandsEach, 2, "1")
	b.compare(what+"requests/s", server, plainName, plain, sample.rate, 0, "")

	return nil
}
