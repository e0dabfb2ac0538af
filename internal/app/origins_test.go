package app

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"latchkey/internal/config"
	"latchkey/internal/doctor"
	"latchkey/internal/testkit"
)

// TestTrustedOrigins starts the server in every environment. Local pages on ports that are not listed
// may call it in development only, and the doctor predicts what the server does.
func TestTrustedOrigins(t *testing.T) {
	t.Parallel()

	const listed = "http://localhost:4000"
	local := []string{"http://localhost:5173", "http://127.0.0.1:5173", "http://[::1]:5173", "http://localhost"}
	foreign := []string{
		"http://localhost.evil.example:5173", "http://127.0.0.2:5173", "https://localhost:5173", "http://192.168.1.2:5173",
		"http://app.localhost:5173", "https://evil.example", "null",
	}

	for _, env := range []string{config.Production, config.Development, config.Test} {
		c := load(t, env, listed)
		a, err := New(t.Context(), c, nil, io.Discard)
		testkit.NoError(t, err)
		t.Cleanup(func() {
			_ = a.listener.Close()
			a.close()
		})

		for _, origin := range slices.Concat([]string{listed}, local, foreign) {
			want := origin == listed || env == config.Development && slices.Contains(local, origin)
			if got := mayPreflight(a.api, origin); got != want {
				t.Errorf("%s: preflight from %s: got allowed %v, want %v", env, origin, got, want)
			}
			if got := mayLogOut(a.api, origin); got != want {
				t.Errorf("%s: POST from %s: got allowed %v, want %v", env, origin, got, want)
			}
			if got := doctorAllows(c, origin); got != want && origin != "null" {
				t.Errorf("%s: doctor about %s: got allowed %v, want %v", env, origin, got, want)
			}
		}
	}
}

// load returns the settings of a server without stores.
func load(t *testing.T, env, frontendURL string) config.Config {
	t.Helper()

	c, err := config.Load(map[string]string{
		"APP_ENV":         env,
		"HOST":            "127.0.0.1",
		"PORT":            "0",
		"SESSION_SECRET":  "Zm9ydHktdHdvIGNoYXJhY3RlcnMgb2YgcmFuZG9tbmVzcw",
		"MONGODB_URI":     "mongodb://127.0.0.1:1/x",
		"REDIS_URI":       "redis://127.0.0.1:1",
		"TRUSTED_PROXIES": "127.0.0.1",
		"FRONTEND_URL":    frontendURL,
	})
	testkit.NoError(t, err)

	return c
}

// mayPreflight reports whether a page may send requests with JSON and the cookie.
func mayPreflight(api http.Handler, origin string) bool {
	r := httptest.NewRequest(http.MethodOptions, "http://api.example.com/auth/login", nil)
	r.Header.Set("Origin", origin)
	r.Header.Set("Access-Control-Request-Method", "POST")
	r.Header.Set("Access-Control-Request-Headers", "content-type")
	w := httptest.NewRecorder()
	api.ServeHTTP(w, r)

	return w.Code == http.StatusNoContent && w.Header().Get("Access-Control-Allow-Origin") == origin
}

// mayLogOut reports whether the server handles a request that needs no preflight.
func mayLogOut(api http.Handler, origin string) bool {
	r := httptest.NewRequest(http.MethodPost, "http://api.example.com/auth/logout", nil)
	r.Header.Set("Origin", origin)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	w := httptest.NewRecorder()
	api.ServeHTTP(w, r)

	return w.Code != http.StatusForbidden
}

// doctorAllows reports whether the doctor expects the server to allow a page.
func doctorAllows(c config.Config, origin string) bool {
	for _, f := range doctor.Browser(browserSetup(c), origin, "http://api.example.com") {
		if f.Subject == "CORS" {
			return f.Level == doctor.OK
		}
	}

	return false
}
