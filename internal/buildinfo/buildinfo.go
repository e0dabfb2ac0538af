package buildinfo

import "runtime/debug"

// unknown is the value that is reported if the build did not record one.
const unknown = "unknown"

// The linker sets these (-ldflags "-X latchkey/internal/buildinfo.version=..."). "make build" passes
// them, and the Dockerfile uses it, because the build in a container has no Git repository.
var (
	version  string
	revision string
)

// Version returns the version of the program, such as "v1.2.0", or "unknown" if it was built without
// Git and without a version.
func Version() string {
	if version != "" {
		return version
	}

	info, ok := debug.ReadBuildInfo()
	if !ok {
		return unknown
	}

	return moduleVersion(info.Main.Version)
}

// moduleVersion returns the version that Go recorded for the main module.
func moduleVersion(recorded string) string {
	// Go records "(devel)" if it does not know the version.
	if recorded == "" || recorded == "(devel)" {
		return unknown
	}

	return recorded
}

// Revision returns the Git commit that the program was built from, or "unknown".
func Revision() string {
	if revision != "" {
		return revision
	}

	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}

	return unknown
}
