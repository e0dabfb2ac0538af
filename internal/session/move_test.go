package session

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/redisconn"
)

// newPair returns two servers on the same store, which a change of the secret has
// reached one after the other: the first makes handles with the old secret, the second
// with the new one, and both accept both.
func newPair(t *testing.T) (first, second *Manager) {
	t.Helper()
	first, _ = newManager(t)
	other := *first
	other.store = &store{redis: first.store.redis, now: first.store.now, secrets: [][]byte{[]byte("the new"), first.store.secrets[0]}}
	first.store.secrets = [][]byte{first.store.secrets[0], []byte("the new")}
	second = New(first.store.redis, Options{
		Secrets: other.store.secrets, Idle: time.Hour, Absolute: 4 * time.Hour, TouchInterval: time.Minute,
		Log: slog.New(slog.DiscardHandler),
	})
	return first, second
}

// While servers disagree on which secret is the first, a session moves once, and nobody
// is logged out by it; who logs out is, on whichever server.
func TestMoveOnce(t *testing.T) {
	t.Parallel()
	first, second := newPair(t)
	ctx := context.Background()
	for _, servers := range [][]*Manager{{first, second}, {second, first}} {
		_, token := begin(t, servers[0])
		for range 3 {
			for _, m := range servers {
				s, _ := m.FromContext(load(t, m, token))
				if moved := servers[1].store.handle(token); s.Handle != moved && m == servers[1] {
					t.Errorf("the handle is %s, want %s", s.Handle, moved)
				}
			}
		}
		if got := listed(t, first); !slices.Equal(got, []string{servers[1].store.handle(token)}) {
			t.Errorf("listed: %v", got)
		}
		must(t, logOut(ctx, servers[0], token))
		for _, m := range servers {
			_, err := m.Load(ctx, token)
			assertError(t, err, &EndedError{LoggedOut})
		}
	}
}

// listed are the handles in the index of the user of the tests.
func listed(t *testing.T, m *Manager) []string {
	t.Helper()
	handles, err := m.store.listed(context.Background(), "u")
	must(t, err)
	return handles
}

// halfMoved makes of a session one whose move stopped after the first step.
func halfMoved(t *testing.T, m *Manager, s *Session, token string) {
	t.Helper()
	ctx := context.Background()
	half := *s
	half.Handle, half.movedFrom = m.store.handle(token), s.Handle
	value, err := half.encode()
	must(t, err)
	must(t, m.store.relist(ctx, half.UserID, half.Handle, half.IdleExpiresAt))
	must(t, m.store.create(ctx, half.Handle, value, half.IdleExpiresAt, s.Handle))
}

// A session lives on where its other name was ended, as that of one session too many,
// between its listing under it and its move there.
func TestMoveStopped(t *testing.T) {
	t.Parallel()
	first, second := newPair(t)
	ctx := context.Background()
	s, token := begin(t, first)
	to := second.store.handle(token)
	must(t, second.store.relist(ctx, "u", to, s.IdleExpiresAt))
	if ended, err := first.store.end(ctx, to, TooManySessions, true); ended != nil || err != nil {
		t.Errorf("ended %v, %v", ended, err)
	}
	next := *s
	next.Handle, next.movedFrom = to, s.Handle
	if found, err := second.overtaken(ctx, &next, token); err != nil || found.Handle != s.Handle {
		t.Errorf("found %v, %v", found, err)
	}
	for _, m := range []*Manager{first, second} {
		if found, _ := m.FromContext(load(t, m, token)); found.Handle != s.Handle {
			t.Errorf("it is at %s", found.Handle)
		}
	}
	if got := listed(t, first); !slices.Equal(got, []string{s.Handle}) {
		t.Errorf("listed: %v", got)
	}
	// Who comes late with its token after a rotation keeps the cookie.
	_, _, err := first.Rotate(load(t, first, token))
	must(t, err)
	for _, m := range []*Manager{first, second} {
		_, err := m.Load(ctx, token)
		assertError(t, err, ErrReplaced)
	}
}

