package auth

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"latchkey/internal/devstore/conntest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/hashpool"
	"latchkey/internal/mail"
	"latchkey/internal/mongoconn"
	"latchkey/internal/ratelimit"
	"latchkey/internal/redisconn"
	"latchkey/internal/session"
	"latchkey/internal/testkit"
	"latchkey/internal/user"
)

func TestMain(m *testing.M) { storetest.Main(m) }

const testPassword = "correct horse battery"

// newTestService returns a Service with stores of its own.
func newTestService(t *testing.T) *Service {
	t.Helper()

	return newTestServiceOn(t, storetest.NewRedis(t), newUsers(t), 4)
}

func newUsers(t *testing.T) *user.Store {
	t.Helper()

	return user.New(conntest.Mongo(t, mongoconn.Options{URI: storetest.Mongo(t)}), time.Now)
}

// newTestServiceOn returns a Service on the given stores, with a cost of bcrypt.
func newTestServiceOn(t *testing.T, r storetest.Redis, users *user.Store, cost int) *Service {
	t.Helper()

	log := slog.New(slog.DiscardHandler)
	hasher := hashpool.New(cost, nil)
	t.Cleanup(hasher.Close)

	conns := conntest.Redis(t, r, redisconn.Options{})
	sessions := session.New(conns, session.Options{
		Secrets:       [][]byte{[]byte("the secret of the tests, 32 bytes+")},
		Idle:          time.Hour,
		Absolute:      24 * time.Hour,
		TouchInterval: time.Minute,
		Log:           log,
	})

	composer, err := mail.NewComposer(mail.ComposerOptions{})
	testkit.NoError(t, err)

	return New(users, sessions, hasher, Options{Composer: composer, Limiter: ratelimit.New(conns), Log: log})
}

// register registers a user.
func register(t *testing.T, s *Service, email user.Email) SignedIn {
	t.Helper()

	signedIn, err := s.Register(context.Background(), Registration{Name: "Ann", Email: email, Password: testPassword}, Client{})
	testkit.NoError(t, err)

	return signedIn
}

// assertSessions fails the test unless a user has that many sessions.
func assertSessions(t *testing.T, s *Service, userID string, want int) {
	t.Helper()

	sessions, err := s.sessions.List(context.Background(), userID)
	if err != nil || len(sessions) != want {
		t.Errorf("got %d sessions, error %v, want %d", len(sessions), err, want)
	}
}

// A login with an unknown email takes as much work as one with a wrong password, and so does a
// login to a disabled account. None of them begins a session or ends the previous one.
func TestLoginWork(t *testing.T) {
	t.Parallel()

	ctx := context.Background()
	s := newTestService(t)
	ann := register(t, s, "ann@example.com")
	eve := register(t, s, "eve@example.com")
	_, err := s.users.SetActive(ctx, eve.User.ID, false)
	testkit.NoError(t, err)

	client := Client{SessionIDs: []string{ann.Session.ID}}
	for _, tc := range []struct {
		email        user.Email
		password, id string
	}{
		{"ann@example.com", "wrong", ann.User.ID},
		{"nobody@example.com", testPassword, ""},
		{"eve@example.com", testPassword, eve.User.ID},
	} {
		before := s.hasher.Hashes()
		signedIn, err := s.SignIn(ctx, Credentials{Email: tc.email, Password: tc.password}, client)
		if !errors.Is(err, ErrBadCredentials) || s.hasher.Hashes() != before+1 {
			t.Errorf("%s: got error %v after %d comparisons, want ErrBadCredentials after 1", tc.email, err, s.hasher.Hashes()-before)
		}
		if signedIn.User.ID != tc.id || signedIn.Token != "" || signedIn.Session != nil {
			t.Errorf("%s: got %+v, want only the account %q", tc.email, signedIn, tc.id)
		}
	}

	assertSessions(t, s, ann.User.ID, 1) // the previous one
	assertSessions(t, s, eve.User.ID, 1)

	signedIn, err := s.SignIn(ctx, Credentials{Email: "ann@example.com", Password: testPassword}, client)
	if err != nil || signedIn.User.LastLogin.IsZero() || signedIn.Session.UserID != ann.User.ID {
		t.Errorf("SignIn: got %+v, error %v, want a session of %s", signedIn, err, ann.User.ID)
	}

	assertSessions(t, s, ann.User.ID, 1) // the new one has replaced the previous one
}

// If the client disconnects before its password is hashed, it is not hashed.
func TestCancelledBeforeHashing(t *testing.T) {
	t.Parallel()

	s := newTestService(t)
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()

	_, err := s.CreateUser(cancelled, Registration{Name: "Ann", Email: "ann@example.com", Password: testPassword})
	if !errors.Is(err, context.Canceled) || s.hasher.Hashes() != 0 {
		t.Errorf("got error %v after %d hashes, want context.Canceled and 0", err, s.hasher.Hashes())
	}
}

