package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"latchkey/internal/webguard"
)

// maxScrapes is the maximum number of concurrent scrapes.
const maxScrapes = 4

// Ops returns the handler of the private ops listener: /metrics for Prometheus, /debug/pprof/ for
// profiles, /healthz (the process is running) and /readyz (ready returns nil). Everything else is
// 404. hosts are the host names that requests may use, besides IPs and names without a dot.
//
// The handler has no authentication and must never be public: profiles reveal the program's
// internals and slow it down, and the metrics reveal how many users log in. Use a listen address
// that only operators can reach, and never expose it through a proxy (OWASP ASVS 5.0 13.4.2,
// 13.4.5). The handler refuses requests that web pages in an operator's browser could make.
func Ops(m *Metrics, ready func(context.Context) error, hosts []string, log *slog.Logger) http.Handler {
	// Do not use http.DefaultServeMux: any imported package can add handlers to it.
	mux := http.NewServeMux()
	if m != nil {
		mux.Handle("GET /metrics", m.handler(log))
	}

	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", oneAtATime(pprof.Profile))
	mux.HandleFunc("GET /debug/pprof/trace", oneAtATime(pprof.Trace))
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol)

	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "ok\n")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := ready(r.Context()); err != nil {
			http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
			return
		}

		_, _ = io.WriteString(w, "ready\n")
	})

	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Content-Security-Policy", opsPolicy)
		w.Header().Set("Cross-Origin-Resource-Policy", "same-origin")
		w.Header().Set("X-Content-Type-Options", "nosniff")

		switch {
		case !webguard.OwnHost(r, hosts...):
			http.Error(w, "unknown host name; use an IP, or add the name to OPS_HOSTS", http.StatusMisdirectedRequest)
		case webguard.CrossSite(r):
			http.Error(w, "pages on other sites may not request this URL", http.StatusForbidden)
		default:
			mux.ServeHTTP(w, r)
		}
	})
}

// opsPolicy is the Content-Security-Policy of the ops listener. The index page of pprof has styles
// but no scripts.
const opsPolicy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// oneAtATime refuses a request while another one is running. The process can record one profile and
// one trace at a time, and package pprof would respond with 500.
func oneAtATime(h http.HandlerFunc) http.HandlerFunc {
	var running sync.Mutex

	return func(w http.ResponseWriter, r *http.Request) {
		if !running.TryLock() {
			w.Header().Set("Retry-After", "30")
			http.Error(w, "another recording is in progress; try again when it is complete", http.StatusServiceUnavailable)
			return
		}
		defer running.Unlock()

		h(w, r)
	}
}

// handler serves the metrics. A metric that cannot be collected is logged and omitted: during an
// outage, the other metrics are needed most.
func (m *Metrics) handler(log *slog.Logger) http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog:            scrapeLog{&errorLog{log: log, message: "metrics collection failed", now: time.Now}},
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: maxScrapes,
	})
}

// scrapeLog logs scrape errors.
type scrapeLog struct{ *errorLog }

// Println implements promhttp.Logger.
func (l scrapeLog) Println(v ...any) {
	l.Handle(errors.New(strings.TrimSpace(fmt.Sprintln(v...))))
}
