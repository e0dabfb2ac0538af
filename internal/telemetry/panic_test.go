package telemetry

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// recovered calls f, which panics, and returns the error for the panic.
func recovered(f func()) (err error) {
	defer func() { err = Recovered(recover()) }()
	f()

	return nil
}

// The error for a panic has the type and the stack, but no value that could be a secret. It
// stays the same if another goroutine passes it on.
func TestRecovered(t *testing.T) {
	t.Parallel()

	const canary = "ann@example.com"
	var none []string
	index := len(canary)
	for want, f := range map[string]func(){
		"panic: string\n":                                  func() { panic(canary) },
		"panic: *errors.errorString\n":                     func() { panic(errors.New(canary)) },
		"panic: *fmt.wrapError\n":                          func() { panic(fmt.Errorf("x: %w", errors.New(canary))) },
		"panic: []string\n":                                func() { panic([]string{canary}) },
		"panic: runtime.boundsError: runtime error: index": func() { _ = none[index] },
		"panic: *runtime.TypeAssertionError: interface":    func() { _ = any(canary).(int) }, //nolint:errcheck // it panics
	} {
		err := recovered(f)
		text := err.Error()
		if !strings.HasPrefix(text, want) || !strings.Contains(text, "TestRecovered") || strings.Contains(text, canary) {
			t.Errorf("got %q, want it to begin with %q and to have the stack, without the value", text, want)
		}

		if again := recovered(func() { panic(err) }); !errors.Is(again, err) {
			t.Errorf("passed on: got %q, want %q", again, err)
		}
	}
}
