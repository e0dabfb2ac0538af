package doctor

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

// good are set-ups in which nothing is wrong, by name.
var good = map[string]struct {
	setup    Setup
	spa, api string
}{
	"same origin": {
		Setup{Production: true, Port: 3000, TrustedProxies: []string{"127.0.0.1/32"}, CookieName: "__Host-sid", Secure: true, SameSite: http.SameSiteLaxMode},
		"https://example.com/", "https://example.com",
	},
	"a page on another port": {
		Setup{Port: 3000, Origins: []string{"http://localhost:3001"}, CookieName: "sid", SameSite: http.SameSiteLaxMode},
		"http://localhost:3001", "http://localhost:3000",
	},
	"subdomains behind a proxy": {
		Setup{
			Production: true, Port: 3000, TrustedProxies: []string{"10.0.0.0/8"}, Origins: []string{"https://app.example.co.uk"},
			CookieName: "__Host-sid", Secure: true, SameSite: http.SameSiteStrictMode,
		},
		"https://app.example.co.uk/login", "https://api.example.co.uk/",
	},
}

func TestGoodSetups(t *testing.T) {
	t.Parallel()
	for name, tc := range good {
		for _, f := range Browser(tc.setup, tc.spa, tc.api) {
			if f.Level != Fine || f.Fix != "" {
				t.Errorf("%s: %+v", name, f)
			}
		}
	}
}

