package main

import "time"

const (
	// floodClients log in without a pause, but for a moment after a 503.
	floodClients = 128
	// maxSlowdown is of the p99 in a flood, against the quiet.
	maxSlowdown = 2.5
	// floodRise is until a flood is there, and by how much it outlasts what is measured.
	floodRise = time.Second
)

// flood is what many logins do to the checks of sessions.
func (b *bench) flood() error {
	b.say("checking sessions in a flood of logins, %d rounds", b.rounds)
	if err := b.populate(accounts); err != nil {
		return err
	}
	t := table{
		title: "GET /auth/session in a flood of logins, against the quiet",
		says:  "64 connections; 128 more log in. Paced: each rests for 40 ms between two requests. Busy: none rests, and little is left for the logins.",
		head:  []string{"connections", "p99", "p50", "req/s", "p99 ms in the flood", "quiet", "p50 ms in the flood", "quiet", "req/s in the flood", "quiet", "logins/s", "503/s"},
	}
	for _, pace := range []struct {
		name    string
		scripts []string
	}{{"paced", []string{"paced"}}, {"busy", nil}} {
		check := load{url: b.server.url + sessionPage, cookie: b.person.cookie, length: b.check, scripts: pace.scripts}
		var floods []result
		found, err := inTurns(b.rounds,
			func() (result, error) { return b.wrk(check) },
			func() (result, error) {
				checked, flood, err := b.flooded(b.server, check)
				floods = append(floods, flood)
				return checked, err
			})
		if err != nil {
			return err
		}
		quiet, loud := found[0], found[1]
		row := []string{pace.name}
		for _, of := range []func(result) float64{result.p99, result.p50, result.rate} {
			row = append(row, number(ratio(loud, quiet, of), 2))
		}
		for _, of := range []func(result) float64{result.p99, result.p50} {
			row = append(row, number(median(loud, of), 2), number(median(quiet, of), 2))
		}
		row = append(row, number(median(loud, result.rate), 0), number(median(quiet, result.rate), 0),
			number(median(floods, result.rate), 1), number(median(floods, func(r result) float64 { return float64(r.Refused) / r.Microseconds * 1e6 }), 0))
		t.rows = append(t.rows, row)
		slowdown := ratio(loud, quiet, result.p99)
		b.aim(goal{"p99 of GET /auth/session in a flood of logins, " + pace.name + ", against the quiet: at most 2.5", slowdown, 2, slowdown <= maxSlowdown, others(quiet, loud)})
	}
	b.add(t)
	return nil
}

// flooded measures a load while a flood of logins goes on.
func (b *bench) flooded(s *server, check load) (checked, flood result, err error) {
	logins := b.loginLoad(s, floodClients)
	logins.length = check.length + 2*floodRise
	running, err := b.startWrk(logins)
	if err != nil {
		return result{}, result{}, err
	}
	if err := b.pause(floodRise); err != nil {
		return result{}, result{}, err
	}
	if checked, err = b.wrk(check); err != nil {
		return result{}, result{}, err
	}
	flood, err = running.wait()
	if err == nil { // no other program
		checked.used["wrk of the flood"] = flood.used["wrk"] * checked.Microseconds / flood.Microseconds
	}
	return checked, flood, err
}
