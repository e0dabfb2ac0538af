package main

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
)

const (
	loginPage = "/auth/login"
	// accounts log in by turns. They are few since FerretDB, unlike MongoDB, reads all of
	// them to find one.
	accounts = 8
	// minLoginShare is of what bcrypt alone does on the same processors.
	minLoginShare = 0.9
)

// loginLoad logs in on so many connections without a pause.
func (b *bench) loginLoad(s *server, connections int) load {
	return load{
		url: s.url + loginPage, connections: connections, length: b.login,
		scripts: []string{"logins"}, args: []string{strconv.Itoa(accounts), password},
	}
}

// logins compares logins with nothing but the comparing of hashes.
func (b *bench) logins() error {
	b.say("logging in, %d rounds", b.rounds)
	if err := b.populate(accounts); err != nil {
		return err
	}
	if err := b.signIn(); err != nil { // the threads that hash start with the first
		return err
	}
	clients := 4 * runtime.NumCPU() // some of them always wait for their turn to be hashed
	found, err := inTurns(b.rounds, b.bcryptAlone, func() (result, error) { return b.wrk(b.loginLoad(b.server, clients)) })
	if err != nil {
		return err
	}
	alone, logins := found[0], found[1]
	share := ratio(logins, alone, result.rate)
	byTime := func(all func(result) float64) float64 {
		shares := make([]float64, b.rounds)
		for i := range shares {
			shares[i] = alone[i].each("bcrypt") / all(logins[i])
		}
		return median(shares, func(share float64) float64 { return share })
	}
	own := byTime(func(r result) float64 { return r.each(hashing) + r.each(b.server.name) + r.each("Redis") })
	b.add(table{
		title: "Logging in",
		says: fmt.Sprintf("%d connections, %d accounts, bcrypt cost %d. By processor time is what there would be if no other program ran: bcrypt alone, of all that a login costs here; and of what it costs the server and Redis, where MongoDB and the clients have machines of their own.",
			clients, accounts, b.settings.BcryptCost),
		head: []string{"of bcrypt alone", "by processor time", "of the server and Redis", "logins/s", "bcrypt alone/s", "p50 ms", "p99 ms", "503"},
		rows: [][]string{{
			number(share, 2), number(byTime(result.cost), 2), number(own, 2),
			number(median(logins, result.rate), 1), number(median(alone, result.rate), 1),
			number(median(logins, result.p50), 0), number(median(logins, result.p99), 0),
			number(median(logins, func(r result) float64 { return float64(r.Refused) }), 0),
		}},
	})
	b.loginTimes(alone, logins)
	b.aim(goal{"Logins, of bcrypt alone: at least 0.9", share, 2, share >= minLoginShare, others(alone, logins)})
	b.aim(goal{"the same, by the processor time of the server and Redis: at least 0.9", own, 2, own >= minLoginShare, 0})
	return nil
}

// loginTimes is what a login costs each of those who take part.
func (b *bench) loginTimes(alone, logins []result) {
	t := table{title: "Processor time for one login, ms", head: []string{"who", "ms", "of all processors"}}
	for _, part := range []struct {
		name string
		of   func(result) float64 // seconds
	}{
		{"bcrypt alone", nil},
		{"the server's threads that hash", func(r result) float64 { return r.used[hashing] }},
		{"the server but for that", func(r result) float64 { return r.used[b.server.name] }},
		{"MongoDB", func(r result) float64 { return r.used["MongoDB"] }},
		{"Redis", func(r result) float64 { return r.used["Redis"] }},
		{"wrk", func(r result) float64 { return r.used["wrk"] }},
		{"other programs", result.others},
		{"nobody", func(r result) float64 { return max(0, r.used[available]-r.used[everybody]) }},
	} {
		rounds, of := logins, part.of
		if of == nil {
			rounds, of = alone, func(r result) float64 { return r.used["bcrypt"] }
		}
		t.rows = append(t.rows, []string{part.name,
			number(median(rounds, func(r result) float64 { return 1000 * of(r) / float64(r.OK) }), 2),
			number(median(rounds, func(r result) float64 { return 100 * of(r) / r.used[available] }), 1) + " %",
		})
	}
	b.add(t)
}

// others is the processor time of what is not the bench's, in seconds.
func (r result) others() float64 {
	rest := r.used[everybody]
	for process, seconds := range r.used {
		if process != everybody && process != available {
			rest -= seconds
		}
	}
	return max(0, rest)
}

// bcryptAlone compares hashes for a while. It has the priority that the server's hashing
// has, or other programs would take more from the one than from the other.
func (b *bench) bcryptAlone() (result, error) {
	before, err := b.used()
	if err != nil {
		return result{}, err
	}
	self, err := b.self("bcrypt", strconv.Itoa(b.settings.BcryptCost), b.alone.String())
	if err != nil {
		return result{}, err
	}
	cmd := b.command("nice", append([]string{"-n", "19"}, self.Args...)...)
	out, err := cmd.Output()
	if err != nil {
		return result{}, fmt.Errorf("bcrypt alone: %w", err)
	}
	now, err := b.used()
	if err != nil {
		return result{}, err
	}
	r := result{used: now.since(before)}
	r.used["bcrypt"] = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	if _, err := fmt.Fscan(strings.NewReader(string(out)), &r.OK, &r.Microseconds); err != nil {
		return result{}, fmt.Errorf("bcrypt alone: %q: %w", out, err)
	}
	return r, nil
}