// If passwords cannot be hashed, a login is refused before the database is queried.
func TestBusyLoginCostsNoQuery(t *testing.T) {
	t.Parallel()

	hasher := hashpool.New(4, nil)
	hasher.Close() // a closed pool refuses every password
	s := New(nil, nil, hasher, Options{Log: slog.New(slog.DiscardHandler)})

	if _, err := s.SignIn(t.Context(), Credentials{Email: "ann@example.com"}, Client{}); !errors.Is(err, ErrBusy) {
		t.Errorf("got error %v, want ErrBusy", err)
	}
}

// If an account changes during a sign-in, at any step, the sign-in fails without a new session, and
// the client keeps its previous session.
func TestAccountChangesDuringSignIn(t *testing.T) {
	t.Parallel()

	changes := map[string]func(s *Service, id string) error{
		"disabled": func(s *Service, id string) error {
			_, err := s.Disable(context.Background(), Operator(id), session.AccountDisabled)
			return err
		},
		"new password": func(s *Service, id string) error {
			_, err := s.SetPassword(context.Background(), Operator(id), "another password")
			return err
		},
		"sessions revoked": func(s *Service, id string) error {
			_, err := s.RevokeSessions(context.Background(), id, "")
			return err
		},
		"deleted": func(s *Service, id string) error { return s.users.Delete(context.Background(), id) },
		"disabled without ending sessions": func(s *Service, id string) error {
			_, err := s.users.SetActive(context.Background(), id, false)
			return err
		},
	}

	ends := map[string]bool{"disabled": true, "new password": true, "sessions revoked": true}

	for name, change := range changes {
		for _, step := range []string{"prove", "record", "begin"} {
			if step == "begin" && !ends[name] {
				continue // the sign-in was recorded before the change
			}

			t.Run(name+" before "+step, func(t *testing.T) {
				t.Parallel()

				ctx := context.Background()
				s := newTestService(t)
				u, err := s.CreateUser(ctx, Registration{Name: "Ann", Email: "ann@example.com", Password: testPassword})
				testkit.NoError(t, err)

				previous := register(t, s, "eve@example.com")

				before := func(current string) {
					if current != step {
						return
					}
					if err := change(s, u.ID); err != nil {
						t.Errorf("got error %v, want none", err)
					}
				}

				_, err = s.signIn(ctx, Client{SessionIDs: []string{previous.Session.ID}}, attempt{
					userID: u.ID,
					first:  session.Method{Method: session.Password},
					prove: func() (user.User, error) {
						before("prove")
						proved, err := s.provePassword(ctx, u, testPassword, Client{})
						before("record")

						return proved, err
					},
					record: func(u user.User) (user.User, error) {
						recorded, err := s.users.RecordLogin(ctx, u)
						before("begin")

						return recorded, err
					},
				})

				if !errors.Is(err, ErrBadCredentials) {
					t.Errorf("got error %v, want ErrBadCredentials", err)
				}

				assertSessions(t, s, u.ID, 0)
				assertSessions(t, s, previous.User.ID, 1)
			})
		}
	}
}

// If the session of a new account cannot begin, the account is removed. That also holds on a Redis
// Cluster while all sessions are revoked.
func TestRegistrationIsRolledBack(t *testing.T) {
	t.Parallel()

	s := newTestService(t)
	ctx := context.Background()
	in := Registration{Name: "Ann", Email: "ann@example.com", Password: testPassword}

	// The breach service is queried after the session generation was read.
	revoking, _, _ := breachServer(t, func(http.ResponseWriter, *http.Request) {
		if _, err := s.sessions.RevokeEverything(ctx, func(int) {}); err != nil {
			t.Errorf("got error %v, want none", err)
		}
	})

	revoking.breach.timeout = time.Minute
	s.options.Rules = revoking
	if _, err := s.Register(ctx, in, Client{}); !errors.Is(err, ErrBadCredentials) {
		t.Errorf("while all sessions are revoked: got error %v, want ErrBadCredentials", err)
	}
	if _, err := s.users.ByEmail(ctx, in.Email); !errors.Is(err, user.ErrNotFound) {
		t.Errorf("account: got error %v, want ErrNotFound", err)
	}

	s.options.Rules = Rules{}
	signedIn := register(t, s, in.Email)
	assertSessions(t, s, signedIn.User.ID, 1)
	if _, err := s.Register(ctx, in, Client{}); !errors.Is(err, user.ErrEmailTaken) {
		t.Errorf("third try: got error %v, want ErrEmailTaken", err)
	}
	if _, err := s.users.ByID(ctx, signedIn.User.ID); err != nil {
		t.Errorf("account after a failed registration: got error %v, want it to exist", err)
	}
}
