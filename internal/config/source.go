package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/hashicorp/go-envparse"
)

// secrets are the settings, beside oidcSecrets, whose value may come from a file named
// by NAME_FILE, which is how Docker and Kubernetes hand over secrets without putting
// them in the environment (OWASP ASVS 5.0 13.3.1).
var secrets = []string{
	"SESSION_SECRET",
	"REDIS_PASSWORD",
	"REDIS_URI",
	"REDIS_SENTINEL_PASSWORD",
	"MONGODB_URI",
	"SMTP_URL",
	"GOOGLE_CLIENT_SECRET",
	"GITHUB_CLIENT_SECRET",
	"OTEL_EXPORTER_OTLP_HEADERS",
}

// Environ merges the process's environment, as os.Environ gives it, over the
// variables of the file at dotenv. A missing file is no error: the file is a
// convenience, and what the process was given always wins.
func Environ(environ []string, dotenv string) (map[string]string, error) {
	file, err := os.ReadFile(dotenv)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	// Like dotenv for Node this parser leaves a $ alone: a password may have one.
	vars, err := envparse.Parse(bytes.NewReader(file))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dotenv, err)
	}
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		vars[name] = value
	}
	return vars, nil
}

// resolve turns the variables as given into those that are parsed: empty ones
// count as unset (the guide's .env has REDIS_PASSWORD=), NODE_ENV stands in for
// APP_ENV, and NAME_FILE is read for every secret.
func resolve(vars map[string]string) (map[string]string, []error) {
	var faults []error
	out := make(map[string]string, len(vars))
	for name, value := range vars {
		if value != "" {
			out[name] = value
		}
	}
	if out["APP_ENV"] == "" && out["NODE_ENV"] != "" {
		out["APP_ENV"] = out["NODE_ENV"]
	}
	for _, name := range slices.Concat(secrets, oidcSecrets(out)) {
		path, ok := out[name+"_FILE"]
		if !ok {
			continue
		}
		if out[name] != "" {
			faults = append(faults, fmt.Errorf("%s: set it or %s_FILE, not both", name, name))
			continue
		}
		var err error
		if out[name], err = readSecret(path); err != nil {
			faults = append(faults, fmt.Errorf("%s_FILE: %w", name, err))
		}
	}
	return out, faults
}

// maxSecretFile is the most that a file of a secret may hold, in bytes.
const maxSecretFile = 64 << 10

// readSecret reads a secret without the line's end. Its errors leave out the path:
// someone may have put the secret itself there.
func readSecret(path string) (string, error) {
	file, err := os.Open(path)
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return "", pathError.Err
	}
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }()
	b, err := io.ReadAll(io.LimitReader(file, maxSecretFile+1))
	if errors.As(err, &pathError) {
		return "", pathError.Err
	}
	secret := strings.TrimRight(string(b), "\r\n")
	switch {
	case err != nil:
		return "", err
	case len(b) > maxSecretFile:
		return "", errors.New("is larger than 64 KiB")
	case secret == "":
		return "", errors.New("the file is empty")
	}
	return secret, nil
}
