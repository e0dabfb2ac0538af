package user

import (
	"cmp"
	"context"
	"crypto/rand"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/bson"
)

const (
	// MaxFactors is the maximum number of factors of an account.
	MaxFactors = 5

	// MaxFactorFailures is the number of consecutive wrong codes after which a factor is disabled, until
	// the user proves another one (NIST SP 800-63B-4 section 3.2.2).
	MaxFactorFailures = 100

	// MaxTrustedDevices is the maximum number of trusted devices of an account. Beyond it, the oldest one
	// is no longer trusted.
	MaxTrustedDevices = 20

	// TrustMaxAge is how long a device is trusted.
	TrustMaxAge = 30 * 24 * time.Hour
)

// TOTP is the kind of a factor that is an authenticator app (RFC 6238).
const TOTP = "totp"

// Factor is a second factor of an account.
type Factor struct {
	ID   string `bson:"-"`
	Kind string `bson:"kind"`
	Name string `bson:"name"` // chosen by the user

	// Seed is the secret of an authenticator app, encrypted by package datakey.
	Seed string `bson:"seed"`
	// Step is the time step of the last code that was accepted. Only later ones are accepted, so that
	// each code works once.
	Step int64 `bson:"step"`
	// Failures is the number of consecutive wrong codes.
	Failures int `bson:"failures,omitempty"`

	CreatedAt time.Time `bson:"createdAt"`
	LastUsed  time.Time `bson:"lastUsed,omitempty"` // zero if it was never used after it was added
}

// Disabled reports whether the factor is not accepted because of too many wrong codes.
func (f Factor) Disabled() bool { return f.Failures >= MaxFactorFailures }

// Enrolment is a factor that the user is setting up. It is not a factor yet.
type Enrolment struct {
	ID      string    `bson:"id"`
	Seed    string    `bson:"seed"` // as in Factor
	Expires time.Time `bson:"expires"`
}

// TrustedDevice is a browser in which the user need not enter a code to log in.
type TrustedDevice struct {
	ID   string `bson:"-"`
	Hash string `bson:"hash"` // of the token in the cookie of the browser
	// Generation is User.DeviceGeneration when the device became trusted. If the account has another one,
	// the device is not trusted any more.
	Generation string    `bson:"generation"`
	Device     string    `bson:"device"`
	IP         string    `bson:"ip"`
	CreatedAt  time.Time `bson:"createdAt"`
	Expires    time.Time `bson:"expires"`
}

// SecondFactors is the part of a User that concerns second factors. Only package auth may change it.
type SecondFactors struct {
	// Factors are the second factors by ID. An account with one needs it to log in.
	Factors map[string]Factor `bson:"factors,omitempty"`
	// Enrolment is the factor that the user is setting up, or nil.
	Enrolment *Enrolment `bson:"enrolment,omitempty"`
	// RecoveryCodes are the hashes of the unused recovery codes.
	RecoveryCodes []string `bson:"recoveryCodes,omitempty"`
	// Trusted are the trusted devices by ID, of which some may have expired.
	Trusted map[string]TrustedDevice `bson:"trusted,omitempty"`
}

// HasFactor reports whether the account needs a second factor to log in.
func (s SecondFactors) HasFactor() bool { return len(s.Factors) > 0 }

// ListFactors returns the factors, oldest first.
func (s SecondFactors) ListFactors() []Factor {
	all := make([]Factor, 0, len(s.Factors))
	for id, f := range s.Factors {
		f.ID = id
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b Factor) int { return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID)) })

	return all
}

// ListTrusted returns the devices that are trusted at a time, newest first.
func (u User) ListTrusted(now time.Time) []TrustedDevice {
	trusted := []TrustedDevice{}
	for id, d := range u.Trusted {
		d.ID = id
		if d.Generation == u.DeviceGeneration && now.Before(d.Expires) {
			trusted = append(trusted, d)
		}
	}
	slices.SortFunc(trusted, func(a, b TrustedDevice) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(a.ID, b.ID))
	})

	return trusted
}

// The fields of a SecondFactors. The other names are those in its tags.
const (
	factorsField   = "factors"
	enrolmentField = "enrolment"
	recoveryField  = "recoveryCodes"
	trustedField   = "trusted"
)

// factorPath returns the name of a field of a factor, or of the whole factor if name is empty.
func factorPath(id, name string) string {
	if name == "" {
		return factorsField + "." + id
	}

	return factorsField + "." + id + "." + name
}

// exists returns the condition that a field is there.
func exists(field string) bson.E {
	return bson.E{Key: field, Value: bson.D{{Key: "$exists", Value: true}}}
}

