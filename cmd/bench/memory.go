package main

import (
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"latchkey/internal/testkit"
)

// memoryDB is a Redis database without other keys.
const memoryDB = 1

// memory measures how much memory Redis and a server need per session if each user has one.
func (b *bench) memory() error {
	before, err := b.usedMemory()
	if err != nil {
		return err
	}

	cookies, err := b.createSessions(memoryDB, b.sessions)
	if err != nil {
		return err
	}

	after, err := b.usedMemory()
	if err != nil {
		return err
	}

	what := fmt.Sprintf("A session with its index in Redis, of %d; bytes", b.sessions)
	b.single(what, number((after-before)/float64(b.sessions), 0), "≤ 700")

	return b.serverMemory(cookies)
}

// serverMemory measures the resident memory of a server under load, before and after it has checked
// all sessions. Both include garbage, which Go collects when the heap has doubled.
func (b *bench) serverMemory(cookies []string) error {
	opsPort, err := testkit.FreePort()
	if err != nil {
		return err
	}

	s, err := b.startServer(map[string]string{
		"OPS_ADDR":               "127.0.0.1:" + opsPort,
		"REDIS_URI":              fmt.Sprintf("redis://%s/%d", b.redisAddr, memoryDB),
		"SESSION_CACHE":          "1GiB",
		"SESSION_TOUCH_INTERVAL": "12h", // a session that is extended must be read again
	})
	if err != nil {
		return err
	}
	defer s.stop()

	before, err := b.residentUnderLoad(s, cookies[0])
	if err != nil {
		return err
	}

	if err := b.checkOnce(s, cookies); err != nil {
		return err
	}

	after, err := b.residentUnderLoad(s, cookies[0])
	if err != nil {
		return err
	}

	lost, err := s.metric("latchkey_session_cache_lost_streams_total")
	if err != nil {
		return err
	}
	if lost > 0 {
		b.progressf("the machine was so busy that the server dropped its sessions from memory; the figures are too low")
	}

	counted, err := s.metric("latchkey_session_cache_bytes")
	if err != nil {
		return err
	}

	const mebibyte = 1 << 20
	sessions := float64(len(cookies))
	b.single("Resident memory of a server under load; MiB", number(before/mebibyte, 0), "")
	b.single(fmt.Sprintf("The same with %d sessions in memory; MiB", len(cookies)), number(after/mebibyte, 0), "")
	b.row("The difference per session; bytes", number((after-before)/sessions, 0),
		"`latchkey_session_cache_bytes`", number(counted/sessions, 0), number((after-before)/counted, 2), "")

	return nil
}

// checkOnce checks each session once.
func (b *bench) checkOnce(s *server, cookies []string) error {
	var group errgroup.Group
	group.SetLimit(senders)
	for _, cookie := range cookies {
		group.Go(func() error {
			_, _, err := b.send(s.check(cookie))
			return err
		})
	}

	return group.Wait()
}

// residentUnderLoad returns the resident memory of a server that has checked one session many times.
func (b *bench) residentUnderLoad(s *server, cookie string) (float64, error) {
	if _, err := b.measure(s.check(cookie), usualConnections); err != nil {
		return 0, err
	}

	return s.residentBytes()
}

// usedMemory returns the bytes that Redis uses, once the number is stable: Redis moves keys to a
// larger table gradually, and frees closed connections with a delay.
func (b *bench) usedMemory() (float64, error) {
	last := -1.0
	for range 50 {
		used, err := b.redisFigure("used_memory")
		if err != nil || used == last {
			return used, err
		}

		last = used
		time.Sleep(200 * time.Millisecond)
	}

	return last, nil
}
