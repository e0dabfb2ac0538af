package main

import "runtime/debug"

// buildVersion is set by the linker (-X main.buildVersion=...) when the program is built outside of
// a Git repository, as in the container image.
var buildVersion string

// version returns the version of the program.
func version() string {
	if buildVersion != "" {
		return buildVersion
	}

	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "unknown"
	}

	return info.Main.Version
}
