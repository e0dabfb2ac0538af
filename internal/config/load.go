package config

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/caarlos0/env/v10"
)

// settings holds the settings with fixed names: those in Config, and those that Config.Providers
// is built from.
type settings struct {
	Config
	Google Client         `envPrefix:"GOOGLE_"`
	GitHub githubSettings `envPrefix:"GITHUB_"`
}

// loader fills settings from variables and collects problems.
type loader struct {
	settings
	vars     map[string]string // resolved values by name, see resolve
	known    []setting         // in the order in which problems are reported
	rejected map[string]bool   // settings that did not parse and fell back to their default
	problems []problem

	mongo     access
	openFiles []string // names of settings whose secret file every user of this machine can read
}

type setting struct {
	name   string
	secret bool
}

type problem struct{ setting, text string }

// Load reads a Config from the variables that Environ returns. The error lists every problem on
// a line of its own, in the order of the settings, and never contains a secret.
func Load(vars map[string]string) (Config, error) {
	l := newLoader(vars)

	l.Telemetry = map[string]Secret{}
	for name, value := range l.vars {
		if strings.HasPrefix(name, "OTEL_") {
			l.Telemetry[name] = Secret(value)
		}
	}

	l.checkServer()
	l.checkOrigins()
	l.checkEdge()
	l.checkStores()
	l.checkSession()
	l.checkCookie()
	l.checkBrand()
	l.checkAccounts()
	l.checkFactors()
	l.checkRegistration()
	l.checkMail()
	l.fillLimits()
	l.readProviders()
	l.warnOfTypos(vars)
	l.warnOfQuotes()

	if len(l.problems) > 0 {
		return Config{}, l.err()
	}

	l.checkMode("TLS_KEY_FILE", l.TLSKeyFile)
	l.checkMode(".env", l.vars[openDotenv])
	l.findWeaknesses()

	return l.Config, nil
}

// LoadListener is like Load, but reads only HOST, PORT and TLS_CERT_FILE. The other settings have
// their defaults. It is for programs that call the server and know no secrets.
func LoadListener(vars map[string]string) (Config, error) {
	return loadOnly(vars, (*loader).checkServer, "HOST", "PORT", "TLS_CERT_FILE")
}

// LoadBrand is like Load, but reads only the settings in Brand. It is for programs that show emails
// and need no stores.
func LoadBrand(vars map[string]string) (Brand, error) {
	var names []string
	for _, s := range settingsOf(reflect.TypeFor[Brand](), "") {
		names = append(names, s.name)
	}
	c, err := loadOnly(vars, (*loader).checkBrand, names...)

	return c.Brand, err
}

// loadOnly reads the settings with the given names, and reports what check finds.
func loadOnly(vars map[string]string, check func(*loader), names ...string) (Config, error) {
	some := map[string]string{}
	for _, name := range names {
		some[name] = vars[name]
	}

	l := newLoader(some)
	check(l)
	if len(l.problems) > 0 {
		return Config{}, l.err()
	}

	return l.Config, nil
}

// newLoader returns a loader with the decoded variables, which it does not check.
func newLoader(vars map[string]string) *loader {
	known := settingsOf(reflect.TypeFor[settings](), "")
	l := &loader{
		known:    slices.Insert(known, 1, setting{name: "NODE_ENV"}), // after APP_ENV
		rejected: map[string]bool{},
	}
	l.resolve(vars)
	l.decode(&l.settings, "")

	return l
}

// settingsOf lists the settings of a struct in the order of its fields.
func settingsOf(of reflect.Type, prefix string) []setting {
	var all []setting
	for field := range of.Fields() {
		name, tagged := field.Tag.Lookup("env")
		switch {
		case tagged:
			all = append(all, setting{name: prefix + name, secret: isSecretType(field.Type)})
		case field.Type.Kind() == reflect.Struct:
			all = append(all, settingsOf(field.Type, prefix+field.Tag.Get("envPrefix"))...)
		}
	}

	return all
}

