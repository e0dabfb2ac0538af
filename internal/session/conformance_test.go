package session

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/testkit"
)

// TestConformance runs every operation on a session in every state. TEST_REDIS selects the
// store: the in-process one, a server, Sentinels or a cluster.

// specimen is a session that belongs to user "u" and has been put into some state.
type specimen struct {
	m      *Manager
	conn   redis.Conn
	skew   time.Duration   // how far the Manager's clock is ahead
	loaded context.Context // carries the session as it was before it entered the state
	id     string
	token  string
	// next is the client's current token, if the session was rotated.
	next string
}

func newSpecimen(t *testing.T, m *Manager, conn redis.Conn) *specimen {
	t.Helper()
	s := &specimen{m: m, conn: conn}
	m.options.Now = func() time.Time { return time.Now().Add(s.skew) }
	started, token := begin(t, m)
	s.id = started.ID
	s.token = token
	s.loaded = load(t, m, token)
	return s
}

// rewrite changes the record and signs it with keys.
func (s *specimen) rewrite(t *testing.T, keys macKeys, change func(*Session)) {
	t.Helper()
	changed, err := s.m.ByID(background, s.id)
	testkit.NoError(t, err)
	change(changed)
	value, err := changed.seal(keys)
	testkit.NoError(t, err)
	s.do(t, "SET", s.m.keys.record(s.id), value)
}

// states are the states that a session can be in, with the error that Load then returns.
var states = []struct {
	name  string
	enter func(t *testing.T, s *specimen)
	error error // nil if live
	// present is set if the record still exists. An operation that ends the session without
	// reading the record then sets its own reason.
	present bool
}{
	{name: "live", enter: func(*testing.T, *specimen) {}},
	{name: "live, under an older secret", enter: func(_ *testing.T, s *specimen) {
		s.m.macKeys = append(newMACKeys([][]byte{[]byte("another")}), s.m.macKeys...)
	}},
	{name: "live, not in the index", enter: func(t *testing.T, s *specimen) { s.do(t, "DEL", s.m.keys.index("u")) }},
	{name: "live, without a TTL", enter: func(t *testing.T, s *specimen) { s.do(t, "PERSIST", s.m.keys.record(s.id)) }},
	{name: "live, with a lowered TTL", enter: func(t *testing.T, s *specimen) {
		s.do(t, "EXPIRE", s.m.keys.record(s.id), 3600)
	}},
	{name: "live, after others were revoked", enter: func(t *testing.T, s *specimen) {
		testkit.NoError(t, errorOf(s.m.RevokeAll(background, "u", s.id, Revoked)))
	}},
	{name: "live, with a line from a newer release", enter: func(t *testing.T, s *specimen) {
		s.rewrite(t, s.m.macKeys, func(changed *Session) { changed.extra = "tenant=acme\n" })
		s.loaded = load(t, s.m, s.token)
	}},
	{name: "rotated twice", enter: func(t *testing.T, s *specimen) {
		_, next, err := s.m.Rotate(s.loaded)
		testkit.NoError(t, err)
		_, s.next, err = s.m.Rotate(load(t, s.m, next))
		testkit.NoError(t, err)
	}, error: ErrReplaced},
	{name: "superseded", error: ErrReplaced, enter: func(t *testing.T, s *specimen) {
		testkit.NoError(t, s.m.supersede(background, s.id))
	}},
	{name: "logged out", enter: func(t *testing.T, s *specimen) {
		testkit.NoError(t, logOut(s.m, s.token))
	}, error: &EndedError{LoggedOut}},
	{name: "revoked", enter: func(t *testing.T, s *specimen) {
		testkit.NoError(t, s.m.Revoke(background, "u", s.id, "someone else"))
	}, error: &EndedError{Revoked}},
	{name: "all revoked", enter: func(t *testing.T, s *specimen) {
		testkit.NoError(t, errorOf(s.m.RevokeAll(background, "u", "", PasswordChanged)))
	}, error: &EndedError{PasswordChanged}},
	{name: "idle timeout", error: &EndedError{IdleTimeout}, present: true, enter: func(_ *testing.T, s *specimen) {
		s.skew = time.Hour
	}},
	{name: "absolute timeout", enter: func(t *testing.T, s *specimen) {
		for range 4 { // in use until the absolute timeout
			load(t, s.m, s.token)
			s.skew += time.Hour - time.Second
		}

		load(t, s.m, s.token)
		s.skew = 4 * time.Hour
	}, error: &EndedError{AbsoluteTimeout}, present: true},
	{name: "idle timeout, without a TTL", enter: func(t *testing.T, s *specimen) {
		s.do(t, "PERSIST", s.m.keys.record(s.id))
		s.skew = 5 * time.Hour
	}, error: &EndedError{IdleTimeout}, present: true},
	{name: "deleted by hand", error: ErrNone, enter: func(t *testing.T, s *specimen) {
		s.do(t, "DEL", s.m.keys.record(s.id))
	}},
	{name: "malformed", error: ErrUntrusted, present: true, enter: func(t *testing.T, s *specimen) {
		s.do(t, "SET", s.m.keys.record(s.id), "{")
	}},
	{name: "wrong type in Redis", enter: func(t *testing.T, s *specimen) {
		s.do(t, "DEL", s.m.keys.record(s.id))
		s.do(t, "HSET", s.m.keys.record(s.id), "a", "1")
	}, error: ErrUntrusted, present: true},
	{name: "under an unknown secret", enter: func(t *testing.T, s *specimen) {
		s.rewrite(t, newMACKeys([][]byte{[]byte("unknown")}), func(*Session) {})
	}, error: ErrUntrusted, present: true},
	{name: "from the future", enter: func(t *testing.T, s *specimen) {
		s.rewrite(t, s.m.macKeys, func(changed *Session) {
			changed.AuthenticatedAt = changed.AuthenticatedAt.Add(maxClockSkew + time.Minute)
		})
	}, error: ErrUntrusted, present: true},
}

