package session

import (
	"context"
	"errors"
	"time"
)

// sessionKey is the key of the Session in the data that scs keeps in a request's context.
const sessionKey = "session"

// store implements scs.CtxStore and scs.Codec. scs only loads sessions through it and must
// not save or delete them:
//
//   - scs creates tokens without a shard and knows neither generations nor the user's index,
//     so Manager.Begin creates sessions.
//   - When scs saves an idle timeout, it brings back a session that has ended meanwhile, and
//     its RenewToken leaves two live sessions after a race, so Manager.Load and
//     Manager.Rotate save sessions.
//   - scs does not record why a session ended, so Manager.End ends sessions.
//
// scs/redisstore shares these problems and has no timeouts: see TestControlStockSCS.
type store struct{ m *Manager }

var errReadOnly = errors.New("scs must not write to the session store")

// FindCtx implements scs.CtxStore. It returns the session ID followed by the record, for
// Decode. Errors: those of Manager.fetch.
func (s store) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	id := IDOf(token)
	value, err := s.m.fetch(ctx, id)
	return []byte(id + value), err == nil, err
}

// Decode implements scs.Codec for the result of FindCtx. It replaces the gob codec of scs,
// which is not human-readable and cannot decode stored sessions after a type has changed.
// Errors: ErrUntrusted.
func (s store) Decode(data []byte) (time.Time, map[string]any, error) {
	session, err := s.m.open(string(data[:idLen]), string(data[idLen:]))
	if err != nil {
		return time.Time{}, nil, err
	}
	return session.IdleExpiresAt, map[string]any{sessionKey: session}, nil
}

func (store) Find(string) ([]byte, bool, error)                          { return nil, false, errReadOnly }
func (store) Commit(string, []byte, time.Time) error                     { return errReadOnly }
func (store) CommitCtx(context.Context, string, []byte, time.Time) error { return errReadOnly }
func (store) Delete(string) error                                        { return errReadOnly }
func (store) DeleteCtx(context.Context, string) error                    { return errReadOnly }
func (store) Encode(time.Time, map[string]any) ([]byte, error)           { return nil, errReadOnly }
