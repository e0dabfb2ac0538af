package config

import (
	"errors"
	"io/fs"
	"os"
	"regexp"
	"strings"

	utf "golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// The parts of a line in the grammar of dotenv 16 for Node, so that both programs read the same
// values from a file. A quoted value may contain line ends, and its quote after a backslash.
const (
	blank        = `[\s\v\p{Z}]` // white space as JavaScript defines it
	variableName = `(?:export` + blank + `+)?([\w.-]+)`
	assignment   = `(?:` + blank + `*=|:` + blank + `)`
	singleQuoted = `'(?:\\'|[^'])*'`
	doubleQuoted = `"(?:\\"|[^"])*"`
	backQuoted   = "`(?:\\\\`|[^`])*`"
	unquoted     = `[^#\r\n]+`
)

// dotenvLine matches a variable of a .env file, with its name and value. Like dotenv, it skips
// everything else.
var dotenvLine = regexp.MustCompile(`(?m)^` + blank + `*` + variableName + assignment +
	`(` + blank + `*(?:` + singleQuoted + `|` + doubleQuoted + `|` + backQuoted + `)|` + unquoted + `)?` +
	blank + `*(?:#.*)?$`)

var (
	unixLineEnds = strings.NewReplacer("\r\n", "\n", "\r", "\n")
	// escapedLineEnds are the only escape sequences, and only in double quotes.
	escapedLineEnds = strings.NewReplacer(`\n`, "\n", `\r`, "\r")
)

// dotenv is what a .env file contains.
type dotenv struct {
	vars map[string]string
	// unclosed has the variables whose value begins with a quote that is never closed. As in dotenv,
	// the quote is part of the value, but that is probably a mistake.
	unclosed map[string]bool
}

// readDotenv reads the .env file at path. It returns no variables if there is no file.
func readDotenv(path string) (dotenv, error) {
	file, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return dotenv{}, err
	}

	// Editors and shells on Windows write a byte order mark, and PowerShell also UTF-16.
	text, _, err := transform.Bytes(utf.BOMOverride(transform.Nop), file)
	if err != nil {
		return dotenv{}, err
	}

	return parseDotenv(string(text)), nil
}

// parseDotenv parses a .env file. It does not expand $, which a password may contain.
func parseDotenv(text string) dotenv {
	d := dotenv{vars: map[string]string{}, unclosed: map[string]bool{}}
	for _, match := range dotenvLine.FindAllStringSubmatch(unixLineEnds.Replace(text), -1) {
		name := match[1]
		value, isUnclosed := unquote(strings.TrimSpace(match[2]))
		d.vars[name] = value

		delete(d.unclosed, name) // the last line with a name counts
		if isUnclosed {
			d.unclosed[name] = true
		}
	}

	return d
}

// unquote removes the quotes around a value. It also reports whether the value begins with a quote that
// is never closed.
func unquote(value string) (unquoted string, isUnclosed bool) {
	if value == "" || !strings.ContainsRune("'\"`", rune(value[0])) {
		return value, false
	}

	quote := value[:1]
	unquoted = value
	inner, isQuoted := strings.CutSuffix(value[1:], quote)
	if isQuoted {
		unquoted = inner
	}
	if quote == `"` {
		unquoted = escapedLineEnds.Replace(unquoted)
	}

	return unquoted, !isQuoted && !strings.Contains(inner, quote)
}