// isUnchanged returns the filter for an active account that still has the email and the device generation
// of u. Each change of the password or of a factor begins a new generation.
func isUnchanged(u User) bson.D {
	generation := bson.E{Key: "deviceGeneration", Value: u.DeviceGeneration}
	if u.DeviceGeneration == "" {
		// A value of another type counts as none: see decode.
		generation.Value = bson.D{{Key: "$not", Value: bson.D{{Key: "$gt", Value: ""}}}}
	}

	return slices.Concat(hasEmail(u.Email), bson.D{generation}, isActive)
}

// BeginEnrolment stores a factor that the user is setting up, in place of an earlier one. Errors:
// ErrNotFound, ErrUnavailable.
func (s *Store) BeginEnrolment(ctx context.Context, id string, e Enrolment) error {
	e.Expires = toMillis(e.Expires)
	_, err := s.update(ctx, id, isActive, set(bson.E{Key: enrolmentField, Value: e}))

	return err
}

// AddFactor turns the enrolment of an account into a factor, and revokes all known and trusted devices.
// recoveryCodes are the hashes of new codes, or nil to keep those that there are. Errors: ErrNotFound if
// the account has changed since u was read; ErrUnavailable.
func (s *Store) AddFactor(ctx context.Context, u User, f Factor, recoveryCodes []string) (User, error) {
	f.CreatedAt = s.timestamp()
	fields := []bson.E{{Key: factorPath(f.ID, ""), Value: f}, newDeviceGeneration()}
	if recoveryCodes != nil {
		fields = append(fields, bson.E{Key: recoveryField, Value: recoveryCodes})
	}

	filter := slices.Concat(isUnchanged(u), bson.D{{Key: enrolmentField + ".id", Value: f.ID}})
	change := slices.Concat(s.setAndTouch(fields...), unset(enrolmentField, trustedField))

	return s.update(ctx, u.ID, filter, change)
}

// RenameFactor changes the name of a factor. Errors: ErrNotFound if there is no such factor;
// ErrUnavailable.
func (s *Store) RenameFactor(ctx context.Context, id, factorID, name string) (User, error) {
	filter := slices.Concat(bson.D{exists(factorPath(factorID, "kind"))}, isActive)

	return s.update(ctx, id, filter, set(bson.E{Key: factorPath(factorID, "name"), Value: name}))
}

// RemoveFactor removes a factor, and revokes all known and trusted devices. With the last factor it also
// removes the recovery codes, which are useless without it. Errors: ErrNotFound if the account has changed
// since u was read; ErrUnavailable.
func (s *Store) RemoveFactor(ctx context.Context, u User, factorID string) (User, error) {
	removed := []string{factorPath(factorID, ""), trustedField}
	if len(u.Factors) == 1 {
		removed = []string{factorsField, recoveryField, trustedField}
	}

	filter := slices.Concat(isUnchanged(u), bson.D{exists(factorPath(factorID, "kind"))})

	return s.update(ctx, u.ID, filter, slices.Concat(s.setAndTouch(newDeviceGeneration()), unset(removed...)))
}

// ResetFactors removes all factors and recovery codes of an account on behalf of an operator, and revokes
// all known and trusted devices. Errors: ErrNotFound, ErrUnreadable, ErrUnavailable.
func (s *Store) ResetFactors(ctx context.Context, id string) (User, error) {
	change := slices.Concat(s.setAndTouch(newDeviceGeneration()), unset(securityFields()...))

	return s.update(ctx, id, nil, change)
}

// securityFields returns the fields of a SecondFactors.
func securityFields() []string {
	return []string{factorsField, enrolmentField, recoveryField, trustedField}
}

// SetRecoveryCodes replaces the recovery codes of an account that has a factor. Errors: ErrNotFound if the
// account has changed since u was read; ErrUnavailable.
func (s *Store) SetRecoveryCodes(ctx context.Context, u User, hashes []string) (User, error) {
	filter := slices.Concat(isUnchanged(u), bson.D{exists(factorsField)})

	return s.update(ctx, u.ID, filter, s.setAndTouch(bson.E{Key: recoveryField, Value: hashes}))
}

// FactorUse is a use of a second factor. Either FactorID or RecoveryCode is set.
type FactorUse struct {
	// FactorID and Step are the authenticator app and the time step of the code.
	FactorID string
	Step     int64
	// Seed is the seed encrypted with the current key, or "" to keep the stored one.
	Seed string
	// RecoveryCode is the hash of the recovery code.
	RecoveryCode string
	// IsLogin is set if the use completes a login.
	IsLogin bool
	// Trust is a device that becomes trusted, or nil.
	Trust *TrustedDevice
}

