package session

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
)

// What every store must do: each thing that can be asked, of a session in each state
// that it can be in. TEST_REDIS says on which store: the in-process one, a server,
// Sentinel or a cluster.

// specimen is a session of user "u" in some state, and how it was before.
type specimen struct {
	m      *Manager
	conn   redis.Conn
	skew   time.Duration // how far the clock of the Manager is ahead
	before context.Context
	handle string
	token  string
	// next is the token that the client has now, where it was rotated.
	next string
}

func newSpecimen(t *testing.T) *specimen {
	t.Helper()
	s := &specimen{}
	s.m, s.conn = newManager(t)
	now := func() time.Time { return time.Now().Add(s.skew) }
	s.m.options.Now, s.m.store.now = now, now
	begun, token := begin(t, s.m)
	s.handle, s.token, s.before = begun.Handle, token, load(t, s.m, token)
	return s
}

// states bring a session into a state, in which loading it fails with an error.
var states = []struct {
	name  string
	enter func(t *testing.T, s *specimen)
	error error // nil is live
	// present says that the key is still there: Redis has not noticed yet. What ends a
	// session then ends it for its own reason, and a request that read it before that
	// may go on with it.
	present bool
}{
	{"live", func(*testing.T, *specimen) {}, nil, false},
	{"live, under another secret", func(_ *testing.T, s *specimen) {
		s.m.store.secrets = [][]byte{[]byte("another"), s.m.store.secrets[0]}
	}, nil, false},
	{"live, not listed", func(t *testing.T, s *specimen) { s.do(t, "DEL", "idx:{u}") }, nil, false},
	{"live, without a trace", func(t *testing.T, s *specimen) { s.do(t, "DEL", "ended:{sess:"+s.handle+"}") }, nil, false},
	{"live, without a TTL", func(t *testing.T, s *specimen) { s.do(t, "PERSIST", "sess:"+s.handle) }, nil, false},
	{"rotated", func(t *testing.T, s *specimen) {
		_, next, err := s.m.Rotate(s.before)
		if err != nil {
			t.Fatal(err)
		}
		s.next = next
	}, ErrReplaced, false},
	{"superseded", func(t *testing.T, s *specimen) { must(t, s.m.Supersede(context.Background(), s.token)) }, ErrReplaced, false},
	{"logged out", func(t *testing.T, s *specimen) {
		must(t, logOut(context.Background(), s.m, s.token))
	}, &EndedError{LoggedOut}, false},
	{"revoked", func(t *testing.T, s *specimen) {
		must(t, s.m.Revoke(context.Background(), "u", s.handle, Revoked))
	}, &EndedError{Revoked}, false},
	{"all ended", func(t *testing.T, s *specimen) {
		_, err := s.m.RevokeAll(context.Background(), "u", "", PasswordChanged)
		must(t, err)
	}, &EndedError{PasswordChanged}, false},
	{"idle", func(_ *testing.T, s *specimen) { s.skew = time.Hour }, &EndedError{IdleTimeout}, true},
	{"too old", func(t *testing.T, s *specimen) {
		for range 4 { // used, and ended all the same
			load(t, s.m, s.token)
			s.skew += time.Hour - time.Second
		}
		load(t, s.m, s.token)
		s.skew = 4 * time.Hour
	}, &EndedError{AbsoluteTimeout}, true},
	{"too old, without a TTL", func(t *testing.T, s *specimen) {
		s.do(t, "PERSIST", "sess:"+s.handle)
		s.skew = 5 * time.Hour
	}, &EndedError{AbsoluteTimeout}, true},
	{"deleted by hand", func(t *testing.T, s *specimen) { s.do(t, "DEL", "sess:"+s.handle) }, &EndedError{Revoked}, false},
	{"deleted with its trace", func(t *testing.T, s *specimen) {
		s.do(t, "DEL", "sess:"+s.handle, "ended:{sess:"+s.handle+"}") // one slot: a cluster takes both
	}, ErrNone, false},
	{"damaged", func(t *testing.T, s *specimen) { s.do(t, "SET", "sess:"+s.handle, "{") }, ErrNone, true},
	{"of another type", func(t *testing.T, s *specimen) {
		s.do(t, "DEL", "sess:"+s.handle)
		s.do(t, "HSET", "sess:"+s.handle, "a", "1")
	}, ErrNone, true},
}

