package telemetry

import (
	"os"
	"strings"
	"sync"
)

var environMu sync.Mutex

// withOTelEnv calls f while the OTEL_ variables in the process's environment are exactly those in
// vars, and restores the environment afterwards. OpenTelemetry reads its settings from the
// environment, but ours may come from a .env file.
func withOTelEnv(vars map[string]string, f func()) {
	environMu.Lock()
	defer environMu.Unlock()

	for _, kv := range os.Environ() {
		if name, value, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "OTEL_") {
			defer func() { _ = os.Setenv(name, value) }()
			_ = os.Unsetenv(name)
		}
	}

	for name, value := range vars {
		if strings.HasPrefix(name, "OTEL_") {
			// Deferred calls run in reverse order: these run before the ones above, which restore
			// the original values.
			defer func() { _ = os.Unsetenv(name) }()
			_ = os.Setenv(name, value)
		}
	}

	f()
}
