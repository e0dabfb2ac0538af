package user

import (
	"errors"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/bson/primitive"

	"latchkey/internal/locale"
)

// MaxNameLength is the maximum number of characters (Unicode code points) in a name.
const MaxNameLength = 100

// User is an account.
type User struct {
	ID    string `bson:"-"` // the MongoDB ObjectID in hex
	Name  string `bson:"name"`
	Email Email  `bson:"email"`

	// EmailVerified is set once the owner has proved that they receive mail at Email.
	EmailVerified bool `bson:"emailVerified,omitempty"`

	// OwnerConfirmed is set once the user of the account has proved ownership of Email: by using a
	// link in a session of the account or on a device that has logged in to it, by resetting the
	// password, or by signing in with a provider. EmailVerified alone does not prove that. Anyone
	// can register with a stranger's email, and wait until the stranger uses the link without
	// thinking (pre-hijacking). So a provider may be linked by its email only if OwnerConfirmed is
	// set.
	OwnerConfirmed bool `bson:"ownerConfirmed,omitempty"`

	Picture string `bson:"picture,omitempty"` // URL, or empty

	// Locale is the BCP 47 locale in which emails to the user are written, in canonical form. If it
	// is empty, they are in the default language.
	Locale string `bson:"locale,omitempty"`

	// PasswordHash must only be used by package auth. It is empty if the owner logs in with
	// external accounts only.
	PasswordHash string `bson:"password"`

	// Unlinked contains the providers whose external accounts the owner has unlinked. A
	// matching email no longer links an account of these providers automatically.
	Unlinked []string `bson:"unlinked,omitempty"`

	// DeviceGeneration gets a new value with each change that revokes all known devices, such as a
	// new password. It is only compared for equality, and is empty before the first such change.
	DeviceGeneration string `bson:"deviceGeneration,omitempty"`

	// FailedPasswords is the number of wrong passwords since the last login, as last stored by
	// RecordFailures.
	FailedPasswords int `bson:"failedPasswords,omitempty"`

	SecondFactors `bson:",inline"`

	// Active is false if the account is disabled. A disabled account cannot log in.
	Active bool `bson:"-"`

	LastLogin time.Time `bson:"lastLogin,omitempty"` // zero before the first login
	CreatedAt time.Time `bson:"createdAt"`
	UpdatedAt time.Time `bson:"updatedAt"`
}

// View is an account as shown to its owner and to operators. It is a separate type, so that
// new fields of User are not exposed by accident. The password hash never must be.
type View struct {
	ID            string    `json:"id" pattern:"^[0-9a-f]{24}$"`
	Name          string    `json:"name"`
	Email         Email     `json:"email" description:"In lower case."`
	EmailVerified bool      `json:"emailVerified"`
	Picture       string    `json:"picture,omitempty" format:"uri"`
	Locale        string    `json:"locale,omitempty" description:"Language of emails to the user, as a BCP 47 tag such as de or pt-BR. If it is missing, emails are in the default language."`
	IsActive      bool      `json:"isActive"`
	LastLogin     time.Time `json:"lastLogin,omitzero"`
	CreatedAt     time.Time `json:"createdAt"`
	UpdatedAt     time.Time `json:"updatedAt"`
}

// View returns the fields of u that may be shown. An account without the time of the last
// update shows the time of its creation.
func (u User) View() View {
	updatedAt := u.UpdatedAt
	if updatedAt.IsZero() {
		updatedAt = u.CreatedAt
	}

	return View{
		ID:            u.ID,
		Name:          u.Name,
		Email:         u.Email,
		EmailVerified: u.EmailVerified,
		Picture:       u.Picture,
		Locale:        locale.Canonical(u.Locale), // another application may have stored anything
		IsActive:      u.Active,
		LastLogin:     u.LastLogin,
		CreatedAt:     u.CreatedAt,
		UpdatedAt:     updatedAt,
	}
}

// IsID reports whether s has the form of a User.ID.
func IsID(s string) bool {
	id, err := primitive.ObjectIDFromHex(s)
	return err == nil && id.Hex() == s
}

// ErrBadName is returned for an invalid name.
var ErrBadName = errors.New("invalid name")

// ParseName trims a name and validates it. A name has 1 to MaxNameLength characters of any
// script, at least one of which is visible. Control characters are not allowed, because they
// could inject lines into logs and mail headers or reverse the direction of text. Errors:
// ErrBadName.
func ParseName(s string) (string, error) {
	s = strings.TrimSpace(s)
	if s == "" || utf8.RuneCountInString(s) > MaxNameLength {
		return "", ErrBadName
	}

	if strings.ContainsFunc(s, isControl) || !strings.ContainsFunc(s, isVisible) {
		return "", ErrBadName
	}

	return s, nil
}

func isControl(r rune) bool {
	switch r {
	case '\u200c', '\u200d': // zero-width (non-)joiners, which some scripts need
		return false
	}
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
}

func isVisible(r rune) bool {
	switch r {
	case '\u115f', '\u1160', '\u3164', '\uffa0', '\u2800': // Hangul fillers and the braille blank: letters and a symbol, but invisible
		return false
	}
	return unicode.In(r, unicode.L, unicode.N, unicode.P, unicode.S)
}