func (s *specimen) do(t *testing.T, command string, args ...any) {
	t.Helper()
	if command == "DEL" && len(args) > 1 {
		for _, key := range args {
			s.do(t, "DEL", key)
		}
		return
	}
	_, err := s.conn.Do(command, args...)
	must(t, err)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// operations are what can be asked. ends is the reason that the session has
// afterwards, if it was live or has been rotated; "" is that it lives on.
var operations = []struct {
	name string
	ask  func(s *specimen) error
	ends Reason
	// dead is what is answered about a session that is not live.
	dead error
}{
	{"load", func(s *specimen) error { _, err := s.m.Load(context.Background(), s.token); return err }, "", ErrNone},
	{"touch", func(s *specimen) error {
		old, _ := s.m.FromContext(s.before)
		s.m.touch(s.before, old, s.m.options.Now().Add(time.Minute))
		return nil
	}, "", nil},
	{"rotate", func(s *specimen) error { _, _, err := s.m.Rotate(s.before); return err }, replaced, ErrReplaced},
	{"end", func(s *specimen) error { return s.m.End(s.before, LoggedOut) }, LoggedOut, nil},
	{"end by token", func(s *specimen) error { return logOut(context.Background(), s.m, s.token) }, LoggedOut, nil},
	{"supersede", func(s *specimen) error { return s.m.Supersede(context.Background(), s.token) }, replaced, nil},
	{"revoke", func(s *specimen) error { return s.m.Revoke(context.Background(), "u", s.handle, Revoked) }, Revoked, ErrNotFound},
	{"revoke by another user", func(s *specimen) error {
		if err := s.m.Revoke(context.Background(), "v", s.handle, Revoked); !errors.Is(err, ErrNotFound) {
			return errors.New("it was taken for theirs")
		}
		return nil
	}, "", nil},
	{"revoke all", func(s *specimen) error {
		_, err := s.m.RevokeAll(context.Background(), "u", "", Revoked)
		return err
	}, Revoked, nil},
	{"revoke all of another user", func(s *specimen) error {
		_, err := s.m.RevokeAll(context.Background(), "v", "", Revoked)
		return err
	}, "", nil},
	{"revoke others", func(s *specimen) error {
		_, err := s.m.RevokeAll(context.Background(), "u", s.token, Revoked)
		return err
	}, "", nil},
	{"list", func(s *specimen) error { _, err := s.m.List(context.Background(), "u"); return err }, "", nil},
	{"begin another", func(s *specimen) error {
		e, err := s.m.Epoch(context.Background(), "u")
		if err != nil {
			return err
		}
		begun, _, err := s.m.Begin(s.before, SignIn{UserID: "u", Method: "password", Epoch: e})
		if err != nil {
			return err
		}
		return s.m.Revoke(context.Background(), "u", begun.Handle, Revoked)
	}, "", nil},
}

// missed are the sessions that an operation cannot know of, by the contract: the index
// finds sessions, and one that was taken out of it by hand is not found until it is
// used.
func missed(state, operation string) bool {
	return state == "live, not listed" && strings.HasPrefix(operation, "revoke all")
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
				s := newSpecimen(t)
				state.enter(t, s)
				alive := state.error == nil || s.next != "" || state.present
				err := op.ask(s)
				switch {
				case state.error == nil || s.next != "" && op.name != "load" && op.name != "rotate":
					must(t, err)
				case op.name == "load":
					assertError(t, err, state.error)
					alive = false
				case state.present && errors.Is(op.dead, ErrNotFound): // it may still be found, to be ended
					alive = err == nil
				default:
					assertError(t, err, op.dead)
				}

				// The token of before, and the one that the client has now.
				want, token := state.error, s.token
				if s.next != "" {
					_, err := s.m.Load(context.Background(), s.token)
					assertError(t, err, ErrReplaced)
					want, token = nil, s.next
				}
				ended := alive && op.ends != "" && (s.next == "" || op.name != "rotate") && !missed(state.name, op.name)
				switch {
				case ended && op.ends == replaced:
					want = ErrReplaced
				case ended:
					want = &EndedError{op.ends}
				}
				_, err = s.m.Load(context.Background(), token)
				assertError(t, err, want)
				live, err := redis.Strings(s.conn.Do("KEYS", "sess:*"))
				must(t, err)
				count := 0
				if want == nil || op.name == "rotate" && state.error == nil {
					count = 1
				}
				if len(live) != count {
					t.Errorf("%d sessions are live, want %d", len(live), count)
				}
			})
		}
	}
}

// assertError fails unless err is what is wanted, down to the reason.
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
