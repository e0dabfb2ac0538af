package config

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"unicode"
)

// defaults holds the defaults that depend on APP_ENV. The others are in the tags of Config.
var defaults = map[string]map[string]string{
	Production: {},
	Development: {
		"LOG_FORMAT":      "text",
		"FRONTEND_URL":    "http://localhost:3001", // the frontend in the guides
		"MONGODB_URI":     "mongodb://localhost:27017/latchkey",
		"COOKIE_SECURE":   "false",
		"PASSWORD_COMMON": "accept", // the guides use a common password
	},
	Test: {
		"MONGODB_URI":   "mongodb://localhost:27017/latchkey",
		"COOKIE_SECURE": "false",
	},
}

// DevServer holds the defaults of cmd/dev that differ from those of development. Developers should
// not have to wait for a rate limit or the next email, and the machine may be busy with builds. The
// in-process Redis does not report changes, so sessions cannot be kept in memory.
var DevServer = map[string]string{
	"HOST":            "localhost",
	"RATE_LIMIT":      "100/60s",
	"MAIL_INTERVAL":   "1s",
	"DRAIN_TIME":      "0s",
	"SESSION_CACHE":   "off",
	"REDIS_TIMEOUT":   "5s",
	"MONGODB_TIMEOUT": "5s",
}

// Environ returns facts about the .env file under these keys. No variable has an equals sign in its
// name.
const (
	// openDotenv has the path of the file if every user of this machine can read it.
	openDotenv = "=.env"
	// unclosedQuotes has the names in dotenv.unclosed, separated by commas.
	unclosedQuotes = "=quotes"
	// dotenvNames has the names of all variables in the file, separated by commas.
	dotenvNames = "=names"
)

// Environ reads the .env file at path, if it exists, and overrides its variables with those of the
// process, as os.Environ returns them. An error means that the file cannot be read.
func Environ(environ []string, path string) (map[string]string, error) {
	file, err := readDotenv(path)
	if err != nil {
		return nil, err
	}

	vars := file.vars
	names := strings.Join(slices.Sorted(maps.Keys(vars)), ",")
	if names != "" {
		vars[dotenvNames] = names
	}
	if isOpen(path) {
		vars[openDotenv] = path
	}

	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		vars[name] = value
		delete(file.unclosed, name)
	}

	if len(file.unclosed) > 0 {
		vars[unclosedQuotes] = strings.Join(slices.Sorted(maps.Keys(file.unclosed)), ",")
	}

	return vars, nil
}

// unclosed returns the names of the variables in .env whose value begins with a quote that is not
// closed.
func (l *loader) unclosed() []string {
	return splitNames(l.vars[unclosedQuotes])
}

// splitNames splits names that are separated by commas.
func splitNames(names string) []string {
	return strings.FieldsFunc(names, func(r rune) bool { return r == ',' })
}

// warnOfQuotes warns of values that begin with a quote that is not closed. It cannot reject them,
// because a password may begin with a quote.
func (l *loader) warnOfQuotes() {
	for _, name := range l.unclosed() {
		l.warn(name + " in .env begins with a quote that is not closed: the quote is part of the value, which ends with the line")
	}
}

// resolve prepares the given variables for decoding: it trims them, drops empty ones (the guide's
// .env has REDIS_PASSWORD=), reads secrets from files, falls back to NODE_ENV, and fills in the
// defaults of the environment.
func (l *loader) resolve(given map[string]string) {
	l.vars = make(map[string]string, len(given))
	for name, value := range given {
		value = trim(name, value)
		if name != "" && value != "" {
			l.vars[name] = value
		}
	}

	for _, file := range slices.Sorted(maps.Keys(l.vars)) {
		if name, ok := strings.CutSuffix(file, "_FILE"); ok && l.isSecret(name) {
			l.readFile(name, file)
		}
	}

	l.resolveAppEnv()
	for name, value := range defaults[l.vars["APP_ENV"]] {
		l.vars[name] = cmp.Or(l.vars[name], value)
	}
}