// A session that was rotated on one server while its move stopped half way on another
// lives on under its new token, whatever comes late with the old one.
func TestMoveAfterRotation(t *testing.T) {
	t.Parallel()
	first, second := newPair(t)
	ctx := context.Background()
	s, token := begin(t, first)
	halfMoved(t, second, s, token)
	_, next, err := first.Rotate(load(t, first, token))
	must(t, err)
	_, err = second.Load(ctx, token)
	assertError(t, err, ErrReplaced)
	load(t, first, next)
	load(t, second, next)
	// A logout with the old token still ends it.
	must(t, logOut(ctx, second, token))
	_, err = first.Load(ctx, next)
	assertError(t, err, &EndedError{LoggedOut})
}

// A request is not refused because its session moved, on another server, after it was let
// in: the session lives, whatever its name is.
func TestMoveDuringRequest(t *testing.T) {
	t.Parallel()
	first, second := newPair(t)
	ctx := context.Background()
	_, token := begin(t, first)
	underWay := load(t, first, token)
	for _, m := range []*Manager{second, first, second} {
		load(t, m, token)
		must(t, first.Still(underWay))
	}
	_, next, err := first.Rotate(underWay)
	must(t, err)
	_, err = second.Load(ctx, token)
	assertError(t, err, ErrReplaced)
	assertError(t, first.Still(underWay), ErrReplaced)
	load(t, second, next)
	if live, err := first.List(ctx, "u"); len(live) != 1 || err != nil {
		t.Errorf("%d sessions, %v", len(live), err)
	}
	// A logout is noticed, under whatever name.
	underWay = load(t, first, next)
	load(t, second, next)
	must(t, logOut(ctx, second, next))
	assertError(t, first.Still(underWay), &EndedError{LoggedOut})
	if _, _, err := first.Rotate(underWay); !errors.Is(err, ErrNone) && !errors.Is(err, ErrReplaced) {
		t.Errorf("a rotation after the logout: %v", err)
	}
}

// Nor does it live on where its move has stopped half way and it was ended at its old name.
func TestMoveHalfWayAndEnded(t *testing.T) {
	t.Parallel()
	first, second := newPair(t)
	s, token := begin(t, first)
	underWay := load(t, first, token)
	halfMoved(t, second, s, token)
	must(t, logOut(context.Background(), first, token))
	assertError(t, first.Still(underWay), &EndedError{LoggedOut})
}

// Who ends the others keeps a session that is about to move.
func TestMoveWhileOthersEnd(t *testing.T) {
	t.Parallel()
	first, second := newPair(t)
	ctx := context.Background()
	s, token := begin(t, first)
	begin(t, first)
	halfMoved(t, second, s, token)
	if n, err := first.RevokeAll(ctx, "u", token, Revoked); n != 1 || err != nil {
		t.Errorf("ended %d, %v", n, err)
	}
	load(t, first, token)
	load(t, second, token)
	if got := listed(t, first); !slices.Equal(got, []string{second.store.handle(token)}) {
		t.Errorf("listed: %v", got)
	}
}

// A session does not slip past the end of everybody's sessions by moving.
func TestMoveWhileEverythingEnds(t *testing.T) {
	t.Parallel()
	first, second := newPair(t)
	ctx := context.Background()
	_, token := begin(t, first)
	must(t, first.store.barEveryone(ctx, time.Hour))
	for range 2 {
		_, err := second.Load(ctx, token)
		assertError(t, err, &EndedError{Revoked})
	}
	_, err := first.Load(ctx, token)
	assertError(t, err, &EndedError{Revoked})
}

// A Redis that takes no writes does not keep a session from being read.
func TestMoveWithoutWrites(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	conns := redisconn.New(redisconn.Options{Addr: server.Addr})
	t.Cleanup(conns.Close)
	m := New(conns, Options{
		Secrets: [][]byte{[]byte("a secret")}, Idle: time.Hour, Absolute: 4 * time.Hour, TouchInterval: time.Minute,
		Log: slog.New(slog.DiscardHandler),
	})
	s, token := begin(t, m)
	m.store.secrets = [][]byte{[]byte("the new"), m.store.secrets[0]}
	_, err := server.Conn(t).Do("CONFIG", "SET", "maxmemory", "1")
	must(t, err)
	if read, _ := m.FromContext(load(t, m, token)); read.Handle != s.Handle {
		t.Errorf("read %+v", read)
	}
	if _, _, err := m.Rotate(load(t, m, token)); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a rotation: %v", err)
	}
	load(t, m, token)
}
