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
	names := l.names()
	inDotenv := splitNames(given[dotenvNames])
	var unknown []string

	for _, variable := range slices.Sorted(maps.Keys(given)) {
		isSetting := slices.Contains(names, variable)
		if given[variable] == "" || isSetting || !isPlainName(variable) {
			continue
		}

		name := similarTo(variable, names, given)
		switch {
		case name != "":
			l.warn(fmt.Sprintf("unknown setting %s is ignored: did you mean %s?", variable, name))
		case slices.Contains(inDotenv, variable) && !isForOthers(variable):
			unknown = append(unknown, variable)
		}
	}

	// The environment has many variables for other programs, but .env is for this one.
	if len(unknown) > 0 {
		l.warn("unknown settings in .env are ignored: " + strings.Join(unknown, ", "))
	}
}

// names returns the names of all settings, except for those of OIDC_* providers.
func (l *loader) names() []string {
	var names []string
	for _, s := range l.known {
		names = append(names, s.name)
		if s.secret {
			names = append(names, s.name+"_FILE")
		}
	}

	return append(names, notSettings...)
}

// similarTo returns the setting that is probably meant by a variable, or "".
func similarTo(variable string, names []string, given map[string]string) string {
	canonical := strings.ToUpper(separators.Replace(variable))
	for _, name := range names {
		if given[name] == "" && isTypo(canonical, name) {
			return name
		}
	}

	return ""
}

// forOthers matches variables that belong in .env, but are read by Docker Compose, docker-compose.yml,
// OpenTelemetry, Go or the operating system.
var forOthers = regexp.MustCompile(`(?i)^(COMPOSE_.*|DOCKER_.*|VERSION|REVISION|MONGO_PASSWORD|REDIS_CONTAINER_PASSWORD|GRAFANA_PASSWORD|` +
	`OTEL_.*|GO[A-Z]+|SSL_CERT_(FILE|DIR)|(HTTPS?|NO)_PROXY|TZ)$`)

// isForOthers reports whether a variable in .env is meant for another program.
func isForOthers(variable string) bool { return forOthers.MatchString(variable) }

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