// isSecretType reports whether a field holds secrets.
func isSecretType(t reflect.Type) bool {
	return t == reflect.TypeFor[Secret]() || t == reflect.TypeFor[[]Secret]()
}

// decode fills a struct from the variables that begin with prefix. A setting that does not
// parse is reported and falls back to its default, so that it causes no further problems.
func (l *loader) decode(into any, prefix string) {
	options := env.Options{Environment: l.vars, Prefix: prefix, FuncMap: parsers()}
	if env.ParseWithOptions(into, options) == nil {
		return
	}

	// The errors of package env name the Go field. Parse the settings one by one to find out
	// which of them failed.
	of := reflect.TypeOf(into).Elem()
	for _, s := range settingsOf(of, prefix) {
		options.Environment = map[string]string{s.name: l.vars[s.name]}
		if err := env.ParseWithOptions(reflect.New(of).Interface(), options); err != nil {
			l.report(s.name, "%s", parseProblem(err))
			l.rejected[s.name] = true
			delete(l.vars, s.name)
		}
	}

	options.Environment = l.vars
	_ = env.ParseWithOptions(into, options)
}

// parseProblem returns the message of our parser, without the prefix that package env adds.
func parseProblem(err error) string {
	var all env.AggregateError
	var one env.ParseError
	switch {
	case !errors.As(err, &all) || !errors.As(all.Errors[0], &one):
		return err.Error()
	case one.Type == reflect.TypeFor[slog.Level]():
		return "must be debug, info, warn or error"
	}

	return one.Err.Error()
}

// report adds a problem with a setting, and quotes its value unless that may be a secret.
func (l *loader) report(setting, format string, args ...any) {
	l.reportItem(setting, l.vars[setting], format, args...)
}

// reportItem is like report, but quotes one item of a list.
func (l *loader) reportItem(setting, item, format string, args ...any) {
	if l.rejected[setting] {
		return
	}

	text := setting + ": " + fmt.Sprintf(format, args...)
	if value := cmp.Or(item, l.vars[setting]); value != "" && l.mayQuote(setting, value) {
		text += fmt.Sprintf(" (got %.100q)", value)
	}
	if slices.Contains(l.unclosed(), setting) {
		text += "; in .env, it begins with a quote that is not closed"
	}

	if p := (problem{setting, text}); !slices.Contains(l.problems, p) {
		l.problems = append(l.problems, p)
	}
}

// mayQuote reports whether a value can be printed. Any URL may contain a password, and an unknown
// setting may be a secret with a typo in its name.
func (l *loader) mayQuote(name, value string) bool {
	if strings.ContainsAny(value, "@?#") && name != "MAIL_FROM" {
		return false
	}

	return slices.Contains(l.known, setting{name: name})
}

// between reports a number that is out of range.
func (l *loader) between(setting string, value, low, high int) {
	if value < low || value > high {
		l.report(setting, "must be from %d to %d", low, high)
	}
}

// atLeastSecond reports a duration that is too short.
func (l *loader) atLeastSecond(setting string, value time.Duration) {
	if value < time.Second {
		l.report(setting, "must be at least 1s")
	}
}

// err lists the problems with unknown settings, then the others in the order of the settings.
func (l *loader) err() error {
	position := func(p problem) int {
		return slices.IndexFunc(l.known, func(s setting) bool {
			return s.name == p.setting || s.name+"_FILE" == p.setting
		})
	}
	slices.SortStableFunc(l.problems, func(a, b problem) int {
		return cmp.Compare(position(a), position(b))
	})

	noun := "settings"
	if len(l.problems) == 1 {
		noun = "setting"
	}

	lines := []string{fmt.Sprintf("%d invalid %s:", len(l.problems), noun)}
	for _, p := range l.problems {
		lines = append(lines, p.text)
	}

	return errors.New(strings.Join(lines, "\n  "))
}