// resolveAppEnv fills in APP_ENV.
func (l *loader) resolveAppEnv() {
	source := "APP_ENV"
	if l.vars[source] == "" && l.vars["NODE_ENV"] != "" {
		source = "NODE_ENV"
	}

	l.vars["APP_ENV"] = cmp.Or(l.vars[source], Production)
	if _, known := defaults[l.vars["APP_ENV"]]; !known {
		l.report(source, "must be %s, %s or %s", Production, Development, Test)
		l.vars["APP_ENV"] = likelyEnvironment(l.vars["APP_ENV"])
	}
}

// likelyEnvironment returns the environment whose rules apply to the other settings if APP_ENV is invalid,
// so that the report has their problems, too. It is Production for prod. For staging it is Development,
// so that the report has only the problems that exist in every environment.
func likelyEnvironment(value string) string {
	value = strings.ToLower(value)
	for _, name := range []string{Production, Test} {
		if strings.HasPrefix(name, value) || distance(value, name) <= 2 {
			return name
		}
	}

	return Development
}

// trim removes invisible characters around a value: the line end that echo, a Kubernetes Secret or
// an --env-file from Windows adds, a byte order mark, and spaces. It keeps spaces around
// passwords, because they may be part of them.
func trim(name, value string) string {
	value = strings.TrimPrefix(value, "\ufeff")
	if strings.HasSuffix(name, "_PASSWORD") || strings.HasSuffix(name, "_SECRET") {
		return strings.TrimRight(value, "\r\n")
	}

	return strings.TrimFunc(value, func(r rune) bool { return r == ' ' || !unicode.IsPrint(r) })
}

// isSecret reports whether a variable may be read from the file named by NAME_FILE. Docker and
// Kubernetes provide secrets that way, outside of the environment (OWASP ASVS 5.0 13.3.1).
func (l *loader) isSecret(name string) bool {
	oidc := oidcVariable.FindStringSubmatch(name)

	return oidc != nil && oidc[2] == "CLIENT_SECRET" || name == "OTEL_EXPORTER_OTLP_HEADERS" ||
		slices.Contains(l.known, setting{name: name, secret: true})
}

// readFile reads a secret from the file whose path is in the variable named file.
func (l *loader) readFile(name, file string) {
	if l.vars[name] != "" {
		l.report(name, "set either this or %s, not both", file)
		return
	}

	secret, err := readSecret(name, l.vars[file])
	if err != nil {
		l.report(file, "%v", err)
		l.rejected[name] = true

		return
	}

	l.checkMode(file, l.vars[file])
	l.vars[name] = secret
}

// checkMode notes the name of a setting if every user of this machine can read the secret file that
// it refers to.
func (l *loader) checkMode(name, path string) {
	if isOpen(path) && !slices.Contains(l.openFiles, name) {
		l.openFiles = append(l.openFiles, name)
	}
}

// isOpen reports whether every user of this machine can read a file.
func isOpen(path string) bool {
	const others = 0o004
	info, err := os.Stat(path)

	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&others != 0
}

// maxSecretFile is the maximum size of a secret file in bytes.
const maxSecretFile = 64 << 10

// readSecret reads the secret with the given name from a file and trims it. Its errors omit the
// path, because someone may have put the secret itself there.
func readSecret(name, path string) (string, error) {
	var b []byte
	file, err := os.Open(path)
	if err == nil {
		b, err = io.ReadAll(io.LimitReader(file, maxSecretFile+1)) // a device never ends
		_ = file.Close()
	}

	secret := trim(name, string(b))
	var pathError *fs.PathError
	switch {
	case errors.As(err, &pathError):
		return "", pathError.Err
	case err != nil:
		return "", err
	case len(b) > maxSecretFile:
		return "", errors.New("the file is larger than 64 KiB")
	case secret == "":
		return "", errors.New("the file is empty")
	}

	return secret, nil
}