// UseFactor uses a second factor of an account, which enables its other factors again. It is a single
// update, so that each code works once. Errors: ErrNotFound if the code was used before or the account has
// changed since u was read; ErrUnavailable.
func (s *Store) UseFactor(ctx context.Context, u User, use FactorUse) (User, error) {
	now := s.timestamp()

	// The random value identifies this use, so that update recognizes it after a lost reply.
	fields := []bson.E{{Key: "factorUse", Value: rand.Text()}}
	removed := []string{}
	filter := isUnchanged(u)
	change := bson.D{}

	if use.FactorID != "" {
		earlier := bson.D{{Key: "$lt", Value: use.Step}}
		filter = append(filter,
			bson.E{Key: factorPath(use.FactorID, "step"), Value: earlier},
			bson.E{Key: factorPath(use.FactorID, "failures"), Value: notAtLeast(MaxFactorFailures)})
		fields = append(fields,
			bson.E{Key: factorPath(use.FactorID, "step"), Value: use.Step},
			bson.E{Key: factorPath(use.FactorID, "lastUsed"), Value: now})
	}
	if use.Seed != "" {
		fields = append(fields, bson.E{Key: factorPath(use.FactorID, "seed"), Value: use.Seed})
	}
	if use.RecoveryCode != "" {
		filter = append(filter, bson.E{Key: recoveryField, Value: use.RecoveryCode})
		change = append(change, bson.E{Key: "$pull", Value: bson.D{{Key: recoveryField, Value: use.RecoveryCode}}})
	}

	for id, f := range u.Factors {
		if f.Failures > 0 {
			removed = append(removed, factorPath(id, "failures"))
		}
	}
	if use.IsLogin {
		fields = append(fields, bson.E{Key: "lastLogin", Value: now})
		removed = append(removed, failuresField)
	}
	if use.Trust != nil {
		fields = append(fields, bson.E{Key: trustedField + "." + use.Trust.ID, Value: *use.Trust})
		removed = append(removed, u.surplusTrusted(now)...)
	}

	change = append(change, set(fields...)...)
	if len(removed) > 0 {
		change = append(change, unset(removed...)...)
	}

	return s.update(ctx, u.ID, filter, change)
}

// surplusTrusted returns the fields of devices that are not trusted any more, and of the oldest ones if
// another device would be too many.
func (u User) surplusTrusted(now time.Time) []string {
	trusted := u.ListTrusted(now)
	kept := trusted[:min(len(trusted), MaxTrustedDevices-1)]

	var surplus []string
	for id := range u.Trusted {
		isKept := slices.ContainsFunc(kept, func(d TrustedDevice) bool { return d.ID == id })
		if !isKept {
			surplus = append(surplus, trustedField+"."+id)
		}
	}

	return surplus
}

// RecordFactorFailure counts a wrong code for the enabled authenticator apps of an account, any of which it
// may have been meant for. It returns the account and the apps that are disabled from then on. Errors:
// ErrNotFound, ErrUnavailable.
func (s *Store) RecordFactorFailure(ctx context.Context, u User) (updated User, disabled []Factor, err error) {
	counts := bson.D{}
	filter := bson.D{}
	for id, f := range u.Factors {
		if f.Kind == TOTP && !f.Disabled() {
			counts = append(counts, bson.E{Key: factorPath(id, "failures"), Value: 1})
			filter = append(filter, exists(factorPath(id, "kind")))
		}
	}
	if len(counts) == 0 {
		return u, nil, nil
	}

	updated, err = s.update(ctx, u.ID, filter, bson.D{{Key: "$inc", Value: counts}})
	if err != nil {
		return User{}, nil, err
	}

	for _, count := range counts {
		for _, f := range updated.ListFactors() {
			if count.Key == factorPath(f.ID, "failures") && f.Disabled() {
				disabled = append(disabled, f)
			}
		}
	}

	return updated, disabled, nil
}

// RemoveTrustedDevice removes a trusted device. Errors: ErrNotFound, ErrUnavailable.
func (s *Store) RemoveTrustedDevice(ctx context.Context, id, deviceID string) error {
	// The time of the change identifies it, so that update recognizes it after a lost reply.
	change := slices.Concat(s.setAndTouch(), unset(trustedField+"."+deviceID))
	_, err := s.update(ctx, id, bson.D{exists(trustedField + "." + deviceID)}, change)

	return err
}

// ReplaceSeed stores the seed of a factor encrypted with another key, unless it has changed. Errors:
// ErrNotFound, ErrUnavailable.
func (s *Store) ReplaceSeed(ctx context.Context, id, factorID, old, seed string) error {
	filter := bson.D{{Key: factorPath(factorID, "seed"), Value: old}}
	_, err := s.update(ctx, id, filter, set(bson.E{Key: factorPath(factorID, "seed"), Value: seed}))

	return err
}
