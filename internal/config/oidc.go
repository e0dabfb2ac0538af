package config

import (
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/caarlos0/env/v10"
)

// oidcSettings stand after OIDC_<NAME>_.
type oidcSettings struct {
	Client client
	Issuer string `env:"ISSUER"`
	Scopes string `env:"SCOPES" envDefault:"openid email profile"`
	Title  string `env:"TITLE"`
}

// oidcWords are the names of oidcSettings.
var oidcWords = tags(reflect.TypeFor[oidcSettings]())

// reserved are the words after /auth/ in routes of our own. A provider of such a name
// would never be reached, or stand in for the route.
var reserved = []string{
	"activity", "email", "identities", "login", "logout", "me", "password", "providers", "register",
	"rotate-session", "session", "sessions", "step-up", "verify",
}

// oidcFamily begins the names of the settings of providers that are named there.
const oidcFamily = "OIDC_"

// oidcName is the <NAME> of OIDC_<NAME>_ISSUER. One _ at a time, so that no two names
// look like one.
var oidcName = regexp.MustCompile(`^[A-Z0-9]+(_[A-Z0-9]+)*$`)

// serviceLink is what Kubernetes tells each container of a Service, one called oidc-proxy
// for example.
var serviceLink = regexp.MustCompile(`_(SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// splitOIDC takes OIDC_<NAME>_ISSUER apart, where it ends as one of the settings does.
func splitOIDC(variable string) (name, setting string, ok bool) {
	rest, family := strings.CutPrefix(variable, oidcFamily)
	for _, setting := range slices.Concat(oidcWords, []string{"CLIENT_SECRET_FILE"}) {
		if name, found := strings.CutSuffix(rest, "_"+setting); family && found {
			return name, setting, true
		}
	}
	return "", "", false
}

// tags are the names in the tags of a struct and of those in it.
func tags(of reflect.Type) (names []string) {
	for field := range of.Fields() {
		if name, tagged := field.Tag.Lookup("env"); tagged {
			names = append(names, name)
		} else {
			names = append(names, tags(field.Type)...)
		}
	}
	return names
}

// oidcSecrets are the secrets of the family of which a file is given.
func oidcSecrets(vars map[string]string) (names []string) {
	for variable := range vars {
		if _, setting, _ := splitOIDC(variable); setting == "CLIENT_SECRET_FILE" {
			names = append(names, strings.TrimSuffix(variable, "_FILE"))
		}
	}
	slices.Sort(names)
	return names
}

// oidcNames finds the names of the family and judges them.
func (r *providerReader) oidcNames() (names []string) {
	for _, variable := range slices.Sorted(maps.Keys(r.vars)) {
		if !strings.HasPrefix(variable, oidcFamily) || serviceLink.MatchString(variable) {
			continue
		}
		name, _, known := splitOIDC(variable)
		switch {
		case !known:
			r.fault(printable(variable), "no such setting; a provider has OIDC_<NAME>_ and then %s", strings.Join(oidcWords, ", "))
		case !oidcName.MatchString(name):
			r.fault(printable(variable), "the name of a provider must be of A-Z, 0-9 and single _ between them, as in OIDC_KEYCLOAK_ISSUER")
		case !slices.Contains(names, name):
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// printable is the name of a variable with what a terminal would obey made visible.
func printable(variable string) string { return strings.Trim(strconv.QuoteToASCII(variable), `"`) }

func (r *providerReader) addOIDC(name string) {
	prefix := oidcFamily + name + "_"
	p := Provider{Kind: OIDC, Name: strings.ToLower(strings.ReplaceAll(name, "_", "-")), Prefix: prefix}
	if slices.Contains(reserved, p.Name) {
		r.fault(prefix+"*", "a provider must have another name: /auth/%s is a route of this server", p.Name)
	}
	if slices.ContainsFunc(r.Providers, func(other Provider) bool { return other.Name == p.Name }) {
		r.fault(prefix+"*", "%s_CLIENT_ID sets up a provider of this name already; keep one of them", name)
	}
	var given oidcSettings
	if err := env.ParseWithOptions(&given, env.Options{Environment: r.vars, Prefix: prefix}); err != nil {
		r.faults = append(r.faults, parseFaults(err)...)
		return
	}
	if p.Issuer = given.Issuer; p.Issuer == "" {
		r.missing(p, "ISSUER")
	} else {
		r.address(prefix+"ISSUER", p.Issuer, "https://id.example.com")
	}
	if p.Issuer == googleIssuer {
		p.Kind = Google // under whatever name: not every address that it calls verified is
	}
	if i := slices.IndexFunc(r.Providers, func(other Provider) bool { return p.Issuer != "" && other.Issuer == p.Issuer }); i >= 0 {
		r.fault(prefix+"ISSUER", "is that of %s_CLIENT_ID already; an account there would belong to either", r.Providers[i].Prefix[:len(r.Providers[i].Prefix)-1])
	}
	p.Title = given.Title
	if p.Title == "" {
		p.Title = capitalised(name)
	}
	if !utf8.ValidString(p.Title) || utf8.RuneCountInString(p.Title) > maxTitle || strings.ContainsFunc(p.Title, func(r rune) bool { return !unicode.IsPrint(r) }) {
		r.fault(prefix+"TITLE", "must be at most %d printable characters", maxTitle)
	}
	p.Scopes = r.scopes(prefix+"SCOPES", given.Scopes)
	r.add(p, given.Client)
}

// maxTitle is what fits on a button, in characters.
const maxTitle = 64

// capitalised makes My Company of MY_COMPANY.
func capitalised(name string) string {
	words := strings.Split(strings.ToLower(name), "_")
	for i, word := range words {
		words[i] = strings.ToUpper(word[:1]) + word[1:]
	}
	return strings.Join(words, " ")
}

// scopes takes a list apart.
func (r *providerReader) scopes(variable, given string) (scopes []string) {
	for _, scope := range strings.FieldsFunc(given, func(r rune) bool { return r == ' ' || r == ',' }) {
		if !slices.Contains(scopes, scope) {
			scopes = append(scopes, scope)
		}
	}
	// RFC 6749 section 3.3.
	if strings.ContainsFunc(given, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) {
		r.fault(variable, "must be words like openid email profile, separated by spaces or commas")
	}
	if !slices.Contains(scopes, "openid") {
		r.fault(variable, "must have openid among them: without it the provider does not say who signed in")
	}
	if slices.Contains(scopes, "offline_access") {
		r.fault(variable, "leave out offline_access: this server keeps no token that could be stolen from it")
	}
	return scopes
}
