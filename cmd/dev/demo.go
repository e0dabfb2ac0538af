package main

import (
	"embed"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"

	"latchkey/internal/app"
	"latchkey/internal/brand"
	"latchkey/internal/config"
	"latchkey/internal/origin"
	"latchkey/internal/pages"
	"latchkey/internal/returnto"
)

//go:embed demo
var demoFiles embed.FS

var outboxTemplate = template.Must(template.ParseFS(demoFiles, "demo/outbox.html"))

// newDemo returns a server for the demo: the built-in pages, which call the API from another origin,
// with a log of the calls. Unless emails is nil, it also serves the outbox. host is the name that
// browsers use for the server, and demo the origin.
func newDemo(c config.Config, api, demo, host string, emails *outbox) (*http.Server, error) {
	options := pages.Options{
		Brand:                brand.Brand{Name: c.Brand.Name, URL: c.Brand.URL, Color: c.Brand.Color, LogoURL: c.Brand.LogoURL},
		API:                  api,
		Registration:         string(c.Registration.Mode),
		DefaultLocale:        c.Brand.DefaultLocale,
		RequireVerifiedEmail: c.Registration.RequireVerifiedEmail,
		OffersFactors:        len(c.Factors.DataKeys) > 0,
		RequireFactor:        c.Factors.Require == config.MFAAll,
		SendsEmail:           true, // to the outbox or to SMTP_URL
		MinPassword:          c.Accounts.PasswordMinLength,
		ReturnTo: func(given string) (string, bool) {
			return returnto.Check(origin.Trusted{Listed: []string{demo}, Loopback: true}, given)
		},
		Demo: &pages.Demo{DocsURL: api + "/docs"},
	}
	for _, p := range c.Providers {
		options.Providers = append(options.Providers, pages.Provider{Name: p.Name, Title: p.Title})
	}
	if emails != nil {
		options.Demo.OutboxURL = "mail"
	}

	site, err := pages.New(options)
	if err != nil {
		return nil, err
	}

	mux := http.NewServeMux()
	mux.Handle("GET /", site)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		// The API redirects failed sign-ins to the first FRONTEND_URL, with an error parameter.
		w.Header().Set("Location", (&url.URL{Path: "/signin", RawQuery: r.URL.RawQuery}).String())
		w.WriteHeader(http.StatusFound)
	})
	if emails != nil {
		emails.addRoutes(mux, host, site)
	}

	return app.NewServer(mux, slog.Default()), nil
}

// setHeaders sets the headers of the outbox.
func setHeaders(h http.Header, policy string) {
	h.Set("Content-Security-Policy", policy)
	h.Set("Cache-Control", "no-store")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
}
