package config

import (
	"errors"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/caarlos0/env/v10"
	"github.com/dustin/go-humanize"
)

// Secret is a value that must never be printed.
type Secret string

// String hides the value from fmt.
func (Secret) String() string { return "[hidden]" }

// GoString hides the value from fmt's %#v.
func (Secret) GoString() string { return "[hidden]" }

// MarshalText hides the value from encoding/json and slog, at any depth.
func (Secret) MarshalText() ([]byte, error) { return []byte("[hidden]"), nil }

// OnOff is true for on.
type OnOff bool

// Refuse is true to reject something, false to accept it.
type Refuse bool

// Rate is a number of events per window, written as 10/60s.
type Rate struct {
	Events int
	Window time.Duration
}

// maxRateEvents and maxRateWindow keep the interval between two events within the numbers that
// Redis can represent exactly.
const (
	maxRateEvents = 1_000_000
	maxRateWindow = 24 * time.Hour
)

// UnmarshalText parses a rate.
func (r *Rate) UnmarshalText(text []byte) error {
	events, window, _ := strings.Cut(string(text), "/")
	n, eventsErr := strconv.Atoi(events)
	d, windowErr := time.ParseDuration(window)

	parsed := eventsErr == nil && windowErr == nil
	inRange := n >= 1 && n <= maxRateEvents && d >= time.Second && d <= maxRateWindow
	if !parsed || !inRange {
		return errors.New("must be a rate like 10/60s, over at most 24h")
	}

	*r = Rate{Events: n, Window: d}

	return nil
}

// RateOrOff is a Rate that may be turned off, which makes it zero.
type RateOrOff struct{ Rate }

// UnmarshalText parses a rate or off.
func (r *RateOrOff) UnmarshalText(text []byte) error {
	if !strings.EqualFold(string(text), "off") && r.Rate.UnmarshalText(text) != nil {
		return errors.New("must be a rate like 10/60s, or off")
	}

	return nil
}

// SizeOrOff is a number of bytes. Off makes it zero.
type SizeOrOff int64

// minSize and maxSize keep a size within what is useful and what fits into memory.
const (
	minSize = 1 << 20
	maxSize = 1 << 40
)

// UnmarshalText parses a size or off.
func (s *SizeOrOff) UnmarshalText(text []byte) error {
	if strings.EqualFold(string(text), "off") {
		*s = 0

		return nil
	}

	n, err := humanize.ParseBytes(string(text))
	if err != nil || n < minSize || n > maxSize {
		return errors.New("must be a size like 64MiB, from 1MiB to 1TiB, or off")
	}

	*s = SizeOrOff(n)

	return nil
}

// entries returns the entries of a list without the spaces around them, and without empty ones,
// such as that of a comma at the end.
func entries(list []string) []string {
	var trimmed []string
	for _, entry := range list {
		if entry = strings.TrimSpace(entry); entry != "" {
			trimmed = append(trimmed, entry)
		}
	}

	return trimmed
}

// parsers returns the parsers of types without an UnmarshalText. Every call returns a new map,
// because package env adds to it.
func parsers() map[reflect.Type]env.ParserFunc {
	return map[reflect.Type]env.ParserFunc{
		reflect.TypeFor[int](): parser("must be a whole number", strconv.Atoi),
		reflect.TypeFor[bool](): parser("must be true or false", func(text string) (bool, error) {
			return strconv.ParseBool(strings.ToLower(text))
		}),
		reflect.TypeFor[OnOff](): parser("must be on or off", word(map[string]OnOff{
			"on":  true,
			"off": false,
		})),
		reflect.TypeFor[Refuse](): parser("must be refuse or accept", word(map[string]Refuse{
			"refuse": true,
			"accept": false,
		})),
		reflect.TypeFor[RegistrationMode](): parser("must be open, invite or closed", word(map[string]RegistrationMode{
			"open":   OpenRegistration,
			"invite": InviteRegistration,
			"closed": ClosedRegistration,
		})),
		reflect.TypeFor[MFA](): parser("must be off, enrolled or all", word(map[string]MFA{
			"off":      MFAOff,
			"enrolled": MFAEnrolled,
			"all":      MFAAll,
		})),
		reflect.TypeFor[http.SameSite](): parser("must be lax, strict or none", word(map[string]http.SameSite{
			"lax":    http.SameSiteLaxMode,
			"strict": http.SameSiteStrictMode,
			"none":   http.SameSiteNoneMode,
		})),
		// The guides write durations as a plain number of milliseconds.
		reflect.TypeFor[time.Duration](): parser("must be a duration like 24h or a number of milliseconds", func(text string) (time.Duration, error) {
			if _, err := strconv.ParseUint(text, 10, 64); err == nil {
				text += "ms"
			}

			return time.ParseDuration(text)
		}),
	}
}

// parser wraps parse, replacing its error with what was expected.
func parser[T any](expected string, parse func(string) (T, error)) env.ParserFunc {
	return func(text string) (any, error) {
		value, err := parse(text)
		if err != nil {
			return nil, errors.New(expected)
		}

		return value, nil
	}
}

// word returns a function that looks up a word, ignoring case.
func word[T any](words map[string]T) func(string) (T, error) {
	return func(text string) (T, error) {
		value, ok := words[strings.ToLower(text)]
		if !ok {
			return value, strconv.ErrSyntax
		}

		return value, nil
	}
}
