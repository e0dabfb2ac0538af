package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"strings"

	"latchkey/internal/session"
	"latchkey/internal/token"
	"latchkey/internal/user"
)

// A trusted device is a browser in which the user has chosen not to be asked for a code for 30 days. Its
// cookie has a proof: the ID of the device, a dot, and a secret. Only a hash of the secret is stored, in
// the account. Changing the password or a factor, or ending the other sessions, revokes all trusted devices
// of an account, because it begins a new device generation.

// newTrust returns a trusted device of an account, and the proof for its cookie.
func (s *Service) newTrust(u user.User, client session.Client) (*user.TrustedDevice, string) {
	id := rand.Text()
	secret := token.New()
	now := s.options.Now().UTC()

	return &user.TrustedDevice{
		ID:         id,
		Hash:       tokenHash(secret),
		Generation: u.DeviceGeneration,
		Device:     client.Device,
		IP:         client.IP,
		CreatedAt:  now,
		Expires:    now.Add(user.TrustMaxAge),
	}, id + "." + secret
}

// isTrusted reports whether a client is a trusted device of an account.
func (s *Service) isTrusted(client Client, u user.User) bool {
	if client.TrustProof == nil || !u.HasFactor() {
		return false
	}

	return s.TrustedDevice(u, client.TrustProof(u.ID)) != ""
}

// TrustedDevice returns the ID of the trusted device that has a proof, or "" if the proof is not valid.
func (s *Service) TrustedDevice(u user.User, proof string) string {
	id, secret, _ := strings.Cut(proof, ".")
	if !token.Valid(secret) {
		return ""
	}

	for _, d := range u.ListTrusted(s.options.Now()) {
		if d.ID == id && subtle.ConstantTimeCompare([]byte(d.Hash), []byte(tokenHash(secret))) == 1 {
			return id
		}
	}

	return ""
}

// Untrust removes a trusted device of an account. Errors: ErrNoDevice, user.ErrNotFound,
// user.ErrUnavailable.
func (s *Service) Untrust(ctx context.Context, userID, deviceID string) error {
	u, err := s.activeUser(ctx, userID)
	if err != nil {
		return err
	}
	if _, ok := u.Trusted[deviceID]; !ok {
		return ErrNoDevice
	}

	err = s.users.RemoveTrustedDevice(ctx, userID, deviceID)
	if errors.Is(err, user.ErrNotFound) {
		err = ErrNoDevice // it was removed meanwhile
	}

	return err
}
