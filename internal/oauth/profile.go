package oauth

import (
	"net/url"

	"github.com/go-json-experiment/json"

	"latchkey/internal/user"
)

// profile contains the claims about a user (OpenID Connect Core section 5.1). All of them are
// optional. A value of another type counts as missing: it must not keep the user from signing
// in.
type profile struct {
	Email    looseString `json:"email"`
	Verified *looseBool  `json:"email_verified"` // nil if missing
	Name     looseString `json:"name"`
	Picture  looseString `json:"picture"`
	// HostedDomain is the Google Workspace organization of the account.
	HostedDomain looseString `json:"hd"`
}

// looseString is a string, or "" for values of other types.
type looseString string

// UnmarshalJSON accepts any value.
func (s *looseString) UnmarshalJSON(raw []byte) error {
	var value string
	if json.Unmarshal(raw, &value) != nil {
		value = ""
	}
	*s = looseString(value)

	return nil
}

// looseBool is a bool that some providers send as a string. Other values are false.
type looseBool bool

// UnmarshalJSON accepts any value.
func (b *looseBool) UnmarshalJSON(raw []byte) error {
	text := string(raw)
	*b = text == `true` || text == `"true"`

	return nil
}

// email returns the email in canonical form, or "" if it is missing or unsupported.
func (p profile) email() user.Email {
	email, err := user.ParseEmail(string(p.Email))
	if err != nil {
		return ""
	}

	return email
}

// merge returns p with the email of another profile, if p has none, and the claims about the
// email. Another profile can also verify the email of p, if it has the same one.
func (p profile) merge(more profile) profile {
	isSame := p.email() != "" && p.email() == more.email()

	switch {
	case p.Email == "":
		p.Email = more.Email
		p.Verified = more.Verified
		p.HostedDomain = more.HostedDomain
	case p.Verified == nil && isSame:
		p.Verified = more.Verified
	}
	if p.Name == "" {
		p.Name = more.Name
	}
	if p.Picture == "" {
		p.Picture = more.Picture
	}

	return p
}

// maxPicture is the maximum length of the URL of a picture, in bytes.
const maxPicture = 2048

// copyTo copies the valid values of a profile to claims.
func (p profile) copyTo(claims *user.Claims) {
	if email := p.email(); email != "" {
		claims.Email = email
		claims.EmailVerified = p.Verified != nil && bool(*p.Verified)
	}
	if name, err := user.ParseName(string(p.Name)); err == nil {
		claims.Name = name
	}

	picture := string(p.Picture)
	if u, err := url.Parse(picture); err == nil && u.Scheme == "https" && u.Host != "" && len(picture) <= maxPicture {
		claims.Picture = picture
	}
}
