package session

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// The value of a session in Redis is text that a person can read, with
// redis-cli --raw GET. It has a field on each line, and every line has an end:
//
//	1                                               the version of the format
//	65f0c0ffee0123456789abcd                        the user id
//	ann@example.com
//	1767225600000 60000 86400000 2592000000 0 1     see times
//	password                                        the methods, a space between two
//	203.0.113.7
//	~w~c141~s                                       the User-Agent, see shorten
//	epoch=1767225500000000                          where there is one
//	movedFrom=<handle>                              where there is one
//
// It is not JSON, which takes three times the bytes with names that tell as much, and
// four times as long to read, which every request does.
//
// A release may add lines at the end under the same version, of the form name=value:
// an older one keeps them as they are and does nothing with them. What must not be
// passed over so raises the version. A release writes only what the one before it
// reads: a new version is read one release before it is written. So during an upgrade
// and after going back nobody is logged out, and what is in testdata is read for ever.
const formatVersion = 1

// movedFromIs and epochIs begin the lines that are not always there.
const (
	epochIs     = "epoch="
	movedFromIs = "movedFrom="
)

var (
	// errUndecodable marks a value in Redis that is not a session.
	errUndecodable = errors.New("not a session value")
	// errLater marks a session of a version that is not known here. It is somebody's,
	// and another server can read it, so it is none of those that are dropped.
	errLater = fmt.Errorf("%w: a session has the format of a later release", ErrUnavailable)
)

func (s *Session) encode() ([]byte, error) {
	methods := strings.Join(s.Methods, " ")
	for _, text := range []string{s.UserID, s.Email, methods, s.IP, s.agent, s.epoch, s.movedFrom} {
		if strings.Contains(text, "\n") || !utf8.ValidString(text) {
			return nil, errors.New("what a session is to hold is not one line of text")
		}
	}
	b := fmt.Appendf(make([]byte, 0, 256), "%d\n%s\n%s\n", formatVersion, s.UserID, s.Email)
	b = s.appendTimes(b)
	b = fmt.Appendf(b, "\n%s\n%s\n%s\n", methods, s.IP, s.agent)
	if s.epoch != "" {
		b = fmt.Appendf(b, "%s%s\n", epochIs, s.epoch)
	}
	if s.movedFrom != "" {
		b = fmt.Appendf(b, "%s%s\n", movedFromIs, s.movedFrom)
	}
	return append(b, s.later...), nil
}

// decode reads a value. What it accepts is what encode makes of it, to the byte.
// Errors: errUndecodable, errLater.
func decode(handle string, raw []byte) (*Session, error) {
	version, rest, ended := strings.Cut(string(raw), "\n")
	if v, ok := number(version); !ok || !ended || v < 1 {
		return nil, errUndecodable
	} else if v > formatVersion {
		return nil, errLater
	}
	s := &Session{Handle: handle, raw: raw}
	var times, methods string
	for _, field := range []*string{&s.UserID, &s.Email, &times, &methods, &s.IP, &s.agent} {
		if *field, rest, ended = strings.Cut(rest, "\n"); !ended {
			return nil, errUndecodable
		}
	}
	if s.UserID == "" || !s.readTimes(times) || !utf8.Valid(raw) {
		return nil, errUndecodable
	}
	if methods != "" {
		s.Methods = strings.Split(methods, " ")
	}
	s.epoch, rest = optional(rest, epochIs)
	s.movedFrom, rest = optional(rest, movedFromIs)
	for line := range strings.Lines(rest) {
		if strings.HasPrefix(line, epochIs) || strings.HasPrefix(line, movedFromIs) || !strings.HasSuffix(line, "\n") {
			return nil, errUndecodable
		}
	}
	s.later = rest
	return s, nil
}

// optional takes the line that begins so from the start of lines; "" is none.
func optional(lines, beginning string) (value, rest string) {
	if after, ok := strings.CutPrefix(lines, beginning); ok {
		if value, rest, ended := strings.Cut(after, "\n"); ended && value != "" {
			return value, rest
		}
	}
	return "", lines
}

// appendTimes writes six numbers, a space between two: when the session was created,
// in Unix milliseconds; in milliseconds from then on when it was last seen, from that
// when it ends if it is not used, and from the first when it ends however much it is,
// and when the user last proved who they are; and 1 where the session is persistent,
// or else 0.
func (s *Session) appendTimes(b []byte) []byte {
	created, seen, persistent := s.CreatedAt.UnixMilli(), s.LastSeenAt.UnixMilli(), 0
	if s.Persistent {
		persistent = 1
	}
	return fmt.Appendf(b, "%d %d %d %d %d %d", created, seen-created, s.IdleExpiresAt.UnixMilli()-seen,
		s.ExpiresAt.UnixMilli()-created, s.AuthenticatedAt.UnixMilli()-created, persistent)
}

// readTimes reads what appendTimes writes.
func (s *Session) readTimes(text string) bool {
	var n [6]int64
	for i := range n {
		var ok, more bool
		var word string
		word, text, more = strings.Cut(text, " ")
		if n[i], ok = number(word); !ok || more == (i == len(n)-1) {
			return false
		}
	}
	created, seen := n[0], n[0]+n[1]
	moments := []*time.Time{&s.CreatedAt, &s.LastSeenAt, &s.IdleExpiresAt, &s.ExpiresAt, &s.AuthenticatedAt}
	for i, ms := range []int64{created, seen, seen + n[2], created + n[3], created + n[4]} {
		if ms < 0 || ms > lastMoment {
			return false
		}
		*moments[i] = time.UnixMilli(ms).UTC()
	}
	s.Persistent = n[5] == 1
	return n[5] == 0 || n[5] == 1
}

// lastMoment is the end of the year 9999, beyond which a time cannot be written in
// JSON, in Unix milliseconds.
const lastMoment = 253402300799999

// number reads a whole number of up to 15 digits, in the one way that it is written.
func number(s string) (n int64, ok bool) {
	digits := strings.TrimPrefix(s, "-")
	if digits == "" || len(digits) > 15 || digits[0] == '0' && s != "0" {
		return 0, false
	}
	for _, c := range []byte(digits) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int64(c-'0')
	}
	if len(digits) < len(s) {
		n = -n
	}
	return n, true
}
