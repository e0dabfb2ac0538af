package doctor

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"latchkey/internal/origin"
)

func listed(origins ...string) origin.Trusted { return origin.Trusted{Listed: origins} }

// good holds setups without problems.
var good = map[string]struct {
	setup    Setup
	spa, api string
}{
	"same origin": {
		Setup{Production: true, Port: 3000, TrustedProxies: []string{"127.0.0.1/32"}, CookieName: "__Host-sid", Secure: true, SameSite: http.SameSiteLaxMode},
		"https://example.com/", "https://example.com",
	},
	"a page on another port": {
		Setup{Port: 3000, Origins: listed("http://localhost:3001"), CookieName: "sid", SameSite: http.SameSiteLaxMode},
		"http://localhost:3001", "http://localhost:3000",
	},
	"a page on any port during development": {
		Setup{Port: 3000, Origins: origin.Trusted{Loopback: true}, CookieName: "sid", SameSite: http.SameSiteLaxMode},
		"http://localhost:5173", "http://localhost:3000",
	},
	"a host that is not ASCII": {
		Setup{
			Production: true, Port: 3000, TrustedProxies: []string{"10.0.0.0/8"}, Origins: listed("https://app.xn--bcher-kva.example"),
			CookieName: "__Host-sid", Secure: true, SameSite: http.SameSiteLaxMode,
		},
		"https://app.B\u00fccher.example:443/login", "https://api.b\u00fccher.example",
	},
	"subdomains behind a proxy": {
		Setup{
			Production: true, Port: 3000, TrustedProxies: []string{"10.0.0.0/8"}, Origins: listed("https://app.example.co.uk"),
			CookieName: "__Host-sid", Secure: true, SameSite: http.SameSiteStrictMode,
		},
		"https://app.example.co.uk/login", "https://api.example.co.uk/",
	},
}

func TestGoodSetups(t *testing.T) {
	t.Parallel()

	for name, tc := range good {
		for _, f := range Browser(tc.setup, tc.spa, tc.api) {
			if f.Level != OK || f.Fix != "" {
				t.Errorf("%s: got %+v, want no warning or problem", name, f)
			}
		}
	}
}

