package auth

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/session"
	"latchkey/internal/user"
)

// If a session ends while it links an external account, no link remains, even if the session was
// valid when the request arrived.
func TestLinkWhileTheSessionEnds(t *testing.T) {
	t.Parallel()

	direct, proxied, proxy := storetest.ProxiedRedis(t)
	ctx := context.Background()
	s := newTestServiceOn(t, proxied, newUsers(t), 4)
	other := newTestServiceOn(t, direct, s.users, 4)
	ann := register(t, s, "ann@example.com")
	caller := Caller{UserID: ann.User.ID, SessionID: ann.Session.ID}
	claims := user.Claims{Provider: "acme", Issuer: "https://acme.example", Subject: "ann"}

	var checked, ended atomic.Bool
	proxy.Set(storetest.Faults{
		Command: func(_ net.Conn, chunk []byte) bool {
			if bytes.Contains(chunk, []byte("sess:")) {
				checked.Store(true)
			}

			return false
		},
		Reply: func(net.Conn, []byte) bool {
			// End the session after Redis has replied that it is valid.
			if checked.Load() && ended.CompareAndSwap(false, true) {
				if _, err := other.sessions.RevokeAll(ctx, ann.User.ID, "", session.Revoked); err != nil {
					t.Errorf("got error %v, want none", err)
				}
			}

			return false
		},
	})

	if err := s.Link(ctx, caller, claims); !errors.Is(err, session.ErrNotFound) || !ended.Load() {
		t.Errorf("Link: got error %v, session ended %t, want ErrNotFound after it ended", err, ended.Load())
	}
	if all, err := s.users.Identities(ctx, ann.User.ID); err != nil || len(all) > 0 {
		t.Errorf("got identities %v, error %v, want none", all, err)
	}
}
