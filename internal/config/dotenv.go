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

// readDotenv returns the variables of the .env file at path, or none if there is no file.
func readDotenv(path string) (map[string]string, error) {
	file, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}

	// Editors and shells on Windows write a byte order mark, and PowerShell also UTF-16.
	text, _, err := transform.Bytes(utf.BOMOverride(transform.Nop), file)
	if err != nil {
		return nil, err
	}

	return parseDotenv(string(text)), nil
}

// parseDotenv returns the variables of a .env file. It does not expand $, which a password may
// contain.
func parseDotenv(text string) map[string]string {
	vars := map[string]string{}
	for _, match := range dotenvLine.FindAllStringSubmatch(unixLineEnds.Replace(text), -1) {
		value := strings.TrimSpace(match[2])
		isDoubleQuoted := strings.HasPrefix(value, `"`)

		last := len(value) - 1
		if last > 0 && value[0] == value[last] && strings.ContainsRune("'\"`", rune(value[0])) {
			value = value[1:last]
		}
		if isDoubleQuoted {
			value = escapedLineEnds.Replace(value)
		}

		vars[match[1]] = value
	}

	return vars
}
