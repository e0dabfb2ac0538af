package main

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/gomodule/redigo/redis"
)

// commands counts what one request has Redis do.
func (b *bench) commands() error {
	b.say("counting the commands of Redis")
	t := table{
		title: "Commands of Redis for one request",
		says:  "As INFO commandstats counts them: those within scripts, too.",
		head:  []string{"request", "commands", "which"},
	}
	page := func(path string) func() error {
		return func() error {
			_, _, err := b.get(b.server.url+path, b.person.cookie)
			return err
		}
	}
	for _, c := range []struct {
		name  string
		calls int
		call  func() error
	}{
		{"GET " + sessionPage, b.calls, page(sessionPage)},
		{"GET " + mePage, b.calls, page(mePage)},
		{"POST " + loginPage, 10, b.signIn},
	} {
		counts, err := b.count(c.calls, c.call)
		if err != nil {
			return err
		}
		all, which := 0.0, []string{}
		for _, name := range slices.Sorted(maps.Keys(counts)) {
			all += counts[name]
			if counts[name] >= 0.005 {
				which = append(which, number(counts[name], 2)+" "+name)
			}
		}
		t.rows = append(t.rows, []string{c.name, number(all, 2), strings.Join(which, ", ")})
		if c.name == "GET "+sessionPage {
			b.aim(goal{"Commands of Redis for GET /auth/session: 1", all, 2, all < 1.005, 0})
		}
	}
	b.add(t)
	return nil
}

// signIn logs the person in once more.
func (b *bench) signIn() error {
	form := fmt.Sprintf(`{"email":%q,"password":%q}`, address(0), password)
	req, err := http.NewRequestWithContext(b.ctx, http.MethodPost, b.server.url+loginPage, strings.NewReader(form))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("login: %s", res.Status)
	}
	return nil
}

// count is how many commands each call of f costs, by name. The first is not counted: it
// may connect.
func (b *bench) count(calls int, f func() error) (map[string]float64, error) {
	if err := f(); err != nil {
		return nil, err
	}
	before, err := b.commandStats()
	if err != nil {
		return nil, err
	}
	for range calls {
		if err := f(); err != nil {
			return nil, err
		}
	}
	now, err := b.commandStats()
	if err != nil {
		return nil, err
	}
	counts := map[string]float64{}
	for name, n := range now {
		if name != "info" { // ours
			counts[name] = float64(n-before[name]) / float64(calls)
		}
	}
	return counts, nil
}

// commandStats is how often each command was called since Redis started.
func (b *bench) commandStats() (map[string]int, error) {
	text, err := redis.String(b.ask(b.redisAddr, "INFO", "commandstats"))
	if err != nil {
		return nil, err
	}
	counts := map[string]int{}
	for line := range strings.Lines(text) {
		name, rest, ok := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls=")
		if !ok {
			continue
		}
		calls, _, _ := strings.Cut(rest, ",")
		if counts[name], err = strconv.Atoi(calls); err != nil {
			return nil, err
		}
	}
	return counts, nil
}
