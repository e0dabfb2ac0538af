package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Names that differ from a setting by up to maxTypo edits are reported. Shorter names than
// minTypoName are too similar to unrelated variables.
const (
	maxTypo     = 2
	minTypoName = 8
)

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
		if given[variable] == "" || isSetting || len(variable) < minTypoName || !isPlainName(variable) {
			continue
		}

		for _, name := range names {
			if given[name] == "" && distance(variable, name) <= maxTypo {
				l.warn(fmt.Sprintf("unknown setting %s is ignored: did you mean %s?", variable, name))
				break
			}
		}
	}
}

// isPlainName reports whether a name is safe to print and could be a setting. OIDC_* variables
// have a check of their own.
func isPlainName(variable string) bool {
	isOther := func(r rune) bool { return (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' }

	return !strings.ContainsFunc(variable, isOther) && !strings.HasPrefix(variable, "OIDC_")
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
