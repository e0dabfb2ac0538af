package main

import (
	"fmt"
	"os"
	"strconv"
)

// maxSessionBytes is what one session may take in Redis, all that belongs to it included.
const maxSessionBytes = 700

// crowdSample is how many sessions of a crowd are asked for in turn.
const crowdSample = 20_000

// memory is what the server and the sessions take.
func (b *bench) memory() error {
	b.say("measuring memory")
	if err := b.residence(); err != nil {
		return err
	}
	t := table{
		title: "Memory of Redis for one session",
		says:  "What used_memory grew by, for each session: with its index, its trace and all that Redis itself needs.",
		head:  []string{"sessions", "users", "of them copies", "bytes for a session"},
	}
	if err := b.fill(); err != nil {
		return err
	}
	addr, err := b.startRedis("Redis of pairs")
	if err != nil {
		return err
	}
	pairs, err := b.newCrowd(addr, 0, b.sessions/2, 2, 1)
	if err != nil {
		return err
	}
	row := func(sessions, users, copies int, bytes float64) {
		t.rows = append(t.rows, []string{strconv.Itoa(sessions), strconv.Itoa(users), strconv.Itoa(copies), number(bytes, 0)})
	}
	row(b.crowd.number(), b.crowd.users, 0, b.crowd.bytes)
	row(b.crowd.all(), b.crowd.all(), b.crowd.copied, b.crowd.copiedBytes)
	row(pairs.number(), pairs.users, 0, pairs.bytes)
	b.add(t)
	most := max(b.crowd.bytes, b.crowd.copiedBytes)
	b.aim(goal{"Redis for a session, the only one of its user: at most 700 bytes", most, 0, most <= maxSessionBytes, 0})
	return nil
}

// fill fills the database 1 of Redis, once.
func (b *bench) fill() error {
	if b.crowd != nil {
		return nil
	}
	c, err := b.newCrowd(b.redisAddr, 1, b.sessions, 1, crowdSample)
	if err == nil {
		err = b.multiply(c, b.copies)
	}
	if err == nil {
		b.crowd = c
	}
	return err
}

// residence is what is in the memory of the server.
func (b *bench) residence() error {
	t := table{title: "Memory of the server", head: []string{"when", "MiB resident", "MiB at most"}}
	check := load{url: b.server.url + sessionPage, cookie: b.person.cookie, length: b.check}
	if err := b.populate(accounts); err != nil {
		return err
	}
	fresh, err := b.startServer("fresh server", 0)
	if err != nil {
		return err
	}
	check.url = fresh.url + sessionPage
	for _, phase := range []struct {
		name string
		do   func() error
	}{
		{"just started", func() error { return nil }},
		{fmt.Sprintf("%d connections check sessions", connections), func() error { _, err := b.wrk(check); return err }},
		{fmt.Sprintf("and %d more log in", floodClients), func() error { _, _, err := b.flooded(fresh, check); return err }},
		{"a moment later", func() error { return b.pause(2 * floodRise) }},
	} {
		// The peak begins again, where that is allowed.
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", fresh.cmd.Process.Pid), []byte("5"), 0)
		if err := phase.do(); err != nil {
			return err
		}
		now, err := fresh.resident("VmRSS")
		if err != nil {
			return err
		}
		most, err := fresh.resident("VmHWM")
		if err != nil {
			return err
		}
		t.rows = append(t.rows, []string{phase.name, number(now, 0), number(most, 0)})
	}
	b.add(t)
	fresh.kill()
	return nil
}
