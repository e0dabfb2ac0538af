package config

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// oidcSettings are the settings that follow OIDC_<NAME>_.
type oidcSettings struct {
	Client Client
	Issuer string `env:"ISSUER"`
	Scopes string `env:"SCOPES" envDefault:"openid email profile"`
	Title  string `env:"TITLE"`
}

// reserved lists the words that follow /auth/ in other routes. A provider with such a name would
// be unreachable, or would hide the route.
var reserved = []string{
	"activity", "config", "devices", "email", "factors", "identities", "login", "logout", "me", "password", "providers",
	"recovery-codes", "register", "rotate-session", "session", "sessions", "step-up", "totp", "verify",
}

// oidcWords lists the names in oidcSettings.
const oidcWords = "CLIENT_ID|CLIENT_SECRET|CALLBACK_URL|ISSUER|SCOPES|TITLE"

var (
	// oidcVariable splits OIDC_<NAME>_ISSUER into the name and the word.
	oidcVariable = regexp.MustCompile(`(?s)^OIDC_(.*)_(` + oidcWords + `|CLIENT_SECRET_FILE)$`)
	// oidcName allows only single underscores, so that no two names map to the same route.
	oidcName = regexp.MustCompile(`^[A-Z0-9]+(_[A-Z0-9]+)*$`)
	// serviceLink matches the variables that Kubernetes sets in every container for a Service,
	// for example for one named oidc-proxy.
	serviceLink = regexp.MustCompile(`_(SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)
)

// maxTitle is the number of characters that fit on a button.
const maxTitle = 64

// oidcNames returns the sorted names of the providers in OIDC_* variables, and warns of
// variables that are not settings.
func (l *loader) oidcNames() []string {
	var names []string
	for _, variable := range slices.Sorted(maps.Keys(l.vars)) {
		if !strings.HasPrefix(variable, "OIDC_") || serviceLink.MatchString(variable) {
			continue
		}

		// A terminal would interpret control characters.
		printable := strings.Trim(strconv.QuoteToASCII(variable), `"`)
		parts := oidcVariable.FindStringSubmatch(variable)
		switch {
		case parts == nil:
			l.warn(fmt.Sprintf("unknown setting %s is ignored: OIDC_<NAME>_ must be followed by one of %s",
				printable, strings.ReplaceAll(oidcWords, "|", ", ")))
		case !oidcName.MatchString(parts[1]):
			l.report(printable, "invalid provider name; use A-Z, 0-9 and single underscores, as in OIDC_KEYCLOAK_ISSUER")
		default:
			names = append(names, parts[1])
		}
	}
	slices.Sort(names)

	return slices.Compact(names)
}

func (l *loader) addOIDC(name string) {
	prefix := "OIDC_" + name + "_"
	l.known = append(l.known, settingsOf(reflect.TypeFor[oidcSettings](), prefix)...)

	var given oidcSettings
	l.decode(&given, prefix)

	p := Provider{
		Kind:   OIDC,
		Name:   strings.ToLower(strings.ReplaceAll(name, "_", "-")),
		Title:  cmp.Or(given.Title, capitalize(name)),
		Prefix: prefix,
		Issuer: given.Issuer,
		Client: given.Client,
	}
	if slices.Contains(reserved, p.Name) {
		l.report(prefix+"*", "reserved provider name: /auth/%s is another route of this server", p.Name)
	}
	if slices.ContainsFunc(l.Providers, func(other Provider) bool { return other.Name == p.Name }) {
		l.report(prefix+"*", "duplicate provider name: %s_CLIENT_ID configures a provider with the same name", name)
	}

	l.checkIssuer(&p)

	isUnprintable := func(r rune) bool { return !unicode.IsPrint(r) }
	tooLong := utf8.RuneCountInString(p.Title) > maxTitle
	if tooLong || !utf8.ValidString(p.Title) || strings.ContainsFunc(p.Title, isUnprintable) {
		l.report(prefix+"TITLE", "must be at most %d printable characters", maxTitle)
	}

	p.Scopes = l.scopes(prefix+"SCOPES", given.Scopes)
	l.addProvider(p)
}

func (l *loader) checkIssuer(p *Provider) {
	setting := p.Prefix + "ISSUER"
	if p.Issuer == "" {
		l.report(setting, "required if another %s* setting is set", p.Prefix)
		return
	}

	l.secureURL(setting, p.Issuer, "https://id.example.com")
	if p.Issuer == googleIssuer {
		// Google needs the stricter verified-email check, whatever name it is configured under.
		p.Kind = Google
	}

	for _, other := range l.Providers {
		if other.Issuer == p.Issuer {
			l.report(setting, "duplicate issuer: %sCLIENT_ID already uses it, so its accounts would be ambiguous", other.Prefix)
		}
	}
}

// capitalize turns MY_COMPANY into My Company.
func capitalize(name string) string {
	words := strings.Split(strings.ToLower(name), "_")
	for i, word := range words {
		words[i] = strings.ToUpper(word[:1]) + word[1:]
	}

	return strings.Join(words, " ")
}

// scopes splits and checks a list of scopes.
func (l *loader) scopes(setting, given string) []string {
	var scopes []string
	for _, scope := range strings.FieldsFunc(given, func(r rune) bool { return r == ' ' || r == ',' }) {
		if !slices.Contains(scopes, scope) {
			scopes = append(scopes, scope)
		}
	}

	// RFC 6749 section 3.3.
	isInvalid := func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }
	if strings.ContainsFunc(given, isInvalid) {
		l.report(setting, "must be scopes like openid email profile, separated by spaces or commas")
	}
	if !slices.Contains(scopes, "openid") {
		l.report(setting, "must include openid; without it the provider does not identify the user")
	}
	if slices.Contains(scopes, "offline_access") {
		l.report(setting, "must not include offline_access; this server never stores tokens of a provider")
	}

	return scopes
}
