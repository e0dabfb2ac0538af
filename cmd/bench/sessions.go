package main

import (
	"fmt"
	"log/slog"

	"golang.org/x/sync/errgroup"

	"latchkey/internal/redisconn"
	"latchkey/internal/session"
)

// createSessions creates sessions of different users in a Redis database as logins do, but without
// passwords, which would take hours. It returns their cookies.
func (b *bench) createSessions(db, n int) ([]string, error) {
	log := slog.New(slog.DiscardHandler)
	client := redisconn.New(redisconn.Options{Addr: b.redisAddr, DB: db, Log: log})
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
	cookies := make([]string, n)
	for i := range n {
		user := b.created + i
		group.Go(func() error {
			_, token, err := manager.Begin(b.ctx, session.Start{
				Owner:      session.Owner{UserID: fmt.Sprintf("6921a3f0%016x", user), Email: fmt.Sprintf("ann.smith.%06d@example.com", user)},
				Client:     session.Client{IP: fmt.Sprintf("203.0.113.%d", 100+user%100), Device: "Chrome 142 on Windows"},
				Methods:    []session.Method{{Method: session.Password}},
				Persistent: true,
			})
			cookies[i] = b.settings.Cookie.Name + "=" + token

			return err
		})
	}
	b.created += n

	return cookies, group.Wait()
}