// TestBrowserFindings makes one mistake at a time in a good setup, and looks for a finding with
// parts of the expected message and fix.
func TestBrowserFindings(t *testing.T) {
	t.Parallel()

	for name, tc := range map[string]struct {
		from         string // a key of good
		change       func(*Setup)
		spa, api     string
		level        Level
		message, fix string
	}{
		"no URL":                       {"same origin", nil, "app.example.com", "", Problem, "is not an http or https URL", "--spa"},
		"a path":                       {"same origin", nil, "", "https://example.com/api/v1", Problem, "the path /api/v1", "root of a host"},
		"different sites, lax":         {"same origin", func(s *Setup) { s.Origins = listed("https://shop.example") }, "https://shop.example", "", Problem, "browsers do not send the cookie", "api.shop.example"},
		"different sites, none":        {"same origin", func(s *Setup) { s.Origins, s.SameSite = listed("https://shop.example"), http.SameSiteNoneMode }, "https://shop.example", "", Warning, "Safari never sends it", "one domain"},
		"a public suffix between them": {"same origin", func(s *Setup) { s.Origins = listed("https://a.github.io") }, "https://a.github.io", "https://b.github.io", Problem, "browsers do not send the cookie", "one domain"},
		"http and https":               {"subdomains behind a proxy", func(s *Setup) { s.Origins = listed("http://api.example.co.uk") }, "http://api.example.co.uk", "", Problem, "different sites", "http or https for both"},
		"127.0.0.1 and localhost":      {"a page on another port", func(s *Setup) { s.Origins = listed("http://127.0.0.1:3001") }, "http://127.0.0.1:3001", "", Problem, "different sites", "localhost for both"},
		"mixed content":                {"subdomains behind a proxy", nil, "", "http://api.example.co.uk", Problem, "mixed content", "https as well"},
		"https to a local API":         {"a page on another port", func(s *Setup) { s.Origins = listed("https://localhost:3001") }, "https://localhost:3001", "", Warning, "Safari blocks", "http://localhost"},
		"a Secure cookie over http":    {"same origin", nil, "http://example.com", "http://example.com", Problem, "browsers drop the cookie", "https"},
		"a Secure cookie on localhost": {"a page on another port", func(s *Setup) { s.Secure = true }, "", "", Warning, "Safari drops it", "COOKIE_SECURE=false"},
		"not Secure over https":        {"same origin", func(s *Setup) { s.Secure, s.CookieName = false, "sid" }, "", "", Warning, "over http", "COOKIE_SECURE=true"},
		"None without Secure":          {"a page on another port", func(s *Setup) { s.SameSite = http.SameSiteNoneMode }, "", "", Problem, "SameSite=None requires Secure", "lax"},
		"another domain":               {"subdomains behind a proxy", func(s *Setup) { s.CookieName, s.CookieDomain = "sid", "example.org" }, "", "", Problem, "not in COOKIE_DOMAIN", "example.co.uk"},
		"a public suffix":              {"subdomains behind a proxy", func(s *Setup) { s.CookieName, s.CookieDomain = "sid", "co.uk" }, "", "", Problem, "public suffix", "example.co.uk"},
		"a domain on localhost":        {"a page on another port", func(s *Setup) { s.CookieDomain = "example.com" }, "", "", Problem, "does not match localhost", "unset COOKIE_DOMAIN"},
		"a wide domain":                {"subdomains behind a proxy", func(s *Setup) { s.CookieName, s.CookieDomain = "sid", "example.co.uk" }, "", "", Warning, "every host below", "unset COOKIE_DOMAIN"},
		"__Host- with a domain":        {"subdomains behind a proxy", func(s *Setup) { s.CookieDomain = "example.co.uk" }, "", "", Problem, "forbids a Domain", "SESSION_NAME"},
		"__Secure- without Secure":     {"a page on another port", func(s *Setup) { s.CookieName = "__Secure-sid" }, "", "", Problem, "requires Secure", "COOKIE_SECURE=true"},
		"not listed":                   {"subdomains behind a proxy", func(s *Setup) { s.Origins = listed() }, "", "", Problem, "not in FRONTEND_URL", "FRONTEND_URL=https://app.example.co.uk"},
		"listed with www":              {"subdomains behind a proxy", func(s *Setup) { s.Origins = listed("https://www.app.example.co.uk") }, "", "", Problem, "https://www.app.example.co.uk is a different origin", "FRONTEND_URL="},
		"listed with another port":     {"a page on another port", nil, "http://localhost:5173", "", Problem, "http://localhost:3001 is a different origin", "http://localhost:3001,http://localhost:5173"},
		"no TLS anywhere":              {"same origin", func(s *Setup) { s.TrustedProxies = nil }, "", "", Problem, "nothing terminates TLS", "TRUSTED_PROXIES"},
		"TLS, but an http URL":         {"a page on another port", func(s *Setup) { s.TLS = true }, "", "", Problem, "https only", "TLS_CERT_FILE"},
		"an untrusted proxy":           {"same origin", func(s *Setup) { s.TrustedProxies, s.TLS = nil, true }, "", "https://example.com", Warning, "there is a proxy", "TRUSTED_PROXIES"},
		"http in a network":            {"a page on another port", nil, "http://192.168.1.2:3000", "http://192.168.1.2:3000", Warning, "anyone on the network", "https"},
	} {
		base := good[tc.from]
		if tc.change != nil {
			tc.change(&base.setup)
		}
		if tc.spa != "" {
			base.spa = tc.spa
		}
		if tc.api != "" {
			base.api = tc.api
		}
		found := Browser(base.setup, base.spa, base.api)
		ok := false
		for _, f := range found {
			ok = ok || f.Level == tc.level && strings.Contains(f.Message, tc.message) && strings.Contains(f.Fix, tc.fix)
		}
		if !ok {
			t.Errorf("%s: got %+v, want a finding with level %s, message %q and fix %q", name, found, tc.level, tc.message, tc.fix)
		}
	}
}

