package user

import (
	"errors"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/bson/primitive"
)

// MaxNameLength is the most characters (Unicode code points) of a name.
const MaxNameLength = 100

// User is one account.
type User struct {
	// ID is the MongoDB ObjectID in hex.
	ID    string
	Name  string
	Email Email
	// EmailVerified says that the owner of the account has shown to read mail at
	// Email.
	EmailVerified bool
	Picture       string // URL; empty where there is none
	// PasswordHash is for package auth alone. It is empty where the owner logs in with
	// accounts elsewhere only.
	PasswordHash string
	// Unlinked are providers of which the owner has removed an account: their word does not
	// link another one by its address.
	Unlinked []string
	// Active is false for an account that was disabled: it cannot log in.
	Active    bool
	LastLogin time.Time // zero where there was none
	CreatedAt time.Time
	UpdatedAt time.Time
}

// document is a User in MongoDB. Members that the guide's app does not write are
// pointers, or empty, where it left them out.
type document struct {
	ID            primitive.ObjectID `bson:"_id"`
	Name          string             `bson:"name"`
	Email         string             `bson:"email"`
	EmailVerified bool               `bson:"emailVerified,omitempty"`
	Picture       string             `bson:"picture,omitempty"`
	Password      string             `bson:"password"`
	IsActive      *bool              `bson:"isActive"`
	LastLogin     *time.Time         `bson:"lastLogin,omitempty"`
	CreatedAt     time.Time          `bson:"createdAt"`
	UpdatedAt     time.Time          `bson:"updatedAt"`

	Unlinked []string              `bson:"unlinked,omitempty"`
	Tickets  map[TicketKind]Ticket `bson:"tickets,omitempty"`
}

func (d document) user() User {
	u := User{
		ID: d.ID.Hex(), Name: d.Name, Email: Email(d.Email), EmailVerified: d.EmailVerified,
		Picture: d.Picture, PasswordHash: d.Password, Unlinked: d.Unlinked,
		// The guide's schema makes true the default of a document without it.
		Active:    d.IsActive == nil || *d.IsActive,
		CreatedAt: d.CreatedAt.UTC(), UpdatedAt: d.UpdatedAt.UTC(),
	}
	if d.LastLogin != nil {
		u.LastLogin = d.LastLogin.UTC()
	}
	return u
}

// IsID tells whether a text has the form of a User's ID.
func IsID(s string) bool {
	id, err := primitive.ObjectIDFromHex(s)
	return err == nil && id.Hex() == s
}

// ErrBadName says that a text is no name.
var ErrBadName = errors.New("not a name")

// ParseName trims a name and checks it: 1 to MaxNameLength characters of any
// script, one of them visible, none of them a control character, which could break
// a line in a mail header or a log, or turn the text around it (the joiners that
// some scripts are written with aside). Errors: ErrBadName.
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
	const zeroWidthNonJoiner, zeroWidthJoiner = '\u200c', '\u200d'
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) && r != zeroWidthNonJoiner && r != zeroWidthJoiner
}

func isVisible(r rune) bool {
	switch r {
	case '\u115f', '\u1160', '\u3164', '\uffa0': // letters by class, fillers by look
		return false
	}
	return unicode.In(r, unicode.L, unicode.N, unicode.P, unicode.S)
}
