package main

import (
	"bytes"
	"embed"
	"html/template"
	"mime"
	"net"
	"net/http"
	"path"
	"time"
)

// demoFiles are the demo: a page that calls the API from an origin of its own, as a
// single-page application does.
//
//go:embed demo
var demoFiles embed.FS

// demoAssets are what the pages are made of.
var demoAssets = []string{
	"app.js", "api.js", "act.js", "dom.js", "account.js", "activity.js", "elsewhere.js", "stepup.js", "ways.js", "links.js", "mail.js",
	"style.css", "icon.svg",
}

// demo serves the page, which calls the API at a URL, and beside it the mails where there
// is an outbox. host is what the server is called.
func demo(api, host string, mails *outbox) (*http.Server, error) {
	text, err := demoFiles.ReadFile("demo/index.html")
	if err != nil {
		return nil, err
	}
	page, err := template.New("index").Parse(string(text))
	if err != nil {
		return nil, err
	}
	var index bytes.Buffer
	if err := page.Execute(&index, struct {
		API  string
		Mail bool
	}{api, mails != nil}); err != nil {
		return nil, err
	}
	policy := "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src " + api +
		"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	serve := func(name string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			body := index.Bytes()
			if name != "index.html" {
				var err error
				if body, err = demoFiles.ReadFile("demo/" + name); err != nil {
					http.NotFound(w, r)
					return
				}
			}
			h := w.Header()
			h.Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
			h.Set("Content-Security-Policy", policy)
			h.Set("Cross-Origin-Opener-Policy", "same-origin")
			h.Set("Cache-Control", "no-cache")
			h.Set("Referrer-Policy", "no-referrer")
			h.Set("X-Content-Type-Options", "nosniff")
			http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(body))
		}
	}
	mux := http.NewServeMux()
	// The links in mails lead to the latter two.
	for _, path := range []string{"/{$}", "/reset-password", "/verify-email"} {
		mux.Handle("GET "+path, serve("index.html"))
	}
	for _, name := range demoAssets {
		mux.Handle("GET /"+name, serve(name))
	}
	if mails != nil {
		if err := mails.routes(mux, host); err != nil {
			return nil, err
		}
	}
	return &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}, nil
}

// origin is how browsers write the origin of a page that a listener serves.
func origin(host string, l net.Listener) string {
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return "http://" + net.JoinHostPort(host, port)
}