func (s *specimen) do(t *testing.T, command string, args ...any) {
	t.Helper()
	_, err := s.conn.Do(command, args...)
	testkit.NoError(t, err)
}

// errAsLoaded stands for the error that Load returns in the same state.
var errAsLoaded = errors.New("same error as Load")

// operations are the operations on a session.
var operations = []struct {
	name string
	run  func(s *specimen) error
	// ends is why a live or rotated session has ended after the operation; "" if it stays live.
	ends Reason
	// dead is the error that the operation returns if the session is not live.
	dead error
	// reads is set if the operation reads and verifies the record first.
	reads bool
}{
	{name: "load", dead: errAsLoaded, reads: true, run: func(s *specimen) error {
		return errorOf(s.m.Load(background, s.token))
	}},
	{name: "touch", run: func(s *specimen) error {
		old, _ := s.m.FromContext(s.loaded)
		s.m.touchFailed.Store(0)
		s.m.touch(s.loaded, old, s.m.options.Now().Add(time.Minute))
		if s.m.touchFailed.Load() != 0 {
			return ErrUnavailable // logged
		}

		return nil
	}},
	{name: "rotate", ends: replaced, dead: ErrReplaced, run: func(s *specimen) error {
		_, _, err := s.m.Rotate(s.loaded)
		return err
	}},
	{name: "end", run: func(s *specimen) error { return s.m.End(s.loaded, LoggedOut) }, ends: LoggedOut},
	{name: "end by token", ends: LoggedOut, dead: errAsLoaded, reads: true, run: func(s *specimen) error {
		return logOut(s.m, s.token)
	}},
	{name: "supersede", ends: replaced, reads: true, run: func(s *specimen) error {
		return s.m.supersede(background, s.id)
	}},
	{name: "revoke", ends: Revoked, dead: ErrNotFound, reads: true, run: func(s *specimen) error {
		return s.m.Revoke(background, "u", s.id, "by")
	}},
	{name: "revoke by another user", run: func(s *specimen) error {
		if err := s.m.Revoke(background, "v", s.id, "by"); !errors.Is(err, ErrNotFound) {
			return fmt.Errorf("revoke by another user: got %w, want ErrNotFound", err)
		}

		return nil
	}, reads: true},
	{name: "revoke all", ends: Revoked, run: func(s *specimen) error {
		return errorOf(s.m.RevokeAll(background, "u", "", Revoked))
	}},
	{name: "revoke all of another user", run: func(s *specimen) error {
		return errorOf(s.m.RevokeAll(background, "v", "", Revoked))
	}},
	{name: "revoke others", run: func(s *specimen) error {
		return errorOf(s.m.RevokeAll(background, "u", s.id, Revoked))
	}},
	{name: "revoke everything", ends: Revoked, run: func(s *specimen) error {
		return errorOf(s.m.RevokeEverything(background, func(int) {}))
	}},
	{name: "list", run: func(s *specimen) error { return errorOf(s.m.List(background, "u")) }},
	{name: "begin another", run: func(s *specimen) error {
		g, err1 := s.m.Generation(background, "u")
		started, _, err2 := s.m.Begin(s.loaded, Start{Owner: Owner{UserID: "u"}, Methods: []Method{{Method: Password}}, Generation: g})
		if err := errors.Join(err1, err2); err != nil {
			return err
		}

		return s.m.Revoke(background, "u", started.ID, "by")
	}},
}

// isMissed reports whether an operation overlooks a session in the given state. Operations on all of
// a user's sessions use the index. A session that was removed from the index by hand is not listed
// again until it is touched.
func isMissed(state, operation string) bool {
	return state == "live, not in the index" && strings.HasPrefix(operation, "revoke all")
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for _, state := range states {
		for _, op := range operations {
			if state.present && (op.name == "rotate" || op.name == "touch") {
				continue
			}

			t.Run(state.name+"/"+op.name, func(t *testing.T) {
				t.Parallel()
				m, conn := newManager(t)
				s := newSpecimen(t, m, conn)
				state.enter(t, s)

				isRotated := s.next != ""
				isLive := state.error == nil || isRotated || state.present && !op.reads
				rotatesAgain := isRotated && op.name == "rotate"

				err := op.run(s)
				switch {
				case isLive && op.name != "load" && !rotatesAgain:
					testkit.NoError(t, err)
				case errors.Is(op.dead, errAsLoaded):
					assertError(t, err, state.error)
				default:
					assertError(t, err, op.dead)
				}

				// Check the old token and, after a rotation, the new one.
				want := state.error
				token := s.token
				if isRotated {
					_, err := s.m.Load(background, s.token)
					assertError(t, err, ErrReplaced)
					want = nil
					token = s.next
				}

				ended := isLive && op.ends != "" && !rotatesAgain && !isMissed(state.name, op.name)
				switch {
				case ended && op.ends == replaced:
					want = ErrReplaced
				case ended:
					want = &EndedError{op.ends}
				}

				_, err = s.m.Load(background, token)
				assertError(t, err, want)
				records := 0
				if want == nil || errors.Is(want, ErrUntrusted) || op.name == "rotate" && state.error == nil {
					records = 1
				}

				assertRecords(t, conn, records)
			})
		}
	}
}

// assertError fails the test unless err is want, including the reason of an EndedError.
func assertError(t *testing.T, err, want error) {
	t.Helper()
	var wanted, got *EndedError
	if errors.As(want, &wanted) {
		if !errors.As(err, &got) || *got != *wanted {
			t.Errorf("got %v, want %v", err, want)
		}

		return
	}

	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}
