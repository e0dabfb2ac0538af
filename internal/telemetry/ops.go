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
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// maxScrapes is the maximum number of concurrent scrapes.
const maxScrapes = 4

// Ops returns the handler of the private ops listener: /metrics for Prometheus, /debug/pprof/ for
// profiles, /healthz (the process is running) and /readyz (ready returns nil). Everything else
// is 404.
//
// The handler has no authentication and must never be public: profiles reveal the program's
// internals and slow it down, and the metrics reveal how many users log in. Use a listen
// address that only operators can reach, and never expose it through a proxy (OWASP ASVS 5.0
// 13.4.2, 13.4.5).
func Ops(m *Metrics, ready func(context.Context) error, log *slog.Logger) http.Handler {
	// Do not use http.DefaultServeMux: any imported package can add handlers to it.
	mux := http.NewServeMux()
	if m != nil {
		mux.Handle("GET /metrics", m.handler(log))
	}

	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
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
		w.Header().Set("X-Content-Type-Options", "nosniff")

		mux.ServeHTTP(w, r)
	})
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