func TestStores(t *testing.T) {
	t.Parallel()

	for _, tc := range []struct {
		redis Redis
		level Level
		fix   string
	}{
		{Redis{AppendOnly: true, Policy: "noeviction"}, OK, ""},
		{Redis{Err: errors.New("refused")}, Problem, "REDIS_HOST"},
		{Redis{Err: errors.New("LOADING ..."), Code: "LOADING"}, Problem, "wait until"},
		{Redis{Err: errors.New("ERR unknown command"), Code: "ERR"}, Problem, "Redis 6.2"},
		{Redis{Err: errors.New("ERR DB index is out of range"), Code: "ERR"}, Problem, "lower REDIS_DB"},
		{Redis{Err: errors.New("ERR AUTH <password> called without any password configured for the default user"), Code: "ERR"}, Problem, "unset REDIS_PASSWORD"},
		{Redis{Policy: "noeviction"}, Problem, "appendonly yes"},
		{Redis{Snapshots: true, Policy: "noeviction"}, Warning, "appendonly yes"},
		{Redis{AppendOnly: true, Policy: "allkeys-lru", MaxMemory: 1 << 30}, Problem, "noeviction"},
		{Redis{AppendOnly: true, Policy: "volatile-ttl"}, Warning, "noeviction"},
	} {
		worst := Finding{Level: OK}
		for _, f := range tc.redis.Check() {
			if f.Level != OK {
				worst = f
			}
		}
		if worst.Level != tc.level || !strings.Contains(worst.Fix, tc.fix) {
			t.Errorf("%+v: got %+v, want level %s and fix %q", tc.redis, worst, tc.level, tc.fix)
		}
	}
	down := errors.New("down")
	duplicate := errors.New("duplicate")
	for _, f := range [][]Finding{MongoDown(down), MongoWrites(down, "change it"), Index{Name: "on emails", Err: duplicate, Fix: "drop it"}.Check()} {
		if len(f) != 1 || f[0].Level != Problem || f[0].Fix == "" {
			t.Errorf("got %+v, want one problem with a fix", f)
		}
	}
	if f := (Emails{Strays: []string{"id1"}, Invalid: []string{"id2"}}).Check(); len(f) != 2 || f[0].Level != Warning || !strings.Contains(f[0].Message, "id1") || !strings.Contains(f[1].Message, "id2") {
		t.Errorf("got %+v, want two warnings with the IDs", f)
	}
	for _, f := range [][]Finding{RedisKeys{}.Check(), MongoWrites(nil, "unused")} {
		if len(f) != 1 || f[0].Level != OK || f[0].Fix != "" {
			t.Errorf("got %+v, want one finding with level ok", f)
		}
	}
	denied := RedisKeys{Err: errors.New("NOPERM ..."), Code: "NOPERM", Prefixes: []string{"sess:", "idx:"}}
	if f := denied.Check(); len(f) != 1 || f[0].Level != Problem || !strings.Contains(f[0].Message, "sess:*, idx:*") || !strings.Contains(f[0].Fix, "configs/redis.conf") {
		t.Errorf("got %+v, want a problem with the keys and a fix", f)
	}
	for name, tc := range map[string]struct {
		check SessionCache
		level Level
		fix   string
	}{
		"allowed":             {SessionCache{}, OK, ""},
		"missing permissions": {SessionCache{Err: denied.Err, Code: "NOPERM"}, Warning, "configs/redis.conf, or set SESSION_CACHE=off"},
		"unknown command":     {SessionCache{Err: errors.New("ERR unknown command"), Code: "ERR"}, Warning, "set SESSION_CACHE=off"},
		"a full Redis":        {SessionCache{Err: errors.New("OOM ..."), Code: "OOM"}, Warning, "raise maxmemory"},
	} {
		if f := tc.check.Check(); len(f) != 1 || f[0].Level != tc.level || !strings.Contains(f[0].Fix, tc.fix) {
			t.Errorf("sessions in memory, %s: got %+v, want level %s and fix %q", name, f, tc.level, tc.fix)
		}
	}
	if f := (Emails{}).Check(); len(f) != 0 {
		t.Errorf("got %+v, want no findings", f)
	}
	if f := (Index{Name: "on emails"}).Check(); len(f) != 1 || f[0].Level != OK {
		t.Errorf("got %+v, want one finding with level ok", f)
	}
}

