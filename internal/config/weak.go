package config

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"latchkey/internal/loopback"
)

// Weakness is a setting that is valid, but protects less than its default.
type Weakness struct {
	Name string
	Risk string // what it makes possible
	Fix  string
}

// weakRule is a row of the table of weaknesses, which is also in SETTINGS.md.
type weakRule struct {
	names  string // the settings, in Markdown
	values string // what is reported, in Markdown
	risk   string
	fix    string
	// find returns the names of the settings to report.
	find func(*loader) []string
}

// findWeaknesses fills in Weaknesses.
func (l *loader) findWeaknesses() {
	rules := weakRules
	if l.AppEnv != Production {
		rules = []weakRule{environmentRule} // it permits all the others
	}

	for _, rule := range rules {
		for _, name := range rule.find(l) {
			l.Weaknesses = append(l.Weaknesses, Weakness{
				Name: name,
				Risk: rule.risk,
				Fix:  rule.fix,
			})
		}
	}
}

// when returns a function for weakRule.find that reports a setting if isWeak returns true.
func when(setting string, isWeak func(*loader) bool) func(*loader) []string {
	return func(l *loader) []string {
		if isWeak(l) {
			return []string{setting}
		}

		return nil
	}
}

// Bounds beyond which a setting is reported. They leave room for choices that are still sound.
const (
	rateFactor        = 10  // times the default
	burstFactor       = 100 // times the default number of events, whatever the window
	maxStepUp         = time.Hour
	maxLinkAge        = 24 * time.Hour // NIST SP 800-63B-4 section 4.2.1.2
	maxInvitation     = 30 * 24 * time.Hour
	maxIdle           = 7 * 24 * time.Hour
	maxAbsolute       = 30 * 24 * time.Hour // NIST SP 800-63B-4 section 2.1.3
	shortRetention    = 30 * 24 * time.Hour
	shortMailInterval = 10 * time.Second
)

// defaultRate is the default of RATE_LIMIT, with which weakRates compares the limits.
var defaultRate = Rate{Events: 10, Window: time.Minute}

// weakRates returns the limits that are off, or permit many times more events than by default, in
// the long run or in a burst. A limit that is derived from another one is not reported.
func weakRates(l *loader) []string {
	if l.Limits.Default.Rate == (Rate{}) {
		return []string{"RATE_LIMIT"}
	}

	var weak []string
	for _, limit := range []struct {
		name  string
		rate  Rate
		share int // the default is this many times defaultRate
	}{
		{"RATE_LIMIT", l.Limits.Default.Rate, 1},
		{"RATE_LIMIT_REGISTER", l.Limits.Register, 1},
		{"RATE_LIMIT_LOGIN", l.Limits.Login, 1},
		{"RATE_LIMIT_MAIL", l.Limits.Mail, 1},
		{"RATE_LIMIT_TOKEN", l.Limits.Token, 1},
		{"RATE_LIMIT_PASSWORD", l.Limits.Password, 1},
		{"RATE_LIMIT_OAUTH", l.Limits.OAuth, signInShare},
		{"RATE_LIMIT_ACCOUNT", l.Limits.Account, accountShare},
		{"RATE_LIMIT_DEVICE", l.Limits.Device, 1},
	} {
		usual := limit.share * defaultRate.Events
		highest := Rate{Events: rateFactor * usual, Window: defaultRate.Window}
		isWeak := limit.rate.exceeds(highest) || limit.rate.Events > burstFactor*usual
		if isWeak && l.vars[limit.name] != "" {
			weak = append(weak, limit.name)
		}
	}

	return weak
}

// exceeds reports whether r permits more events than other in the long run.
func (r Rate) exceeds(other Rate) bool {
	return int64(r.Events)*int64(other.Window) > int64(other.Events)*int64(r.Window)
}

// hasLocalOrigin reports whether pages on the user's own machine may call the API.
func hasLocalOrigin(l *loader) bool { return slices.ContainsFunc(l.FrontendURL, isLocalURL) }

// hasLocalLinks reports whether the links in emails lead to the reader's own machine.
func hasLocalLinks(l *loader) bool { return l.Mail.URL != "" && isLocalURL(l.Accounts.PublicURL) }

// isLocalURL reports whether a URL is on the machine of the browser that opens it.
func isLocalURL(given string) bool {
	u, err := url.Parse(given)

	return err == nil && loopback.Host(u.Hostname())
}

// isOpsPublic reports whether the private listener may be reachable from the internet.
func isOpsPublic(l *loader) bool {
	if l.OpsAddr == "" {
		return false
	}

	host, _, _ := net.SplitHostPort(l.OpsAddr)
	ip, err := netip.ParseAddr(host)
	switch {
	case host == "":
		return true
	case err != nil:
		return false // a name
	}

	return !isPrivate(netip.PrefixFrom(ip.WithZone(""), ip.BitLen())) // an unspecified IP is not private
}

// isPlainHTTPPublic reports whether other machines can connect without TLS, although all trusted
// proxies are on this machine.
func isPlainHTTPPublic(l *loader) bool {
	return l.TLSCertFile == "" && l.trustsOnlyThisMachine() && !loopback.Host(l.Host)
}

// hasPlainName reports whether an http page can set a cookie with the configured name.
func hasPlainName(l *loader) bool {
	return !hasPrefix(l.Cookie.Name, hostPrefix) && !hasPrefix(l.Cookie.Name, securePrefix)
}

// redisSetting is like when, for a setting of Redis. It reports REDIS_URI instead if that is set.
func redisSetting(setting string, isWeak func(access) bool) func(*loader) []string {
	return func(l *loader) []string {
		switch {
		case !isWeak(l.Redis.access()):
			return nil
		case l.Redis.URI != "":
			return []string{"REDIS_URI"}
		}

		return []string{setting}
	}
}

// openFile returns the names of the settings whose secret files every user of this machine can read.
func openFile(l *loader) []string { return l.openFiles }

// codeList returns names as code in Markdown.
func codeList(names ...string) string { return "`" + strings.Join(names, "`, `") + "`" }
