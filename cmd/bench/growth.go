package main

import (
	"fmt"
	"slices"
	"strconv"
)

// few is how many sessions there are where there are not many.
const few = 1000

// growth is what more connections and more sessions do to the checks of sessions.
func (b *bench) growth() error {
	if err := b.byConnections(); err != nil {
		return err
	}
	return b.bySessions()
}

func (b *bench) byConnections() error {
	b.say("checking sessions on more and more connections, %d rounds", b.fewer)
	if err := b.startFloors(); err != nil {
		return err
	}
	t := table{
		title: "GET /auth/session by connections, against net/http with a GET",
		head:  []string{"connections", "req/s", "p50", "p99", "server req/s", "p50 ms", "p99 ms", "other req/s", "p50 ms", "p99 ms"},
	}
	for _, n := range []int{1, 16, connections, 4 * connections} {
		found, err := b.takeTurns(b.fewer, []string{b.floors[1] + sessionPage, b.server.url + sessionPage}, n)
		if err != nil {
			return err
		}
		t.rows = append(t.rows, slices.Concat([]string{strconv.Itoa(n)}, ratios(found[1], found[0]), figures(found[1]), figures(found[0])))
	}
	b.add(t)
	return nil
}

func (b *bench) bySessions() error {
	small, err := b.newCrowd(b.redisAddr, 0, few, 1, few)
	if err != nil {
		return err
	}
	if err := b.fill(); err != nil {
		return err
	}
	crowded, err := b.startServer("crowded server", b.crowd.db)
	if err != nil {
		return err
	}
	var measures []func() (result, error)
	for _, c := range []struct {
		*crowd
		*server
	}{{small, b.server}, {b.crowd, crowded}} {
		file, err := b.cookies(c.crowd)
		if err != nil {
			return err
		}
		l := load{url: c.url + sessionPage, scripts: []string{"cookies"}, args: []string{file}}
		if err := b.awake(c.crowd); err != nil {
			return err
		}
		if err := b.warmUp(l); err != nil {
			return err
		}
		l.length = b.check
		measures = append(measures, func() (result, error) { return b.wrk(l) })
	}
	b.say("checking sessions among few and among many, %d rounds", b.fewer)
	found, err := inTurns(b.fewer, measures...)
	if err != nil {
		return err
	}
	t := table{
		title: "GET /auth/session by how many sessions there are",
		says:  fmt.Sprintf("%d connections. The ratios are to the first line. Each request is of another session, in turn: of all, or of %d.", connections, len(b.crowd.tokens)),
		head:  []string{"sessions", "req/s", "p50", "p99", "req/s", "p50 ms", "p99 ms"},
	}
	for i, c := range []*crowd{small, b.crowd} {
		t.rows = append(t.rows, slices.Concat([]string{strconv.Itoa(c.all())}, ratios(found[i], found[0]), figures(found[i])))
	}
	b.add(t)
	return nil
}
