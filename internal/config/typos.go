package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// longName is the length from which a name is unlikely to be similar to an unrelated one.
const longName = 8

// warnOfTypos warns of variables that look like a misspelled setting, such as REDIS_URL. It
// cannot reject them, because other programs may use them.
func (l *loader) warnOfTypos(given map[string]string) {
	var names []string
	for _, s := range l.known {
		names = append(names, s.name)
		if s.secret {
			names = append(names, s.name+"_FILE")
		}
	}
	names = append(names, notSettings...)

	for _, variable := range slices.Sorted(maps.Keys(given)) {
		isSetting := slices.Contains(names, variable)
		if given[variable] == "" || isSetting || !isPlainName(variable) {
			continue
		}

		canonical := strings.ToUpper(separators.Replace(variable))
		for _, name := range names {
			if given[name] == "" && isTypo(canonical, name) {
				l.warn(fmt.Sprintf("unknown setting %s is ignored: did you mean %s?", variable, name))
				break
			}
		}
	}
}

// plainName matches names that are safe to print.
var plainName = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

// isPlainName reports whether a name is safe to print and could be a setting. OIDC_* variables
// have a check of their own.
func isPlainName(variable string) bool {
	return plainName.MatchString(variable) && !strings.HasPrefix(variable, "OIDC_")
}

// separators unifies what other tools allow in the names of variables.
var separators = strings.NewReplacer("-", "_", ".", "_")

// isTypo reports whether a variable is a misspelling or the beginning of the name of a setting.
func isTypo(variable, name string) bool {
	edits := distance(variable, name)
	if len(variable) < longName {
		return edits <= 1 || edits == 2 && sortedBytes(variable) == sortedBytes(name) // PROT
	}

	return edits <= 2 || strings.HasPrefix(name, variable) // REDIS_PASS
}

func sortedBytes(s string) string {
	b := []byte(s)
	slices.Sort(b)

	return string(b)
}

// distance returns the Levenshtein distance of two strings.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}

	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}

			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j+1]+1, row[j]+1)
		}
	}

	return row[len(b)]
}
