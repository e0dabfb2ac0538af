package doctor

import "fmt"

// Level is how serious a finding is.
type Level string

// Levels of findings.
const (
	OK      Level = "ok"      // for information
	Warning Level = "warning" // works, but not for everyone or not forever
	Problem Level = "problem" // does not work
)

// Finding is one fact about the setup. Fix is empty if there is nothing to fix.
type Finding struct {
	Level   Level  `json:"level"`
	Subject string `json:"subject"`
	Message string `json:"message"`
	Fix     string `json:"fix,omitempty"`
}

// findings collects what is found.
type findings []Finding

func (f *findings) ok(subject, message string, args ...any) {
	f.add(OK, subject, "", message, args...)
}

func (f *findings) warning(subject, fix, message string, args ...any) {
	f.add(Warning, subject, fix, message, args...)
}

func (f *findings) problem(subject, fix, message string, args ...any) {
	f.add(Problem, subject, fix, message, args...)
}

func (f *findings) add(level Level, subject, fix, message string, args ...any) {
	*f = append(*f, Finding{
		Level:   level,
		Subject: subject,
		Message: fmt.Sprintf(message, args...),
		Fix:     fix,
	})
}
