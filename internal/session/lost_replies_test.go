package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/devstore/conntest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/redisconn"
	"latchkey/internal/testkit"
)

// lossyManager returns a Manager whose connections lose the replies that dialer.Lose names, and a
// Manager and a connection to the same database that lose none.
func lossyManager(t *testing.T) (lossy, direct *Manager, dialer *storetest.LossyDialer, conn redis.Conn) {
	t.Helper()
	r, _, _ := storetest.ProxiedRedis(t)
	dialer = &storetest.LossyDialer{}
	direct = newManagerOn(t, r)
	lossy = New(conntest.Redis(t, r, redisconn.Options{Dial: dialer.Dial}), direct.options)

	// Load the scripts, and learn the time of Redis.
	testkit.NoError(t, errorOf(lossy.List(background, "u")))

	return lossy, direct, dialer, r.Conn(t)
}

// lostReplyOperations are operations on three sessions of one user. The first session is loaded,
// and the third has the given ID. Each operation returns what it has done.
var lostReplyOperations = map[string]func(m *Manager, loaded context.Context, token, id string) (any, error){
	"revoke": func(m *Manager, _ context.Context, _, id string) (any, error) {
		return nil, m.Revoke(background, "u", id, "by")
	},
	"revoke others": func(m *Manager, loaded context.Context, _, _ string) (any, error) {
		s, _ := m.FromContext(loaded)

		return m.RevokeAll(background, "u", s.ID, Revoked)
	},
	"revoke all": func(m *Manager, _ context.Context, _, _ string) (any, error) {
		return m.RevokeAll(background, "u", "", Revoked)
	},
	"revoke everything": func(m *Manager, _ context.Context, _, _ string) (any, error) {
		return m.RevokeEverything(background, func(int) {})
	},
	"end": func(m *Manager, _ context.Context, _, id string) (any, error) {
		return m.end(background, id, LoggedOut)
	},
	"logout": func(m *Manager, _ context.Context, token, _ string) (any, error) {
		ended, err := m.EndTokens(background, []string{token}, LoggedOut)

		return len(ended), err
	},
	"rotate": func(m *Manager, loaded context.Context, _, _ string) (any, error) {
		_, token, err := m.Rotate(loaded)
		if err != nil {
			return nil, err
		}

		return nil, errorOf(m.Load(background, token))
	},
	"rotate after everything was revoked": func(m *Manager, loaded context.Context, _, _ string) (any, error) {
		if err := m.startGeneration(background); err != nil {
			return nil, err
		}

		_, _, err := m.Rotate(loaded)

		return err, nil
	},
	"login over sessions": func(m *Manager, loaded context.Context, _, id string) (any, error) {
		s, _ := m.FromContext(loaded)
		_, token, err := m.Begin(background, Start{Owner: Owner{UserID: "u"}, Methods: []Method{{Method: Password}}, Replaces: []string{s.ID, id}})
		if err != nil {
			return nil, err
		}

		return nil, errorOf(m.Load(background, token))
	},
}

// If the reply to any command of an operation is lost, the operation has the same effect and the
// same result as without a fault, because its script recognizes its own work. If a read fails, the
// caller repeats the operation.
func TestLostReplies(t *testing.T) {
	t.Parallel()
	for name, run := range lostReplyOperations {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lossy, direct, dialer, conn := lossyManager(t)

			// play runs the operation on new sessions and describes its effect.
			play := func(number int, lost error) (effect string, commands int) {
				_, err := conn.Do("FLUSHDB")
				testkit.NoError(t, err)

				_, token := begin(t, direct)
				begin(t, direct)
				third, _ := begin(t, direct)
				loaded := load(t, lossy, token)

				dialer.Lose(number, number, lost)
				result, err := run(lossy, loaded, token, third.ID)
				commands = dialer.Stop()
				if errors.Is(err, ErrUnavailable) { // a read failed before the script ran
					result, err = run(lossy, loaded, token, third.ID)
				}

				live, listErr := direct.List(background, "u")
				testkit.NoError(t, listErr)

				return fmt.Sprintf("%v, error %v, %d sessions left; the first: %v, the third: %v", result, err, len(live),
					errorOf(direct.Load(background, token)), errorOf(direct.byID(background, third.ID))), commands
			}

			want, commands := play(0, nil)
			for number := range commands {
				for _, lost := range []error{io.EOF, os.ErrDeadlineExceeded} {
					if got, _ := play(number+1, lost); got != want {
						t.Errorf("reply to command %d lost, %v:\n got %s\nwant %s", number+1, lost, got, want)
					}
				}
			}
		})
	}
}

// If a login gets no reply at all, its session is removed, because nobody has the token.
func TestBeginWithoutReply(t *testing.T) {
	t.Parallel()
	lossy, direct, dialer, _ := lossyManager(t)
	start := login(t, direct, "u")

	dialer.Lose(1, 2, os.ErrDeadlineExceeded) // the script runs twice
	_, _, err := lossy.Begin(background, start)
	assertError(t, err, ErrUnavailable)
	dialer.Stop()

	live, err := direct.List(background, "u")
	testkit.NoError(t, err)
	if len(live) != 0 {
		t.Errorf("got %d sessions, want none", len(live))
	}
}

// A caller that has revoked a session can revoke it again, because the first response may have been
// lost. Other callers get ErrNotFound.
func TestRevokeAgain(t *testing.T) {
	t.Parallel()
	m, _ := newManager(t)
	s, _ := begin(t, m)
	out, token := begin(t, m)
	testkit.NoError(t, m.Revoke(background, "u", s.ID, "by"))
	testkit.NoError(t, logOut(m, token))

	testkit.NoError(t, m.Revoke(background, "u", s.ID, "by"))
	assertError(t, m.Revoke(background, "u", s.ID, "another"), ErrNotFound)
	assertError(t, m.Revoke(background, "u", out.ID, "by"), ErrNotFound)

	var ended *EndedError
	if err := errorOf(m.byID(background, s.ID)); !errors.As(err, &ended) || ended.Reason != Revoked {
		t.Errorf("got %v, want the reason %s", err, Revoked)
	}
}

// A repeated revocation ends no session that began after the first one.
func TestRevokeAllRunsTwice(t *testing.T) {
	t.Parallel()
	m, _ := newManager(t)
	begin(t, m)
	revoke := func() (int, error) {
		n, _, err := parseEnded(m.redis.Eval(background, m.scripts.endAll, m.keys.index("u"), m.keys.generation("u"),
			"", string(Revoked), "ID", time.Minute.Milliseconds()))

		return n, err
	}

	for range 2 {
		if n, err := revoke(); n != 1 || err != nil {
			t.Errorf("got %d sessions ended, %v; want 1", n, err)
		}

		if _, token, err := m.Begin(background, login(t, m, "u")); err != nil {
			t.Error(err)
		} else {
			load(t, m, token)
		}
	}

	if live, err := m.List(background, "u"); err != nil || len(live) != 2 {
		t.Errorf("got %d sessions, %v; want 2", len(live), err)
	}
}
