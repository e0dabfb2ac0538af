package main

import (
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"latchkey/internal/redisconn"
	"latchkey/internal/session"
)

// memory measures how much memory Redis needs per session if each user has one.
func (b *bench) memory() error {
	before, err := b.usedMemory()
	if err != nil {
		return err
	}

	if err := b.createSessions(); err != nil {
		return err
	}

	after, err := b.usedMemory()
	if err != nil {
		return err
	}

	what := fmt.Sprintf("A session with its index in Redis, of %d: bytes", b.sessions)
	b.row(what, number((after-before)/float64(b.sessions), 0), "", "", "", "≤ 700")

	return nil
}

// createSessions creates sessions as logins do, but without passwords, which would take hours.
func (b *bench) createSessions() error {
	log := slog.New(slog.DiscardHandler)
	// DB 1 has no other keys.
	client := redisconn.New(redisconn.Options{Addr: b.redisAddr, DB: 1, Log: log})
	defer client.Close()

	s := b.settings.Session
	manager := session.New(client, session.Options{
		Secrets:       [][]byte{[]byte(s.Secrets[0])},
		Idle:          s.MaxAge,
		Absolute:      s.AbsoluteMaxAge,
		TouchInterval: s.TouchInterval,
		MaxPerUser:    s.MaxPerUser,
		Log:           log,
	})

	var group errgroup.Group
	group.SetLimit(8) // enough to keep Redis busy
	for i := range b.sessions {
		group.Go(func() error {
			_, _, err := manager.Begin(b.ctx, session.Start{
				Owner:      session.Owner{UserID: fmt.Sprintf("6921a3f0%016x", i), Email: fmt.Sprintf("ann.smith.%06d@example.com", i)},
				Client:     session.Client{IP: fmt.Sprintf("203.0.113.%d", 100+i%100), Device: "Chrome 142 on Windows"},
				Method:     "password",
				Persistent: true,
			})
			return err
		})
	}

	return group.Wait()
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
