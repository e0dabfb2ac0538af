package main

import (
	"fmt"
	"slices"
)

// The pages that are measured: the first needs Redis alone, the second MongoDB, too.
const (
	sessionPage = "/auth/session"
	mePage      = "/auth/me"
)

// minCheckShare is of what net/http does with a GET of Redis.
const minCheckShare = 0.85

// The names of the floors, as processes and in the tables.
const (
	bytesFloor = "net/http"
	redisFloor = "net/http with a GET"
)

// startFloors starts both floors, once, on the answers that the server gives now.
func (b *bench) startFloors() error {
	if b.floors != nil {
		return nil
	}
	var f floor
	for _, path := range []string{sessionPage, mePage} {
		header, body, err := b.get(b.server.url+path, b.person.cookie)
		if err != nil {
			return err
		}
		header.Del("Date")
		f.Pages = append(f.Pages, page{path, header, body})
	}
	bytes, err := b.startFloor(bytesFloor, f)
	if err != nil {
		return err
	}
	f.Redis, f.Key, f.Conns = b.redisAddr, "sess:"+b.person.sessionID, connections
	get, err := b.startFloor(redisFloor, f)
	b.floors = []string{bytes, get}
	return err
}

// checks compares what asks for a session with both floors.
func (b *bench) checks() error {
	b.say("checking sessions, %d rounds", b.rounds)
	if err := b.startFloors(); err != nil {
		return err
	}
	speed := table{
		title: "Checking a session",
		says:  fmt.Sprintf("%d connections. The ratios are of the server to what gives the same bytes without a session: more requests are better, and less time.", connections),
		head:  []string{"request", "against", "req/s", "p50", "p99", "server req/s", "p50 ms", "p99 ms", "other req/s", "p50 ms", "p99 ms"},
	}
	time := table{
		title: "Processor time for one of these requests, µs",
		says:  "The ratio is of all but wrk.",
		head:  []string{"request", "who answers", "the server to this", "that process", "Redis", "MongoDB", "wrk"},
	}
	for _, path := range []string{sessionPage, mePage} {
		urls := []string{b.floors[0] + path, b.floors[1] + path, b.server.url + path}
		found, err := b.takeTurns(b.rounds, urls, connections)
		if err != nil {
			return err
		}
		server := found[2]
		for i, against := range []string{bytesFloor, redisFloor} {
			other := found[i]
			speed.rows = append(speed.rows, slices.Concat([]string{"GET " + path, against}, ratios(server, other), figures(server), figures(other)))
		}
		for i, who := range []string{bytesFloor, redisFloor, b.server.name} {
			row := []string{"GET " + path, who, number(ratio(server, found[i], result.serving), 2)}
			for _, process := range []string{who, "Redis", "MongoDB", "wrk"} {
				row = append(row, number(median(found[i], func(r result) float64 { return r.each(process) }), 1))
			}
			time.rows = append(time.rows, row)
		}
		if path == sessionPage {
			share := ratio(server, found[1], result.rate)
			b.aim(goal{"GET /auth/session, of net/http with a GET of Redis: at least 0.85", share, 2, share >= minCheckShare, others(server, found[1])})
			share = 1 / ratio(server, found[1], result.cost)
			b.aim(goal{"the same, by the processor time of all: at least 0.85", share, 2, share >= minCheckShare, 0})
		}
	}
	b.add(speed)
	b.add(time)
	return nil
}

// takeTurns measures URLs in turns, after each has had a moment to get warm.
func (b *bench) takeTurns(rounds int, urls []string, connections int) ([][]result, error) {
	var measures []func() (result, error)
	for _, url := range urls {
		l := load{url: url, cookie: b.person.cookie, connections: connections}
		if err := b.warmUp(l); err != nil {
			return nil, err
		}
		l.length = b.check
		measures = append(measures, func() (result, error) { return b.wrk(l) })
	}
	return inTurns(rounds, measures...)
}

// warmUp lets what is measured next settle.
func (b *bench) warmUp(l load) error {
	if l.length = b.warm; l.length == 0 {
		return nil
	}
	_, err := b.wrk(l)
	return err
}

// ratios are the server to another: of requests a second, p50 and p99.
func ratios(server, other []result) []string {
	return []string{
		number(ratio(server, other, result.rate), 2), number(ratio(server, other, result.p50), 2), number(ratio(server, other, result.p99), 2),
	}
}

// figures are requests a second, p50 and p99.
func figures(of []result) []string {
	return []string{number(median(of, result.rate), 0), number(median(of, result.p50), 2), number(median(of, result.p99), 2)}
}

// cost is the processor time of all for one answer: what decides on a machine that has
// nothing else to do.
func (r result) cost() float64 { return r.serving() + r.each("wrk") }

// serving is the processor time of all but wrk for one answer, in microseconds.
func (r result) serving() (all float64) {
	for process := range r.used {
		if process != "wrk" && process != everybody && process != available {
			all += r.each(process)
		}
	}
	return all
}