func TestFactors(t *testing.T) {
	t.Parallel()

	for name, tc := range map[string]struct {
		check   Factors
		level   Level
		message string
		fix     string
	}{
		"working":          {Factors{Configured: true, Seeds: 3}, OK, "were decrypted: 3", ""},
		"not configured":   {Factors{}, Warning, "DATA_KEY is not set", "set DATA_KEY"},
		"a missing key":    {Factors{Configured: true, Seeds: 3, Undecryptable: 1, Keys: "DATA_KEY has the keys a; missing: b"}, Problem, "1 of a sample of 3; DATA_KEY has the keys a; missing: b", "add the old key"},
		"a removed key":    {Factors{Seeds: 3, Undecryptable: 3}, Problem, "3 of a sample of 3", "add the old key"},
		"damaged secrets":  {Factors{Configured: true, Seeds: 3, Undecryptable: 1, Damaged: true}, Problem, "1 of a sample of 3", "run latchkey users reset-factors for the accounts that latchkey rekey lists"},
		"damaged, no keys": {Factors{Seeds: 3, Undecryptable: 3, Damaged: true}, Problem, "3 of a sample of 3", "add the old key"},
		"unknown accounts": {Factors{Configured: true, Err: errors.New("down")}, Warning, "down", "run latchkey doctor again"},
	} {
		f := tc.check.Check()
		if len(f) != 1 || f[0].Level != tc.level || !strings.Contains(f[0].Message, tc.message) || !strings.HasPrefix(f[0].Fix, tc.fix) || (f[0].Fix == "") != (tc.level == OK) {
			t.Errorf("%s: got %+v, want level %s, %q and the fix %q", name, f, tc.level, tc.message, tc.fix)
		}
	}

	for skew, want := range map[time.Duration]string{
		0:                 "agrees with ours",
		20 * time.Second:  "agrees with ours",
		21 * time.Second:  "21s ahead of ours",
		-25 * time.Second: "25s behind ours",
	} {
		f := Clock{Addr: "10.0.0.1:6379", Skew: skew}.Check()
		isOK := skew.Abs() <= 20*time.Second
		if len(f) != 1 || (f[0].Level == OK) != isOK || !strings.Contains(f[0].Message, want) || f[0].Subject != "Redis 10.0.0.1:6379" {
			t.Errorf("skew %s: got %+v, want %q", skew, f, want)
		}
	}
}

// google returns a provider without problems, after change.
func google(change func(*Provider)) Provider {
	p := Provider{
		Kind: "google", Name: "google", Prefix: "GOOGLE_", Issuer: "https://accounts.google.com",
		Callback: "https://api.example.com/auth/google/callback", Production: true, API: "https://api.example.com", Skew: 20 * time.Second,
	}
	if change != nil {
		change(&p)
	}
	return p
}

// Good providers have two findings: the callback URL to register, and that all is well.
func TestGoodProviders(t *testing.T) {
	t.Parallel()

	for name, tc := range map[string]func(*Provider){
		"everything":             nil,
		"an unknown API":         func(p *Provider) { p.API = "" },
		"an invalid API":         func(p *Provider) { p.API = "api" }, // Browser reports that
		"the port of the scheme": func(p *Provider) { p.API = "https://API.example.com:443/" },
		"this machine": func(p *Provider) {
			p.Production = false
			p.API = ""
			p.Callback = "http://localhost:3000/auth/google/callback"
		},
		"production on localhost": func(p *Provider) { p.API = "http://[::1]:3000"; p.Callback = "http://[::1]:3000/auth/google/callback" },
		"a clock that is behind":  func(p *Provider) { p.Skew = -30 * time.Second },
	} {
		p := google(tc)
		found := p.Check()
		if len(found) != 2 || !strings.Contains(found[0].Message, p.Callback+"; it must be registered") {
			t.Errorf("%s: got %+v, want two findings, the first about the callback URL", name, found)
		}
		for _, f := range found {
			if f.Level != OK || f.Fix != "" || f.Subject != "Provider google" {
				t.Errorf("%s: got %+v, want level ok", name, f)
			}
		}
	}
}

