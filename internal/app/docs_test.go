package app

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"latchkey/internal/testkit"
)

// TestDocumentedLogMessages checks that the messages that operators are told to search for exist.
func TestDocumentedLogMessages(t *testing.T) {
	t.Parallel()

	sources := productionSources(t)
	for path, quoted := range map[string]*regexp.Regexp{
		"../../deployments/README.md": regexp.MustCompile("`([^`]+)`"),
		"../../configs/alerts.yml":    regexp.MustCompile(`"([^"{}]+)"`),
	} {
		text, err := os.ReadFile(path)
		testkit.NoError(t, err)

		messages := 0
		for line := range strings.Lines(string(text)) {
			isAdvice := strings.HasPrefix(line, "| Log | ") || strings.Contains(line, "description: Search the log")
			if !isAdvice {
				continue
			}

			for _, m := range quoted.FindAllStringSubmatch(line, -1) {
				isMessage := strings.Contains(m[1], " ") && !strings.Contains(m[1], `"`)
				if !isMessage {
					continue
				}

				messages++
				if !strings.Contains(sources, `"`+m[1]) {
					t.Errorf("%s: no log message starts with %q", path, m[1])
				}
			}
		}

		if messages == 0 {
			t.Errorf("%s: got no log messages, want some", path)
		}
	}
}

// productionSources returns the text of all Go files in internal, except for tests.
func productionSources(t *testing.T) string {
	t.Helper()

	var all strings.Builder
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}

		text, err := os.ReadFile(path)
		all.Write(text)

		return err
	})
	testkit.NoError(t, err)

	return all.String()
}
