package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	utf "golang.org/x/text/encoding/unicode"

	"latchkey/internal/testkit"
)

// dotenvFiles maps the text of .env files to what dotenv 16.6.1 for Node reads from them.
var dotenvFiles = map[string]map[string]string{
	"A=b\r\nB=c\rC=d\n": {"A": "b", "B": "c", "C": "d"},
	"\ufeffA=b":         {"A": "b"},

	"A=it's":                {"A": "it's"},
	`A=say "hi"`:            {"A": `say "hi"`},
	`A="b"c`:                {"A": `"b"c`},
	"A='it's'":              {"A": "it's"},
	"A='b\nB=c":             {"A": "'b", "B": "c"},
	`A="b`:                  {"A": `"b`},
	"A='":                   {"A": "'"},
	"A=''":                  {"A": ""},
	`A='b\'c'`:              {"A": `b\'c`},
	"A=`b 'c' \"d\"`":       {"A": `b 'c' "d"`},
	`A="C:\keys"`:           {"A": `C:\keys`},
	`A='b\nc'`:              {"A": `b\nc`},
	`A="b\nc\r"`:            {"A": "b\nc\r"},
	"A=\"-----\nb\n\"\nB=c": {"A": "-----\nb\n", "B": "c"},

	"A=3000\t# the port":        {"A": "3000"},
	"A=b # c":                   {"A": "b"},
	"A=b#c":                     {"A": "b"},
	`A="b#c" # d`:               {"A": "b#c"},
	"# A=b":                     {},
	"A=b=c":                     {"A": "b=c"},
	"A=$B${C}\\$":               {"A": "$B${C}\\$"},
	"A='p$ss'":                  {"A": "p$ss"},
	"export A = b\u00a0":        {"A": "b"},
	"\u00a0 A=\nB=c\nA=d":       {"A": "d", "B": "c"},
	"A: b":                      {"A": "b"},
	"MY-NAME=x\nmy.name=y":      {"MY-NAME": "x", "my.name": "y"},
	"no variable\n=x\nA\nB=c\n": {"B": "c"},
	"A=\xff":                    {"A": "\xff"},
	"":                          {},
}

// TestDotenv reads .env files as other tools write and read them.
func TestDotenv(t *testing.T) {
	t.Parallel()

	path := filepath.Join(t.TempDir(), ".env")
	read := func(text string) map[string]string {
		t.Helper()

		testkit.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		vars, err := Environ(nil, path)
		testkit.NoError(t, err)

		return vars
	}

	for text, want := range dotenvFiles {
		vars := read(text)
		delete(vars, unclosedQuotes)
		delete(vars, dotenvNames)
		checkEqual(t, text, vars, want)
	}

	for _, order := range []utf.Endianness{utf.LittleEndian, utf.BigEndian} {
		text, err := utf.UTF16(order, utf.UseBOM).NewEncoder().String("A=bücher\r\n")
		testkit.NoError(t, err)
		vars := read(text)
		delete(vars, dotenvNames)
		checkEqual(t, "a file in UTF-16", vars, map[string]string{"A": "bücher"})
	}

	// Lines that are not settings do not stop the server.
	vars := read("SESSION_SECRET=" + goodSecret + "\nMONGODB_URI=mongodb://db/x\nTRUSTED_PROXIES=127.0.0.1\n" +
		"if [ -z \"$X\" ]\nOIDC_ISSUER_URL=x\nmy-app.port=x\nREDIS_PASS=hunter2\n")
	c := load(t, vars)
	if warnings := strings.Join(c.Warnings, "\n"); strings.Contains(warnings, "hunter2") || !strings.Contains(warnings, "REDIS_PASS is ignored: did you mean REDIS_PASSWORD?") {
		t.Errorf("got warnings %q, want one about REDIS_PASS, without its value", c.Warnings)
	}
}

// One warning lists the names in .env that are no settings, without their values. There is none about
// variables that only the environment has, and about those that other programs read from the file.
func TestUnknownInDotenv(t *testing.T) {
	t.Parallel()

	path := filepath.Join(t.TempDir(), ".env")
	text := "SMTP_HOST=hunter2\nPOSTGRES_USER=hunter2\nLOG_LEVEL=info\nREDIS_PASS=hunter2\nEMPTY=\nmy-app.port=1\n" +
		"MONGO_PASSWORD=x\nREDIS_CONTAINER_PASSWORD=x\nVERSION=v1\nCOMPOSE_FILE=x\nGOMEMLIMIT=1GiB\nOTEL_SERVICE_NAME=x\nhttps_proxy=x\n"
	testkit.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	vars, err := Environ([]string{"SMTP_PORT=25", "HOME=/root"}, path)
	testkit.NoError(t, err)

	var got []string
	for _, warning := range load(t, good(vars)).Warnings {
		if strings.HasPrefix(warning, "unknown setting") {
			got = append(got, warning)
		}
	}
	checkEqual(t, "warnings", got, []string{
		"unknown setting REDIS_PASS is ignored: did you mean REDIS_PASSWORD?",
		"unknown settings in .env are ignored: POSTGRES_USER, SMTP_HOST, my-app.port",
	})
}

// A quote that is not closed changes a value, which may be a password. The server starts, but warns of it.
func TestUnclosedQuotes(t *testing.T) {
	t.Parallel()

	path := filepath.Join(t.TempDir(), ".env")
	text := `REDIS_PASSWORD="hunter2
SMTP_URL='smtp://mail.example'
MAIL_FROM="A" <a@example.com>
PUBLIC_URL="http://app.example.com
FRONTEND_URL="https://app.example.com
FRONTEND_URL=https://app.example.com
LOG_LEVEL='debug
APP_NAME=it's "fine"
`
	testkit.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	environ := []string{"LOG_LEVEL=info", "PUBLIC_URL=https://app.example.com"}
	vars, err := Environ(environ, path)
	testkit.NoError(t, err)

	c := load(t, good(vars))
	checkEqual(t, "REDIS_PASSWORD", c.Redis.Password, Secret(`"hunter2`))
	var names []string
	for _, warning := range c.Warnings {
		name, _, isAboutQuote := strings.Cut(warning, " in .env begins with a quote that is not closed")
		if !isAboutQuote || strings.Contains(warning, "hunter2") {
			t.Errorf("got warning %q, want one about the quote, without the value", warning)
		}
		names = append(names, name)
	}
	checkEqual(t, "warnings about", names, []string{"REDIS_PASSWORD"})

	vars, err = Environ(environ[:1], path)
	testkit.NoError(t, err)
	if _, err := Load(good(vars)); err == nil || !strings.Contains(err.Error(), "PUBLIC_URL: must") || !strings.Contains(err.Error(), "; in .env, it begins with a quote that is not closed") {
		t.Errorf("got error %v, want one about PUBLIC_URL and the quote", err)
	}
}