// Each mistake is found, by a word of what is said and one of the fix.
func TestPlantedFaults(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		from      string // a good set-up
		change    func(*Setup)
		spa, api  string
		level     Level
		says, fix string
	}{
		"no address":                   {"same origin", nil, "app.example.com", "", Fault, "no address of a web server", "--spa"},
		"a path":                       {"same origin", nil, "", "https://example.com/api/v1", Fault, "the path /api/v1", "root of a host"},
		"different sites, lax":         {"same origin", func(s *Setup) { s.Origins = []string{"https://shop.example"} }, "https://shop.example", "", Fault, "no browser sends it", "api.shop.example"},
		"different sites, none":        {"same origin", func(s *Setup) { s.Origins, s.SameSite = []string{"https://shop.example"}, http.SameSiteNoneMode }, "https://shop.example", "", Risk, "Safari does not send it", "one domain"},
		"a public suffix between them": {"same origin", func(s *Setup) { s.Origins = []string{"https://a.github.io"} }, "https://a.github.io", "https://b.github.io", Fault, "no browser sends it", "one domain"},
		"http and https":               {"subdomains behind a proxy", func(s *Setup) { s.Origins = []string{"http://api.example.co.uk"} }, "http://api.example.co.uk", "", Fault, "two sites", "http or https for both"},
		"127.0.0.1 and localhost":      {"a page on another port", func(s *Setup) { s.Origins = []string{"http://127.0.0.1:3001"} }, "http://127.0.0.1:3001", "", Fault, "two sites", "localhost for both"},
		"mixed content":                {"subdomains behind a proxy", nil, "", "http://api.example.co.uk", Fault, "mixed content", "https as well"},
		"https to a local API":         {"a page on another port", func(s *Setup) { s.Origins = []string{"https://localhost:3001"} }, "https://localhost:3001", "", Risk, "Safari blocks", "http://localhost"},
		"a Secure cookie over http":    {"same origin", nil, "http://example.com", "http://example.com", Fault, "every browser drops it", "https"},
		"a Secure cookie at localhost": {"a page on another port", func(s *Setup) { s.Secure = true }, "", "", Risk, "Safari drops it", "COOKIE_SECURE=false"},
		"not Secure over https":        {"same origin", func(s *Setup) { s.Secure, s.CookieName = false, "sid" }, "", "", Risk, "in the clear", "COOKIE_SECURE=true"},
		"None without Secure":          {"a page on another port", func(s *Setup) { s.SameSite = http.SameSiteNoneMode }, "", "", Fault, "SameSite=None needs Secure", "lax"},
		"another domain":               {"subdomains behind a proxy", func(s *Setup) { s.CookieName, s.CookieDomain = "sid", "example.org" }, "", "", Fault, "not in COOKIE_DOMAIN", "example.co.uk"},
		"a public suffix":              {"subdomains behind a proxy", func(s *Setup) { s.CookieName, s.CookieDomain = "sid", "co.uk" }, "", "", Fault, "public suffix", "example.co.uk"},
		"a domain at localhost":        {"a page on another port", func(s *Setup) { s.CookieDomain = "example.com" }, "", "", Fault, "does not fit localhost", "unset COOKIE_DOMAIN"},
		"a domain that is wide":        {"subdomains behind a proxy", func(s *Setup) { s.CookieName, s.CookieDomain = "sid", "example.co.uk" }, "", "", Risk, "every host below", "unset COOKIE_DOMAIN"},
		"__Host- with a domain":        {"subdomains behind a proxy", func(s *Setup) { s.CookieDomain = "example.co.uk" }, "", "", Fault, "may have no Domain", "SESSION_NAME"},
		"__Secure- without Secure":     {"a page on another port", func(s *Setup) { s.CookieName = "__Secure-sid" }, "", "", Fault, "needs Secure", "COOKIE_SECURE=true"},
		"not listed":                   {"subdomains behind a proxy", func(s *Setup) { s.Origins = nil }, "", "", Fault, "not in FRONTEND_URL", "FRONTEND_URL=https://app.example.co.uk"},
		"listed with www":              {"subdomains behind a proxy", func(s *Setup) { s.Origins = []string{"https://www.app.example.co.uk"} }, "", "", Fault, "https://www.app.example.co.uk is another origin", "FRONTEND_URL="},
		"listed with another port":     {"a page on another port", nil, "http://localhost:5173", "", Fault, "http://localhost:3001 is another origin", "http://localhost:3001,http://localhost:5173"},
		"no TLS anywhere":              {"same origin", func(s *Setup) { s.TrustedProxies = nil }, "", "", Fault, "nothing speaks TLS", "TRUSTED_PROXIES"},
		"TLS that is not used":         {"a page on another port", func(s *Setup) { s.TLS = true }, "", "", Fault, "https only", "TLS_CERT_FILE"},
		"a proxy that is not named":    {"same origin", func(s *Setup) { s.TrustedProxies, s.TLS = nil, true }, "", "https://example.com", Risk, "there is a proxy", "TRUSTED_PROXIES"},
		"the clear":                    {"a page on another port", nil, "http://192.168.1.2:3000", "http://192.168.1.2:3000", Risk, "anyone on the way", "TLS"},
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
			ok = ok || f.Level == tc.level && strings.Contains(f.Says, tc.says) && strings.Contains(f.Fix, tc.fix)
		}
		if !ok {
			t.Errorf("%s is not found: %+v", name, found)
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
		{Redis{AppendOnly: true, Policy: "noeviction"}, Fine, ""},
		{Redis{Err: errors.New("refused")}, Fault, "REDIS_HOST"},
		{Redis{Policy: "noeviction"}, Fault, "appendonly yes"},
		{Redis{Snapshots: true, Policy: "noeviction"}, Risk, "appendonly yes"},
		{Redis{AppendOnly: true, Policy: "allkeys-lru", MaxMemory: 1 << 30}, Fault, "noeviction"},
		{Redis{AppendOnly: true, Policy: "volatile-ttl"}, Risk, "noeviction"},
	} {
		worst := Finding{Level: Fine}
		for _, f := range tc.redis.Check() {
			if f.Level != Fine {
				worst = f
			}
		}
		if worst.Level != tc.level || !strings.Contains(worst.Fix, tc.fix) {
			t.Errorf("%+v: %+v", tc.redis, worst)
		}
	}
	away, duplicate := errors.New("away"), errors.New("duplicate")
	for _, f := range [][]Finding{Mongo(away, away), Mongo(nil, duplicate)} {
		if len(f) != 1 || f[0].Level != Fault || f[0].Fix == "" {
			t.Errorf("%+v", f)
		}
	}
	if f := Mongo(nil, nil); len(f) != 1 || f[0].Level != Fine {
		t.Errorf("%+v", f)
	}
}

// google is a provider with which nothing is wrong.
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

// A good provider is told what to register, and nothing to mend.
func TestGoodProviders(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]func(*Provider){
		"all of it":               nil,
		"an API that is not told": func(p *Provider) { p.API = "" },
		"an API that is none":     func(p *Provider) { p.API = "api" }, // which Browser says
		"the port of the scheme":  func(p *Provider) { p.API = "https://API.example.com:443/" },
		"this machine": func(p *Provider) {
			p.Production, p.API, p.Callback = false, "", "http://localhost:3000/auth/google/callback"
		},
		"this machine, as a trial": func(p *Provider) { p.API, p.Callback = "http://[::1]:3000", "http://[::1]:3000/auth/google/callback" },
		"a clock that is behind":   func(p *Provider) { p.Skew = -30 * time.Second },
	} {
		p := google(tc)
		found := p.Check()
		if len(found) != 2 || !strings.Contains(found[0].Says, p.Callback+", which must be registered") {
			t.Errorf("%s: %+v", name, found)
		}
		for _, f := range found {
			if f.Level != Fine || f.Fix != "" || f.About != "Provider google" {
				t.Errorf("%s: %+v", name, f)
			}
		}
	}
}

