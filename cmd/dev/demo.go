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

// demo serves the page, which calls the API at a URL.
func demo(api string) (*http.Server, error) {
	text, err := demoFiles.ReadFile("demo/index.html")
	if err != nil {
		return nil, err
	}
	page, err := template.New("index").Parse(string(text))
	if err != nil {
		return nil, err
	}
	var index bytes.Buffer
	if err := page.Execute(&index, struct{ API string }{api}); err != nil {
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
	mux.Handle("GET /{$}", serve("index.html"))
	for _, name := range []string{"app.js", "style.css", "icon.svg"} {
		mux.Handle("GET /"+name, serve(name))
	}
	return &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}, nil
}

// origin is how browsers write the origin of a page that a listener serves.
func origin(host string, l net.Listener) string {
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return "http://" + net.JoinHostPort(host, port)
}
