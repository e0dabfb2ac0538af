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

// secretFile is the name of the file in dataDir with the SESSION_SECRET.
const secretFile = "session-secret"

// secretPattern matches a secret from newSecret.
var secretPattern = regexp.MustCompile(`^[A-Z2-7]{52}$`)

// storedSecret returns the secret in dir, so that sessions stay valid after a restart. It creates the
// secret if there is none, and replaces a damaged one.
func storedSecret(dir string, log *slog.Logger) (string, error) {
	path := filepath.Join(dir, secretFile)

	content, err := os.ReadFile(path)
	secret := strings.TrimSpace(string(content))
	switch {
	case err == nil && secretPattern.MatchString(secret):
		return secret, nil
	case err == nil:
		log.Warn("the session secret is damaged, so all sessions have ended", "file", path)
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
