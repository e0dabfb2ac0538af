package telemetry

import (
	"cmp"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// factory makes metrics of ours in a registry.
type factory struct{ *prometheus.Registry }

func (f factory) counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help})
	f.MustRegister(c)
	return c
}

func (f factory) counters(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	f.MustRegister(c)
	return c
}

func (f factory) gauge(name, help string) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help})
	f.MustRegister(g)
	return g
}

func (f factory) histogram(name, help string, bounds []float64) prometheus.Histogram {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: bounds})
	f.MustRegister(h)
	return h
}

func (f factory) histograms(name, help string, bounds []float64, labels ...string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: bounds}, labels)
	f.MustRegister(h)
	return h
}

// commands counts those of one store.
type commands struct {
	names   values
	total   *prometheus.CounterVec
	seconds *prometheus.HistogramVec
}

func (f factory) commands(name, store string, names values, bounds []float64) commands {
	return commands{
		names:   names,
		total:   f.counters(name+"_commands_total", "Commands to "+store+", by what came of them.", "command", "outcome"),
		seconds: f.histograms(name+"_command_duration_seconds", "Time that a command to "+store+" took.", bounds, "command"),
	}
}

func (c commands) count(command, outcome string, took time.Duration) {
	command = c.names.of(command)
	c.total.WithLabelValues(command, outcome).Inc()
	c.seconds.WithLabelValues(command).Observe(took.Seconds())
}

// newBuildInfo says what is running. A build without a version has the one that Go
// gives it, "(devel)".
func newBuildInfo() prometheus.Collector {
	version, revision := build()
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info", Help: "1, with what is running in its labels.",
		ConstLabels: prometheus.Labels{"version": version, "revision": revision, "goversion": runtime.Version()},
	})
	g.Set(1)
	return g
}

// build returns the version of the program and the commit that it was built from, as
// far as the build knows them.
func build() (version, revision string) {
	version, revision = "unknown", "unknown"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return version, revision
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			revision = s.Value
		}
	}
	return cmp.Or(info.Main.Version, version), revision
}
