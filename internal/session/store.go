package session

import (
	"context"
	"errors"
	"time"

	"github.com/alexedwards/scs/v2"
)

// sessionKey is the key of the Session in the data that scs keeps in a request's context.
const sessionKey = "session"

// store is the session store and codec of one request. It implements scs.CtxStore and scs.Codec. scs
// only loads sessions through it and must not save or delete them:
//
//   - scs creates tokens without a shard and knows neither generations nor the user's index,
//     so Manager.Begin creates sessions.
//   - When scs saves an idle timeout, it brings back a session that has ended meanwhile, and
//     its RenewToken leaves two live sessions after a race, so Manager.Load and
//     Manager.Rotate save sessions.
//   - scs does not record why a session ended, so Manager.End ends sessions.
//
// scs/redisstore shares these problems and has no timeouts: see TestControlStockSCS.
type store struct {
	m     *Manager
	found *Session
}

var errReadOnly = errors.New("scs must not write to the session store")

// FindCtx implements scs.CtxStore, with a session ID as the token. It keeps the session for Decode,
// because a session in memory is not encoded. Errors: those of Manager.lookup.
func (s *store) FindCtx(ctx context.Context, id string) ([]byte, bool, error) {
	var err error
	s.found, err = s.m.lookup(ctx, id)

	return nil, err == nil, err
}

// Decode implements scs.Codec for the session that FindCtx has found.
func (s *store) Decode([]byte) (time.Time, map[string]any, error) {
	return s.found.IdleExpiresAt, map[string]any{sessionKey: s.found}, nil
}

// loadWithSCS makes scs load the session with an ID into a context. Its scs.SessionManager is not from
// scs.New, which would start a goroutine that never ends, and choose a context key that m.scs does not
// know. Errors: those of Manager.lookup.
func (m *Manager) loadWithSCS(ctx context.Context, id string) (context.Context, *Session, error) {
	s := &store{m: m}
	manager := scs.SessionManager{Store: s, Codec: s}
	loaded, err := manager.Load(ctx, id)

	return loaded, s.found, err
}

func (*store) Find(string) ([]byte, bool, error)                          { return nil, false, errReadOnly }
func (*store) Commit(string, []byte, time.Time) error                     { return errReadOnly }
func (*store) CommitCtx(context.Context, string, []byte, time.Time) error { return errReadOnly }
func (*store) Delete(string) error                                        { return errReadOnly }
func (*store) DeleteCtx(context.Context, string) error                    { return errReadOnly }
func (*store) Encode(time.Time, map[string]any) ([]byte, error)           { return nil, errReadOnly }