// Each mistake with a provider is found, alone, by a word of what is said and one of the
// fix.
func TestPlantedFaultsOfProviders(t *testing.T) {
	t.Parallel()
	oidc := func(p *Provider) {
		p.Kind, p.Name, p.Prefix, p.Issuer, p.Callback = "oidc", "my-idp", "OIDC_MY_IDP_", "https://id.example.com/", "https://api.example.com/auth/my-idp/callback"
	}
	github := func(p *Provider) {
		p.Kind, p.Name, p.Prefix, p.Callback = "github", "github", "GITHUB_", "https://api.example.com/auth/github/callback"
	}
	for name, tc := range map[string]struct {
		change    func(*Provider)
		level     Level
		says, fix string
	}{
		"Google does not answer": {func(p *Provider) { p.Err = errors.New("google: no answer in time") }, Fault, "nobody can sign in with it: no answer", "HTTPS_PROXY"},
		"an issuer does not answer": {
			func(p *Provider) { oidc(p); p.Err = errors.New("refused") }, Fault, "nobody can sign in with it: refused",
			`OIDC_MY_IDP_ISSUER is the "issuer" in https://id.example.com/.well-known/openid-configuration`,
		},
		"GitHub does not answer":      {func(p *Provider) { github(p); p.Err = errors.New("refused") }, Fault, "nobody", "GITHUB_API_URL"},
		"another host":                {func(p *Provider) { p.Callback = "https://www.example.com/auth/google/callback" }, Fault, "back to https://www.example.com, and the API is at https://api.example.com", "GOOGLE_CALLBACK_URL=https://api.example.com/auth/google/callback"},
		"another port":                {func(p *Provider) { p.Callback = "https://api.example.com:8443/auth/google/callback" }, Fault, "https://api.example.com:8443", "GOOGLE_CALLBACK_URL=https://api.example.com/auth"},
		"another scheme":              {func(p *Provider) { p.API, p.Callback = "http://localhost", "https://localhost/auth/google/callback" }, Fault, "the API is at http://localhost", "GOOGLE_CALLBACK_URL=http://localhost/auth"},
		"an API in the clear":         {func(p *Provider) { p.API = "http://api.example.com" }, Fault, "the API is at http://api.example.com", "serve the API over https"},
		"another name of the machine": {func(p *Provider) { p.Callback, p.API = "http://127.0.0.1:1/auth/google/callback", "http://localhost:1" }, Fault, "the cookie of the sign-in", "http://localhost:1/auth"},
		"in the clear":                {func(p *Provider) { p.Callback, p.API = "http://api.example.com/auth/google/callback", "" }, Fault, "in the clear", "GOOGLE_CALLBACK_URL=https://api.example.com/auth"},
		"another route":               {func(p *Provider) { p.Callback = "https://api.example.com/auth/github/callback" }, Fault, "the route is /auth/google/callback", "=https://api.example.com/auth/google/callback"},
		"another spelling":            {func(p *Provider) { p.Callback = "https://api.example.com/auth/g%6Fogle/callback" }, Fault, "nothing awaits it", "=https://api.example.com/auth/google/callback"},
		"no address":                  {func(p *Provider) { p.Callback = "api.example.com" }, Fault, "no address of a web server", "GOOGLE_CALLBACK_URL=https://"},
		"below a path":                {func(p *Provider) { p.Callback = "https://api.example.com/api/auth/google/callback" }, Risk, "a proxy must take /api off", "=https://api.example.com/auth/google/callback"},
		"everybody's own machine":     {func(p *Provider) { p.API, p.Callback = "", "http://localhost:3000/auth/google/callback" }, Risk, "the machine of whoever signs in", "the host of the API"},
		"a clock that is ahead":       {func(p *Provider) { p.Skew = 31 * time.Second }, Risk, "31s ahead of ours", "synchronisation of time"},
		"a clock that is far behind":  {func(p *Provider) { p.Skew = -6 * time.Minute }, Fault, "6m0s behind ours: its ID tokens are refused", "synchronisation of time"},
		"GitHub's clock":              {func(p *Provider) { github(p); p.Skew = time.Hour }, Risk, "1h0m0s ahead of ours: it does not mind", "synchronisation of time"},
	} {
		found := google(tc.change).Check()
		var bad []Finding
		for _, f := range found {
			if f.Level != Fine {
				bad = append(bad, f)
			}
		}
		if len(bad) != 1 || bad[0].Level != tc.level || !strings.Contains(bad[0].Says, tc.says) || !strings.Contains(bad[0].Fix, tc.fix) {
			t.Errorf("%s: %+v", name, found)
		}
	}
}
