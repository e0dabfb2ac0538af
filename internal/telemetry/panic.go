package telemetry

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// panicError is what may be logged about a panic.
type panicError struct{ text string }

// Error implements error.
func (e *panicError) Error() string { return e.text }

// Recovered returns an error that describes a recovered panic and may be logged. It has the type of
// the panic's value and the stack. Only runtime errors, such as an index out of range, are quoted.
// Other values may contain anything, such as an email (OWASP ASVS 5.0 16.2.5).
//
// To pass a panic on to another goroutine, panic there with this error: Recovered returns it
// unchanged.
func Recovered(value any) error {
	if passedOn, ok := value.(*panicError); ok {
		return passedOn
	}

	text := fmt.Sprintf("panic: %T", value)
	if err, ok := value.(runtime.Error); ok {
		text += ": " + err.Error()
	}

	return &panicError{text + "\n" + string(debug.Stack())}
}
