package buildinfo

import "testing"

// Without Git and without the linker's flags, the version does not look like a release.
func TestModuleVersion(t *testing.T) {
	t.Parallel()

	for recorded, want := range map[string]string{
		"":        "unknown",
		"(devel)": "unknown",
		"v0.0.0-20260102030405-0123456789ab+dirty": "v0.0.0-20260102030405-0123456789ab+dirty",
	} {
		if got := moduleVersion(recorded); got != want {
			t.Errorf("version for %q: got %q, want %q", recorded, got, want)
		}
	}
}
