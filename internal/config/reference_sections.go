package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Titles of the sections of SETTINGS.md that follow the settings.
const (
	weakTitle = "Weaker than the default"
	devTitle  = "The development server"
)

const weakIntro = `These values are accepted in production, but they protect less than the default. At startup, the server
logs a warning for each, regardless of ` + "`LOG_LEVEL`" + `. ` + "`latchkey doctor`" + ` lists them, too.

| Name | Reported values | Risk | Fix |
| --- | --- | --- | --- |
`

// writeWeakRules writes the table of weaknesses.
func writeWeakRules(b *strings.Builder) {
	fmt.Fprintf(b, "\n## %s\n\n%s", weakTitle, weakIntro)
	for _, rule := range append([]weakRule{environmentRule}, weakRules...) {
		risk := capitalizeFirst(rule.risk)
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", rule.names, rule.values, risk, capitalizeFirst(rule.fix))
	}
}

// capitalizeFirst returns text with its first letter capitalized.
func capitalizeFirst(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

const devIntro = "`go run ./cmd/dev`" + ` runs the same server with ` + "`APP_ENV=development`" + ` and with Redis and MongoDB inside
the process. It ignores ` + "`APP_ENV`, `NODE_ENV`, `TLS_CERT_FILE`, `TLS_KEY_FILE`, `MONGODB_URI`" + ` and all ` + "`REDIS_*`" + `
settings except ` + "`REDIS_TIMEOUT`" + `. Some defaults differ from the tables above:

| Name | Default in cmd/dev |
| --- | --- |
`

// devDefaults describes the defaults of cmd/dev that are not fixed values.
var devDefaults = []struct{ name, value string }{
	{"FRONTEND_URL", "the demo, on the port after `PORT`. Whatever the value, the demo and other local pages can call the API"},
	{"PUBLIC_URL", "the demo, or the API with `PAGES=on`"},
	{"DATA_KEY", "random, kept in `.latchkey-dev`"},
	{"SESSION_SECRET", "random, kept in `.latchkey-dev`"},
	{"SMTP_URL", "none: the demo shows emails at `/mail`"},
}

// writeDevServer writes the table of defaults that differ in cmd/dev.
func writeDevServer(b *strings.Builder) {
	fmt.Fprintf(b, "\n## %s\n\n%s", devTitle, devIntro)
	for _, name := range slices.Sorted(maps.Keys(DevServer)) {
		fmt.Fprintf(b, "| `%s` | `%s` |\n", name, DevServer[name])
	}
	for _, d := range devDefaults {
		fmt.Fprintf(b, "| `%s` | %s |\n", d.name, d.value)
	}
}
