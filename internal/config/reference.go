package config

import (
	"cmp"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"time"
)

//go:generate go run latchkey/cmd/gensettings ../../deployments/SETTINGS.md ../../.env.example

// entry describes a setting for people. Its default is taken from the struct that the
// setting is read into, and so is its type unless kind is set.
type entry struct {
	name               string
	about              string
	kind               string
	derived            string // the default in words, if it follows from other settings
	derivedDevelopment string // the same in development, if it differs
	example            string // for .env.example, if there is no default
	active             bool   // in .env.example, set rather than commented out
}

// group is a section of the settings reference.
type group struct {
	title   string
	intro   string
	entries []entry
}

// row joins an entry with the type and the defaults from its struct.
type row struct {
	entry
	production  string
	development string
	secret      bool
}

// notSettings are read by Load, but not into a field of their own.
var notSettings = []string{"NODE_ENV", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS"}

// exampleProvider is the provider that .env.example uses in place of <NAME>.
const exampleProvider = "KEYCLOAK"

// WriteReference writes deployments/SETTINGS.md.
func WriteReference(w io.Writer) error {
	var b strings.Builder
	b.WriteString(referenceIntro)

	for _, g := range reference {
		fmt.Fprintf(&b, "- [%s](#%s)\n", g.title, anchor(g.title))
	}
	fmt.Fprintf(&b, "- [%s](#%s)\n", weakTitle, anchor(weakTitle))
	fmt.Fprintf(&b, "- [%s](#%s)\n", devTitle, anchor(devTitle))

	for _, g := range reference {
		fmt.Fprintf(&b, "\n## %s\n\n", g.title)
		if g.intro != "" {
			fmt.Fprintf(&b, "%s\n\n", g.intro)
		}

		b.WriteString("| Name | Type | Default | In development | Description |\n")
		b.WriteString("| --- | --- | --- | --- | --- |\n")
		for _, r := range rows(g) {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n",
				r.name, r.kind, cmp.Or(r.derived, code(r.production)), cmp.Or(r.derivedDevelopment, code(r.development)), r.about)
		}
	}

	writeWeakRules(&b)
	writeDevServer(&b)

	_, err := io.WriteString(w, b.String())

	return err
}

// WriteExample writes .env.example.
func WriteExample(w io.Writer) error {
	var b strings.Builder
	b.WriteString(exampleIntro)

	var files []string
	for _, g := range reference {
		fmt.Fprintf(&b, "\n# ---- %s ----\n", g.title)
		writeComment(&b, plain(g.intro))

		for _, r := range rows(g) {
			name := strings.ReplaceAll(r.name, "<NAME>", exampleProvider)
			if r.secret {
				files = append(files, name+"_FILE")
			}

			b.WriteString("\n")
			writeComment(&b, plain(r.about))
			if r.derived != "" {
				writeComment(&b, "Default: "+plain(r.derived)+".")
			}

			prefix := "# "
			if r.active {
				prefix = ""
			}
			fmt.Fprintf(&b, "%s%s=%s\n", prefix, name, cmp.Or(r.example, r.production))
		}
	}

	b.WriteString("\n# ---- Secrets from files ----\n")
	writeComment(&b, "Each of these takes the path of a file that holds the secret:")
	writeComment(&b, strings.Join(files, ", ")+".")

	b.WriteString(exampleCompose)

	_, err := io.WriteString(w, b.String())

	return err
}

// rows joins the entries of a group with the structs that the settings are read into.
func rows(g group) []row {
	fields := map[string]reflect.StructField{}
	addFields(fields, reflect.TypeFor[settings](), "")
	addFields(fields, reflect.TypeFor[oidcSettings](), "OIDC_<NAME>_")

	var all []row
	for _, e := range g.entries {
		field := fields[e.name]
		r := row{entry: e}

		r.production = cmp.Or(field.Tag.Get("envDefault"), defaults[Production][e.name])
		if e.name == "APP_ENV" {
			r.production = Production
		}
		r.development = defaults[Development][e.name]

		r.secret = isSecretType(field.Type) || e.name == "OTEL_EXPORTER_OTLP_HEADERS"
		r.kind = cmp.Or(e.kind, kinds[field.Type])

		all = append(all, r)
	}

	return all
}

