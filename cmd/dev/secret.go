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

// secretForm matches what newSecret returns.
var secretForm = regexp.MustCompile(`^[A-Z2-7]{52}$`)

// keptSecret returns the secret in dataDir, so that sessions stay valid after a restart. It creates
// the secret if there is none, and replaces one that is not from here.
func keptSecret(dir string, log *slog.Logger) (string, error) {
	path := filepath.Join(dir, secretFile)

	content, err := os.ReadFile(path)
	secret := strings.TrimSpace(string(content))
	switch {
	case err == nil && secretForm.MatchString(secret):
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
