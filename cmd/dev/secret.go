package main

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// secretFile and keyFile are the names of the files in dataDir with the SESSION_SECRET and the DATA_KEY.
const (
	secretFile = "session-secret"
	keyFile    = "data-key"
)

// setSecrets sets the SESSION_SECRET and the DATA_KEY, unless they are set, so that sessions and
// authenticator apps work after a restart.
func setSecrets(vars map[string]string, log *slog.Logger) error {
	for _, s := range []struct{ setting, file, damaged string }{
		{"SESSION_SECRET", secretFile, "the session secret is damaged, so all sessions have ended"},
		{"DATA_KEY", keyFile, "the data key is damaged, so authenticator apps must be set up again"},
	} {
		if isSecretSet(vars, s.setting) {
			continue
		}

		secret, err := storedSecret(filepath.Join(dataDir, s.file), s.damaged, log)
		if err != nil {
			return err
		}
		vars[s.setting] = secret
	}

	return nil
}

// setUnusedSecrets sets the SESSION_SECRET and the DATA_KEY, unless they are set, for settings that are
// only checked.
func setUnusedSecrets(vars map[string]string) {
	for _, setting := range []string{"SESSION_SECRET", "DATA_KEY"} {
		if !isSecretSet(vars, setting) {
			vars[setting] = newSecret()
		}
	}
}

// isSecretSet reports whether a secret is set, or read from a file.
func isSecretSet(vars map[string]string, setting string) bool {
	return vars[setting] != "" || vars[setting+"_FILE"] != ""
}

// secretPattern matches a secret from newSecret.
var secretPattern = regexp.MustCompile(`^[A-Z2-7]{52}$`)

// storedSecret returns the secret in a file. It creates the secret if there is none. It replaces a damaged
// one, and logs what that means.
func storedSecret(path, damaged string, log *slog.Logger) (string, error) {
	content, err := os.ReadFile(path)
	secret := strings.TrimSpace(string(content))
	switch {
	case err == nil && secretPattern.MatchString(secret):
		return secret, nil
	case err == nil:
		log.Warn(damaged, "file", path)
	case !errors.Is(err, fs.ErrNotExist):
		return "", err
	}

	// A damaged file could be readable by others, and WriteFile would keep that.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	secret = newSecret()

	return secret, os.WriteFile(path, []byte(secret+"\n"), 0o600)
}

func newSecret() string { return rand.Text() + rand.Text() }
