package main

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/oauth/oauthtest"
	"latchkey/internal/testkit"
)

// withoutRedirects is a client that does not follow redirects.
var withoutRedirects = &http.Client{
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// signInWith starts a sign-in with a provider, calls authorize, which plays the provider and returns
// the callback URL, and finishes the sign-in. It returns both redirects.
func signInWith(t *testing.T, base, provider string, authorize func(location string) (callback string)) (to *url.URL, back response) {
	t.Helper()

	started, err := fetch(withoutRedirects, "GET", base+"/auth/"+provider, "")
	testkit.NoError(t, err)
	to, err = url.Parse(started.Header.Get("Location"))
	testkit.NoError(t, err)
	callback, err := url.Parse(authorize(to.String()))
	testkit.NoError(t, err)

	path := "/auth/" + provider + "/callback?" + callback.RawQuery
	back, err = fetch(withoutRedirects, "GET", base+path, "", "Cookie", started.cookie())
	testkit.NoError(t, err)

	return to, back
}

// isSignedIn reports whether the response sets a session cookie.
func isSignedIn(res response) bool {
	for _, c := range res.Cookies() {
		if c.Name == "__Host-sid" && c.Value != "" {
			return true
		}
	}

	return false
}

func observeOIDC(t *testing.T, o *observer) {
	const callback = "https://odd.example/auth/my-idp/callback"
	issuer := oauthtest.NewIssuer(t, "odd-client", "odd-secret")
	addr, _, _ := start(t, environment(t,
		"FRONTEND_URL=https://app.example.com",
		"OIDC_MY_IDP_ISSUER="+issuer.URL,
		"OIDC_MY_IDP_CLIENT_ID=odd-client",
		"OIDC_MY_IDP_CLIENT_SECRET=odd-secret",
		"OIDC_MY_IDP_CALLBACK_URL="+callback,
		"OIDC_MY_IDP_SCOPES=openid email odd",
		"OIDC_MY_IDP_TITLE=Odd title",
	))
	base := "http://" + addr

	providers := send(t, "GET", base+"/auth/providers", "")
	o.equal(t, "OIDC_<NAME>_TITLE", strings.Contains(providers.text, `{"name":"my-idp","title":"Odd title"}`), true)

	to, back := signInWith(t, base, "my-idp", func(location string) string {
		return issuer.Authorize(t, location, map[string]any{"sub": "1", "email": "ann@example.com", "email_verified": true, "name": "Ann"})
	})
	o.equal(t, "OIDC_<NAME>_ISSUER", to.Scheme+"://"+to.Host, issuer.URL)
	o.equal(t, "OIDC_<NAME>_CLIENT_ID", to.Query().Get("client_id"), "odd-client")
	o.equal(t, "OIDC_<NAME>_CALLBACK_URL", to.Query().Get("redirect_uri"), callback)
	o.equal(t, "OIDC_<NAME>_SCOPES", to.Query().Get("scope"), "openid email odd")
	o.equal(t, "OIDC_<NAME>_CLIENT_SECRET", isSignedIn(back), true) // the issuer has checked it
}

func observeGitHub(t *testing.T, o *observer) {
	const callback = "https://odd.example/auth/github/callback"
	github := oauthtest.NewGitHub(t, "odd-client", "odd-secret")
	apiURL, err := url.Parse(github.URL)
	testkit.NoError(t, err)
	var calls atomic.Int32
	forward := httputil.NewSingleHostReverseProxy(apiURL)
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(api.Close)

	addr, _, _ := start(t, environment(t,
		"FRONTEND_URL=https://app.example.com",
		"GITHUB_URL="+github.URL,
		"GITHUB_API_URL="+api.URL+"/api/v3",
		"GITHUB_CLIENT_ID=odd-client",
		"GITHUB_CLIENT_SECRET=odd-secret",
		"GITHUB_CALLBACK_URL="+callback,
	))
	to, back := signInWith(t, "http://"+addr, "github", func(location string) string {
		return github.Authorize(t, location, oauthtest.Account{
			ID:     1,
			Login:  "ann",
			Emails: []oauthtest.Email{{Email: "ann@example.com", Primary: true, Verified: true}},
		})
	})
	o.equal(t, "GITHUB_URL", to.Scheme+"://"+to.Host, github.URL)
	o.equal(t, "GITHUB_API_URL", calls.Load() > 0, true)
	o.equal(t, "GITHUB_CLIENT_ID", to.Query().Get("client_id"), "odd-client")
	o.equal(t, "GITHUB_CALLBACK_URL", to.Query().Get("redirect_uri"), callback)
	o.equal(t, "GITHUB_CLIENT_SECRET", isSignedIn(back), true)
}

// Google has a fixed URL. Therefore the program runs in its own process, trusts the certificate of a
// server that poses as Google, and reaches that server through a proxy.
func observeGoogle(t *testing.T, o *observer) {
	const host = "accounts.google.com"
	const callback = "https://odd.example/auth/google/callback"
	certFile, keyFile := storetest.Certificate(t, t.TempDir(), host)
	certificate, err := tls.LoadX509KeyPair(certFile, keyFile)
	testkit.NoError(t, err)

	var secret atomic.Value
	google := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/token" {
			_, given, _ := r.BasicAuth()
			secret.Store(given)
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"error":"invalid_client"}`)
			return
		}

		_ = json.NewEncoder(w).Encode(map[string]any{
			"issuer":                 "https://" + host,
			"authorization_endpoint": "https://" + host + "/authorize",
			"token_endpoint":         "https://" + host + "/token",
			"jwks_uri":               "https://" + host + "/keys",
			"userinfo_endpoint":      "https://" + host + "/userinfo",
		})
	}))
	google.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	google.StartTLS()
	t.Cleanup(google.Close)

	p := startProcess(t, build(t), environment(t,
		"SSL_CERT_FILE="+certFile,
		"HTTPS_PROXY=http://"+startTunnel(t, google.Listener.Addr().String()),
		"FRONTEND_URL=https://app.example.com",
		"GOOGLE_CLIENT_ID=odd-client",
		"GOOGLE_CLIENT_SECRET=odd-secret",
		"GOOGLE_CALLBACK_URL="+callback,
	))
	to, _ := signInWith(t, "http://"+p.addr, "google", func(location string) string {
		u, err := url.Parse(location)
		testkit.NoError(t, err)

		return callback + "?code=x&state=" + u.Query().Get("state")
	})
	o.equal(t, "GOOGLE_CLIENT_ID", to.Query().Get("client_id"), "odd-client")
	o.equal(t, "GOOGLE_CALLBACK_URL", to.Query().Get("redirect_uri"), callback)
	o.equal(t, "GOOGLE_CLIENT_SECRET", secret.Load(), any("odd-secret"))
}

// startTunnel starts an HTTP proxy whose tunnels all lead to one server, and returns its host:port.
func startTunnel(t *testing.T, server string) string {
	t.Helper()

	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		client, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = client.Close() }()
		_, _ = io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n")

		conn, err := net.Dial("tcp", server)
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()

		go func() { _, _ = io.Copy(conn, client) }()
		_, _ = io.Copy(client, conn)
	}))
	t.Cleanup(proxy.Close)

	return proxy.Listener.Addr().String()
}

func observeTraces(t *testing.T, o *observer) {
	received := make(chan string, 1000)
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		received <- r.URL.Path + " " + r.Header.Get("Odd")
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(collector.Close)

	addr, _, stop := start(t, environment(t,
		"OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL+"/odd",
		"OTEL_EXPORTER_OTLP_HEADERS=odd=value",
	))
	send(t, "GET", "http://"+addr+"/auth/session", "")
	testkit.NoError(t, stop()) // sends the traces

	got := testkit.Receive(t, "traces", received)
	o.equal(t, "OTEL_EXPORTER_OTLP_ENDPOINT", strings.HasPrefix(got, "/odd/v1/traces "), true)
	o.equal(t, "OTEL_EXPORTER_OTLP_HEADERS", strings.HasSuffix(got, " value"), true)
}
