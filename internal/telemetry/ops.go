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

// Limits of the server of the private listener.
const (
	OpsReadHeaderTimeout = 5 * time.Second
	OpsReadTimeout       = 5 * time.Second
	// OpsWriteTimeout leaves time for a profile of two minutes.
	OpsWriteTimeout   = 150 * time.Second
	OpsIdleTimeout    = 2 * time.Minute
	OpsMaxHeaderBytes = 16 << 10
)

// maxScrapes is how many ask for the metrics at a time.
const maxScrapes = 4

// Ops is what the private listener answers: /metrics for Prometheus, /debug/pprof/ for
// profiles, /healthz (the process lives) and /readyz (nothing is wrong, as ready says),
// and 404 for the rest.
//
// It must never be public, because it asks nobody who they are: profiles tell what the
// program is made of and slow it down while they run, the metrics tell how many log in.
// Let it listen where only those who run the server
// can connect, and let no proxy lead there (OWASP ASVS 5.0 13.4.2, 13.4.5).
func Ops(m *Metrics, ready func(context.Context) error, log *slog.Logger) http.Handler {
	// Not http.DefaultServeMux, into which every package that is linked in can write.
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
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := ready(r.Context()); err != nil {
			say(w, http.StatusServiceUnavailable, "not ready: "+err.Error())
			return
		}
		say(w, http.StatusOK, "ready")
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		mux.ServeHTTP(w, r)
	})
}

func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n")
}

// handler answers with the metrics. What cannot be collected is left out and logged: the
// rest is still needed, then more than ever.
func (m *Metrics) handler(log *slog.Logger) http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog: scrapeLog{&complaints{log: log, about: "trouble with the metrics", now: time.Now}}, ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: maxScrapes,
	})
}

// scrapeLog takes what goes wrong with an answer.
type scrapeLog struct{ *complaints }

// Println implements promhttp.Logger.
func (l scrapeLog) Println(v ...any) {
	l.Handle(errors.New(strings.TrimSpace(fmt.Sprintln(v...))))
}
