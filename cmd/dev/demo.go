package main

import (
	"embed"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"

	"latchkey/internal/app"
)

//go:embed demo/*.html
var pageFiles embed.FS

var pages = template.Must(template.ParseFS(pageFiles, "demo/*.html"))

//go:embed demo/*.js demo/*.css demo/*.svg
var assets embed.FS

// newDemo returns a server for the demo, a page that calls the API from another origin. Unless
// emails is nil, it also serves the outbox. host is the name that browsers use for the server.
// minPassword is the minimum length of new passwords.
func newDemo(api, host string, minPassword int, emails *outbox) (*http.Server, error) {
	files, err := fs.Sub(assets, "demo")
	if err != nil {
		return nil, err
	}

	policy := "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src " + api +
		"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	withHeaders := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			setHeaders(w.Header(), policy, "no-cache")
			w.Header().Set("Cross-Origin-Opener-Policy", "same-origin")
			next.ServeHTTP(w, r)
		})
	}
	index := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = pages.ExecuteTemplate(w, "index.html", map[string]any{
			"API":         api,
			"MinPassword": minPassword,
			"Outbox":      emails != nil,
		})
	})

	mux := http.NewServeMux()
	// Links in emails lead to /reset-password and /verify-email.
	for _, path := range []string{"/{$}", "/reset-password", "/verify-email"} {
		mux.Handle("GET "+path, withHeaders(index))
	}
	mux.Handle("GET /", withHeaders(http.FileServerFS(files)))
	if emails != nil {
		emails.addRoutes(mux, host)
	}

	return app.NewServer(mux, slog.Default()), nil
}

// setHeaders sets the headers that all pages have.
func setHeaders(h http.Header, policy, caching string) {
	h.Set("Content-Security-Policy", policy)
	h.Set("Cache-Control", caching)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
}
