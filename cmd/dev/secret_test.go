package main

import (
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/internal/testkit"
)

// TestSecretsSurviveRestart: with another DATA_KEY, the server could not decrypt the seeds of the
// authenticator apps that users have set up.
func TestSecretsSurviveRestart(t *testing.T) {
	t.Chdir(t.TempDir())

	startDev(t, "REQUIRE_MFA=all").stop() // which requires a DATA_KEY

	first := stored(t, nil)
	if first["SESSION_SECRET"] != content(t, secretFile) || first["DATA_KEY"] != content(t, keyFile) {
		t.Error("got other secrets than those of the server, want those in its files")
	}
	if first["SESSION_SECRET"] == first["DATA_KEY"] {
		t.Error("got one secret for both settings, want two")
	}

	startDev(t, "REQUIRE_MFA=all").stop()
	if again := stored(t, nil); !maps.Equal(again, first) {
		t.Error("got other secrets after a restart, want the same")
	}
}

// TestGivenSecrets: the settings of the user win, and are not stored.
func TestGivenSecrets(t *testing.T) {
	t.Chdir(t.TempDir())
	testkit.NoError(t, os.Mkdir(dataDir, 0o700))

	for setting, file := range map[string]string{"SESSION_SECRET": secretFile, "DATA_KEY": keyFile} {
		for _, name := range []string{setting, setting + "_FILE"} {
			got := stored(t, map[string]string{name: "mine"})
			if got[name] != "mine" || len(got) != 2 {
				t.Errorf("%s=mine: got %d settings, want it to be kept, and the other secret", name, len(got))
			}
			if _, err := os.Stat(filepath.Join(dataDir, file)); !os.IsNotExist(err) {
				t.Errorf("%s=mine: got error %v for the file %s, want none to exist", name, err, file)
			}
		}

		testkit.NoError(t, os.RemoveAll(dataDir))
		testkit.NoError(t, os.Mkdir(dataDir, 0o700))
	}
}

// TestDamagedKey: the server starts with a new key, says what that means, and keeps the other secret.
func TestDamagedKey(t *testing.T) {
	t.Chdir(t.TempDir())
	testkit.NoError(t, os.Mkdir(dataDir, 0o700))

	before := stored(t, nil)
	path := filepath.Join(dataDir, keyFile)
	testkit.NoError(t, os.WriteFile(path, []byte("x"), 0o600))
	testkit.NoError(t, os.Chmod(path, 0o644))

	var out strings.Builder
	after := map[string]string{}
	testkit.NoError(t, setSecrets(after, slog.New(slog.NewTextHandler(&out, nil))))

	if !strings.Contains(out.String(), "level=WARN") || !strings.Contains(out.String(), path) || !strings.Contains(out.String(), "authenticator apps") {
		t.Errorf("got log %q, want a warning about authenticator apps with the path", out.String())
	}
	if after["DATA_KEY"] == before["DATA_KEY"] || after["DATA_KEY"] != content(t, keyFile) {
		t.Error("got the previous DATA_KEY, or another one than in the file, want a new one")
	}
	if after["SESSION_SECRET"] != before["SESSION_SECRET"] {
		t.Error("got another SESSION_SECRET, want it to be kept")
	}

	info, err := os.Stat(path)
	testkit.NoError(t, err)
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("got mode %v for the new key, want 0600", mode)
	}
}

// stored returns the given settings with the secrets that the server adds.
func stored(t *testing.T, given map[string]string) map[string]string {
	t.Helper()

	vars := map[string]string{}
	maps.Copy(vars, given)
	testkit.NoError(t, setSecrets(vars, slog.New(slog.DiscardHandler)))

	return vars
}

// content returns the secret in a file of dataDir.
func content(t *testing.T, name string) string {
	t.Helper()

	text, err := os.ReadFile(filepath.Join(dataDir, name))
	testkit.NoError(t, err)

	return strings.TrimSpace(string(text))
}
