package session

import (
	"errors"
	"slices"
	"strings"
	"time"
)

// The methods with which users prove their identity. pwd and otp are named as in RFC 8176, which has no
// names for the others.
const (
	Password  = "pwd"
	OTP       = "otp"      // the code of an authenticator app
	Federated = "fed"      // an external provider
	Recovery  = "recovery" // a recovery code
	Device    = "device"   // a trusted device: a second factor at a login, but not for a step-up
)

// The levels of authentication, as in NIST SP 800-63B-4: with one factor, and with two.
const (
	AAL1 = "aal1"
	AAL2 = "aal2"
)

// Method is one way in which the user of a session has proved their identity.
type Method struct {
	Method   string    `json:"method" enum:"pwd,fed,otp,recovery,device" description:"pwd is a password, fed an external provider, otp the code of an authenticator app, recovery a recovery code, and device a trusted device."`
	Provider string    `json:"provider,omitempty" description:"The name of the provider, for fed."`
	At       time.Time `json:"at" description:"When the user last proved it."`
}

// isFirst reports whether the method is a first factor, with which a login begins.
func (m Method) isFirst() bool { return m.Method == Password || m.Method == Federated }

// isSecond reports whether the method is accepted as a second factor at a login. Unknown methods, which
// another release may have written, are not.
func (m Method) isSecond() bool { return m.Method == OTP || m.Method == Recovery || m.Method == Device }

// Label returns the name of a first factor in the metrics: "password" or the name of the provider.
func (m Method) Label() string {
	if m.Method == Federated {
		return m.Provider
	}

	return "password"
}

// Proof is when and how the user has authenticated.
type Proof struct {
	AuthenticatedAt time.Time `json:"authenticatedAt" description:"When the user last proved a first factor: a password or an external provider."`
	Methods         []Method  `json:"methods" minItems:"1" description:"How the user has proved their identity, the first factor first."`
}

// newProof returns the proof of a login. Methods without a time, or with one in the future, were proved
// at now.
func newProof(methods []Method, now time.Time) Proof {
	p := Proof{Methods: slices.Clone(methods)}
	for i := range p.Methods {
		m := &p.Methods[i]
		m.At = toMillis(m.At)
		if m.At.IsZero() || m.At.After(now) {
			m.At = now
		}
	}
	p.setAuthenticatedAt()

	return p
}

// with returns the proof after the user has proved more methods at now.
func (p Proof) with(now time.Time, proved ...string) Proof {
	methods := slices.Clone(p.Methods)
	for _, name := range proved {
		i := slices.IndexFunc(methods, func(m Method) bool { return m.Method == name })
		if i < 0 {
			methods = append(methods, Method{Method: name})
			i = len(methods) - 1
		}
		methods[i].At = now
	}

	next := Proof{AuthenticatedAt: p.AuthenticatedAt, Methods: methods}
	next.setAuthenticatedAt()

	return next
}

// without returns the proof without some methods.
func (p Proof) without(names ...string) Proof {
	p.Methods = slices.DeleteFunc(slices.Clone(p.Methods), func(m Method) bool { return slices.Contains(names, m.Method) })

	return p
}

// setAuthenticatedAt sets AuthenticatedAt to the time of the latest first factor.
func (p *Proof) setAuthenticatedAt() {
	for _, m := range p.Methods {
		if m.isFirst() && m.At.After(p.AuthenticatedAt) {
			p.AuthenticatedAt = m.At
		}
	}
}

// Level returns the level of authentication: AAL1 or AAL2.
func (p Proof) Level() string {
	if slices.ContainsFunc(p.Methods, Method.isFirst) && slices.ContainsFunc(p.Methods, Method.isSecond) {
		return AAL2
	}

	return AAL1
}

// Names returns the names of the methods, separated by sep.
func (p Proof) Names(sep string) string {
	names := make([]string, len(p.Methods))
	for i, m := range p.Methods {
		names[i] = m.Method
	}

	return strings.Join(names, sep)
}

// provedSince reports whether one of the methods was proved at or after a time.
func (p Proof) provedSince(earliest time.Time, names ...string) bool {
	return slices.ContainsFunc(p.Methods, func(m Method) bool {
		return slices.Contains(names, m.Method) && !m.At.Before(earliest)
	})
}

// HasRecentFirst reports whether the user has proved a first factor at or after a time.
func (p Proof) HasRecentFirst(earliest time.Time) bool {
	return p.provedSince(earliest, Password, Federated)
}

// HasRecentSecond reports whether the user has proved a second factor themselves at or after a time. A
// trusted device does not count, because anyone at an unlocked browser has it.
func (p Proof) HasRecentSecond(earliest time.Time) bool {
	return p.provedSince(earliest, OTP, Recovery)
}

// In a record, methods are separated by spaces. The name of the provider follows a colon, and a time that
// differs from Proof.AuthenticatedAt follows an @:
//
//	methods=fed:google otp@2026-01-01T00:03:00.000Z

// formatMethods returns the methods for a record. It returns false if one of them has a character that
// separates them.
func (p Proof) formatMethods() (text string, ok bool) {
	var b strings.Builder
	ok = true

	for i, m := range p.Methods {
		ok = ok && m.Method != "" && !strings.ContainsAny(m.Method+m.Provider, " :@\n")
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(m.Method)
		if m.Provider != "" {
			b.WriteString(":" + m.Provider)
		}
		if !m.At.Equal(p.AuthenticatedAt) {
			b.WriteString("@" + m.At.UTC().Format(timeLayout))
		}
	}

	return b.String(), ok
}

var errMalformedMethods = errors.New("malformed methods")

// parseMethods parses what formatMethods returns. at is Proof.AuthenticatedAt.
func parseMethods(text string, at time.Time) ([]Method, error) {
	var methods []Method
	for field := range strings.FieldsSeq(text) {
		name, since, hasTime := strings.Cut(field, "@")
		m := Method{At: at}
		m.Method, m.Provider, _ = strings.Cut(name, ":")

		if hasTime {
			parsed, err := time.Parse(time.RFC3339, since)
			if err != nil {
				return nil, err
			}
			m.At = parsed.UTC()
		}
		if m.Method == "" {
			return nil, errMalformedMethods
		}

		methods = append(methods, m)
	}

	return methods, nil
}
