package session

import (
	"context"
	"errors"
	"slices"
)

// ErrAmbiguous is returned for a request with the tokens of several live sessions. None of
// them must be used, because some may have been planted. Their cookies must not be cleared
// either: the next request could then use a planted one.
var ErrAmbiguous = errors.New("several live sessions")

// maxTokens is the maximum number of tokens in a request that are looked up.
const maxTokens = 8

// Load looks up the session of a request and returns a context that carries it, for
// FromContext. Usually there is one token. There are several if the browser has cookies with
// different domains or paths, left over from other settings or planted from a subdomain.
// Then exactly one must belong to a live session. Redis commands per token: 1 for a live
// session, or none if it is in memory; 1 more if the idle timeout is extended or the session has
// ended. Errors: ErrNone, ErrReplaced, ErrUntrusted, ErrAmbiguous, ErrUnavailable.
func (m *Manager) Load(ctx context.Context, tokens ...string) (context.Context, error) {
	ids := idsOf(tokens)
	if len(ids) > maxTokens {
		return nil, ErrAmbiguous
	}

	var live context.Context
	why := ErrNone

	for _, id := range ids {
		loaded, err := m.load(ctx, id)

		switch {
		case err == nil && live != nil:
			return nil, ErrAmbiguous
		case err == nil:
			live = loaded
		case !IsGone(err):
			return nil, err
		default:
			why = moreSpecific(why, err)
		}
	}

	if live == nil {
		return nil, why
	}

	return live, nil
}

// EndTokens ends the sessions of the tokens in a request and returns those that it ended, also
// if it fails. It accepts tokens that were rotated within the last minute: a logout that
// loses a race against a rotation must not leave the user signed in. Redis commands per
// token: 2, plus 2 per rotation followed. Errors: ErrUnavailable; if no session ended
// ErrNone, ErrReplaced, ErrUntrusted.
func (m *Manager) EndTokens(ctx context.Context, tokens []string, reason Reason) ([]*Session, error) {
	var ended []*Session
	why := ErrNone

	for _, id := range IDsOf(tokens) {
		s, err := m.endFollowed(ctx, id, reason)

		switch {
		case err == nil:
			ended = append(ended, s)
		case !IsGone(err):
			return ended, err
		default:
			why = moreSpecific(why, err)
		}
	}

	if len(ended) == 0 {
		return nil, why
	}

	return ended, nil
}

// endFollowed ends the session with the given ID, or its latest successor, and returns it.
// Errors: those of byID.
func (m *Manager) endFollowed(ctx context.Context, id string, reason Reason) (*Session, error) {
	s, err := m.follow(ctx, id)
	if err != nil {
		return nil, err
	}

	ended, err := m.end(ctx, s.ID, reason)
	if err != nil {
		return nil, err
	}

	if !ended {
		// It has ended since follow. If a login replaced it, the browser has a new session, which
		// stays live.
		_, err := m.follow(ctx, s.ID)
		if errors.Is(err, ErrReplaced) || errors.Is(err, ErrUnavailable) {
			return nil, err
		}
	}

	return s, nil
}

// moreSpecific returns the error that reveals more about the cookies of a request. If one of
// them must not be cleared, its error wins.
func moreSpecific(a, b error) error {
	var ended *EndedError
	switch {
	case !errors.Is(a, ErrNone):
		return a
	case !errors.Is(b, ErrNone), errors.As(b, &ended):
		return b
	}

	return a
}

// idsOf returns the session IDs for tokens, each once. Malformed tokens have none.
func idsOf(tokens []string) []string {
	var ids []string
	for _, token := range tokens {
		if id := IDOf(token); id != "" && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}

	return ids
}

// IDsOf returns the session IDs for the tokens in a request, at most maxTokens.
func IDsOf(tokens []string) []string {
	ids := idsOf(tokens)

	return ids[:min(len(ids), maxTokens)]
}
