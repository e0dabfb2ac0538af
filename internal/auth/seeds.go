package auth

import (
	"context"
	"errors"

	"latchkey/internal/datakey"
	"latchkey/internal/user"
)

// Seeds counts the seeds of authenticator apps by how they are encrypted.
type Seeds struct {
	Current       int // with the first key of DATA_KEY
	Outdated      int // with another key of DATA_KEY
	Undecryptable int // with a key that DATA_KEY does not contain, or damaged

	// MissingKeys are the IDs of the keys that DATA_KEY does not contain. There may be none, if the
	// undecryptable seeds are damaged.
	MissingKeys map[string]bool
}

// Add adds the counts of other seeds.
func (s *Seeds) Add(other Seeds) {
	s.Current += other.Current
	s.Outdated += other.Outdated
	s.Undecryptable += other.Undecryptable

	for id := range other.MissingKeys {
		s.addMissing(id)
	}
}

func (s *Seeds) addMissing(keyID string) {
	if s.MissingKeys == nil {
		s.MissingKeys = map[string]bool{}
	}
	s.MissingKeys[keyID] = true
}

// count counts one seed. outdated and err are the results of decrypting it.
func (s *Seeds) count(sealed string, outdated bool, err error) {
	switch {
	case err == nil && outdated:
		s.Outdated++
	case err == nil:
		s.Current++
	default:
		s.Undecryptable++
	}

	isUnknown := errors.Is(err, datakey.ErrUnknownKey) || errors.Is(err, datakey.ErrNoKey)
	if id := datakey.KeyID(sealed); isUnknown && id != "" {
		s.addMissing(id)
	}
}

// DataKeyIDs returns the IDs of the keys in DATA_KEY, the first of which encrypts.
func (s *Service) DataKeyIDs() []string { return s.options.DataKeys.IDs() }

// CheckSeeds counts the seeds of an account. It decrypts each of them.
func (s *Service) CheckSeeds(u user.User) Seeds {
	var seeds Seeds
	for _, f := range u.ListFactors() {
		_, outdated, err := s.openSeed(u.ID, f.ID, f.Seed)
		seeds.count(f.Seed, outdated, err)
	}

	return seeds
}

// Rekey encrypts the seeds of an account with the first key of DATA_KEY, and returns how they were
// encrypted before. A seed that a running server changes at the same time is left as the server stored it:
// it has encrypted the seed with its own first key, or removed it. Errors: user.ErrUnavailable.
func (s *Service) Rekey(ctx context.Context, u user.User) (Seeds, error) {
	var seeds Seeds
	for _, f := range u.ListFactors() {
		seed, outdated, err := s.openSeed(u.ID, f.ID, f.Seed)
		if err == nil && outdated {
			if err := s.replaceSeed(ctx, u.ID, f, seed); err != nil {
				return seeds, err
			}
		}

		seeds.count(f.Seed, outdated, err)
	}

	return seeds, nil
}

// replaceSeed encrypts a seed with the first key. Errors: user.ErrUnavailable.
func (s *Service) replaceSeed(ctx context.Context, userID string, f user.Factor, seed []byte) error {
	sealed, err := s.sealSeed(userID, f.ID, seed)
	if err != nil {
		return err
	}

	err = s.users.ReplaceSeed(ctx, userID, f.ID, f.Seed, sealed)
	if errors.Is(err, user.ErrNotFound) || errors.Is(err, user.ErrUnreadable) {
		return nil // changed in the meantime
	}

	return err
}