// kinds names the types of settings.
var kinds = map[reflect.Type]string{
	reflect.TypeFor[string]():        "text",
	reflect.TypeFor[[]string]():      "list",
	reflect.TypeFor[int]():           "whole number",
	reflect.TypeFor[bool]():          "`true` or `false`",
	reflect.TypeFor[time.Duration](): "duration",
	reflect.TypeFor[Secret]():        "secret",
	reflect.TypeFor[[]Secret]():      "list of secrets",
	reflect.TypeFor[Rate]():          "rate",
	reflect.TypeFor[RateOrOff]():     "rate, or `off`",
	reflect.TypeFor[SizeOrOff]():     "size, or `off`",
	reflect.TypeFor[OnOff]():         "`on` or `off`",
	reflect.TypeFor[Refuse]():        "`refuse` or `accept`",
	reflect.TypeFor[slog.Level]():    "`debug`, `info`, `warn` or `error`",
	reflect.TypeFor[http.SameSite](): "`lax`, `strict` or `none`",
}

// addFields collects the fields that are settings, by the name of the setting.
func addFields(all map[string]reflect.StructField, of reflect.Type, prefix string) {
	for field := range of.Fields() {
		name, tagged := field.Tag.Lookup("env")
		switch {
		case tagged:
			all[prefix+name] = field
		case field.Type.Kind() == reflect.Struct:
			addFields(all, field.Type, prefix+field.Tag.Get("envPrefix"))
		}
	}
}

func code(text string) string {
	if text == "" {
		return ""
	}

	return "`" + text + "`"
}

// markdownLink matches [text](target).
var markdownLink = regexp.MustCompile(`\[([^]]*)\]\([^)]*\)`)

// plain removes the Markdown that descriptions use.
func plain(text string) string {
	return strings.ReplaceAll(markdownLink.ReplaceAllString(text, "deployments/$1"), "`", "")
}

// anchor returns the fragment that GitHub gives to a heading.
func anchor(title string) string {
	return strings.ReplaceAll(strings.ToLower(strings.ReplaceAll(title, ",", "")), " ", "-")
}

// writeComment writes text as comment lines.
func writeComment(b *strings.Builder, text string) {
	const width = 88

	line := "#"
	for _, word := range strings.Fields(text) {
		if len(line)+1+len(word) > width {
			b.WriteString(line + "\n")
			line = "#"
		}
		line += " " + word
	}

	if line != "#" {
		b.WriteString(line + "\n")
	}
}

const referenceIntro = `# Settings

<!-- Generated from internal/config by "go generate ./internal/config". Do not edit. -->

Latchkey reads its settings from environment variables and from a file named ` + "`.env`" + ` in the
working directory. Environment variables win. An empty value counts as unset. Line ends and other
invisible characters around a value are removed.

The file is read like dotenv for Node reads it: quote a value that contains ` + "`#`" + `, and use single quotes
if it contains ` + "`$`" + `, because Docker Compose substitutes variables in other values. Other lines
are ignored. The log warns of names in the file that are not settings, and of likely typos in the environment.

At startup the server checks all settings and reports every problem at once. In production it also
rejects unsafe settings, and warns of those that are [weaker than the default](#weaker-than-the-default).

| Type | How to write it |
| --- | --- |
| duration | ` + "`90s`, `30m`, `24h`" + `, or a plain number of milliseconds |
| rate | ` + "`10/60s`" + `: 10 requests in 60 seconds, over at most ` + "`24h`" + ` |
| list | values separated by commas |
| secret | text that is never logged. To read a secret from a file, set ` + "`NAME_FILE`" + ` to its path instead, for example ` + "`SESSION_SECRET_FILE=/run/secrets/session`" + ` |

If the column "In development" is empty, the default is the same as in production. With
` + "`APP_ENV=test`" + `, only ` + "`MONGODB_URI` and `COOKIE_SECURE`" + ` have the defaults of development.

`

const exampleIntro = `# Latchkey's settings. Copy this file to .env, then set SESSION_SECRET, DATA_KEY and what else you need.
#
# Commented-out lines show the default, or an example if there is no default. A value in the
# environment overrides the value in this file. deployments/SETTINGS.md has the same list as a table.
#
# Put a value that contains # or $ in single quotes. Otherwise it ends at the #, and Docker Compose
# replaces what follows the $.
#
# Generated from internal/config by "go generate ./internal/config". Do not edit .env.example.
`

const exampleCompose = `
# ---- Docker Compose ----

# Passwords of the stores that docker-compose.yml starts. "make up" adds those that are not set. The
# server itself does not read them: docker-compose.yml sets REDIS_PASSWORD and MONGODB_URI. MONGO_PASSWORD
# must have letters and digits only, because it becomes a part of MONGODB_URI.
REDIS_CONTAINER_PASSWORD=
MONGO_PASSWORD=
`