// TestProviderFindings checks that each mistake causes a single finding with the expected message and
// fix.
func TestProviderFindings(t *testing.T) {
	t.Parallel()
	oidc := func(p *Provider) {
		p.Kind = "oidc"
		p.Name = "my-idp"
		p.Prefix = "OIDC_MY_IDP_"
		p.Issuer = "https://id.example.com/"
		p.Callback = "https://api.example.com/auth/my-idp/callback"
	}
	github := func(p *Provider) {
		p.Kind = "github"
		p.Name = "github"
		p.Prefix = "GITHUB_"
		p.Callback = "https://api.example.com/auth/github/callback"
	}
	for name, tc := range map[string]struct {
		change       func(*Provider)
		level        Level
		message, fix string
	}{
		"Google does not answer": {func(p *Provider) { p.Err = errors.New("google: no answer in time") }, Problem, "nobody can sign in: no answer", "HTTPS_PROXY"},
		"an issuer does not answer": {
			func(p *Provider) { oidc(p); p.Err = errors.New("refused") }, Problem, "nobody can sign in: refused",
			`OIDC_MY_IDP_ISSUER is exactly the "issuer" in https://id.example.com/.well-known/openid-configuration`,
		},
		"GitHub does not answer": {func(p *Provider) { github(p); p.Err = errors.New("refused") }, Problem, "nobody", "GITHUB_API_URL"},
		"another host":           {func(p *Provider) { p.Callback = "https://www.example.com/auth/google/callback" }, Problem, "at https://www.example.com, but the API is at https://api.example.com", "GOOGLE_CALLBACK_URL=https://api.example.com/auth/google/callback"},
		"another port":           {func(p *Provider) { p.Callback = "https://api.example.com:8443/auth/google/callback" }, Problem, "https://api.example.com:8443", "GOOGLE_CALLBACK_URL=https://api.example.com/auth"},
		"another scheme":         {func(p *Provider) { p.API = "http://localhost"; p.Callback = "https://localhost/auth/google/callback" }, Problem, "the API is at http://localhost", "GOOGLE_CALLBACK_URL=http://localhost/auth"},
		"API without TLS":        {func(p *Provider) { p.API = "http://api.example.com" }, Problem, "the API is at http://api.example.com", "serve the API over https"},
		"another name of the machine": {func(p *Provider) {
			p.Callback = "http://127.0.0.1:1/auth/google/callback"
			p.API = "http://localhost:1"
		}, Problem, "the sign-in cookie", "http://localhost:1/auth"},
		"callback without TLS":       {func(p *Provider) { p.Callback = "http://api.example.com/auth/google/callback"; p.API = "" }, Problem, "not encrypted", "GOOGLE_CALLBACK_URL=https://api.example.com/auth"},
		"another route":              {func(p *Provider) { p.Callback = "https://api.example.com/auth/github/callback" }, Problem, "must end in /auth/google/callback", "=https://api.example.com/auth/google/callback"},
		"another spelling":           {func(p *Provider) { p.Callback = "https://api.example.com/auth/g%6Fogle/callback" }, Problem, "not a route of this server", "=https://api.example.com/auth/google/callback"},
		"no URL":                     {func(p *Provider) { p.Callback = "api.example.com" }, Problem, "not an http or https URL", "GOOGLE_CALLBACK_URL=https://"},
		"below a path":               {func(p *Provider) { p.Callback = "https://api.example.com/api/auth/google/callback" }, Warning, "needs a proxy that strips /api", "=https://api.example.com/auth/google/callback"},
		"the user's own machine":     {func(p *Provider) { p.API = ""; p.Callback = "http://localhost:3000/auth/google/callback" }, Warning, "the user's own machine", "the host of your API"},
		"a clock that is ahead":      {func(p *Provider) { p.Skew = 31 * time.Second }, Warning, "31s ahead of ours", "synchronize the clock"},
		"a clock that is far behind": {func(p *Provider) { p.Skew = -6 * time.Minute }, Problem, "6m0s behind ours, so its ID tokens are rejected", "synchronize the clock"},
		"malformed keys":             {func(p *Provider) { oidc(p); p.MalformedKeys = 2 }, Warning, "malformed keys that are ignored: 2", "jwks_uri"},
		"GitHub's clock":             {func(p *Provider) { github(p); p.Skew = time.Hour }, Warning, "1h0m0s ahead of ours: signing in works", "synchronize the clock"},
	} {
		found := google(tc.change).Check()
		var bad []Finding
		for _, f := range found {
			if f.Level != OK {
				bad = append(bad, f)
			}
		}
		if len(bad) != 1 || bad[0].Level != tc.level || !strings.Contains(bad[0].Message, tc.message) || !strings.Contains(bad[0].Fix, tc.fix) {
			t.Errorf("%s: got %+v, want one finding with level %s, message %q and fix %q", name, found, tc.level, tc.message, tc.fix)
		}
	}
}
