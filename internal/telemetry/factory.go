package telemetry

import (
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"latchkey/internal/buildinfo"
)

// factory creates metrics with our namespace and registers them.
type factory struct{ *prometheus.Registry }

func (f factory) counterVec(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace,
		Name:      name,
		Help:      help,
	}, labels)
	f.MustRegister(c)

	return c
}

func (f factory) histogramVec(name, help string, bounds []float64, labels ...string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: namespace,
		Name:      name,
		Help:      help,
		Buckets:   bounds,
	}, labels)
	f.MustRegister(h)

	return h
}

func newGauge(name, help string, labels prometheus.Labels) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace:   namespace,
		Name:        name,
		Help:        help,
		ConstLabels: labels,
	})
}

// commands counts and times the commands sent to one store.
type commands struct {
	names   values
	total   *prometheus.CounterVec
	seconds *prometheus.HistogramVec
}

func (f factory) commands(name, store string, names values, bounds []float64) commands {
	return commands{
		names:   names,
		total:   f.counterVec(name+"_commands_total", "Commands sent to "+store+", by command and outcome.", "command", "outcome"),
		seconds: f.histogramVec(name+"_command_duration_seconds", "Duration of commands to "+store+".", bounds, "command"),
	}
}

// record records a finished command.
func (c commands) record(command, outcome string, took time.Duration) {
	command = c.names.label(command)
	c.total.WithLabelValues(command, outcome).Inc()
	c.seconds.WithLabelValues(command).Observe(took.Seconds())
}

// newBuildInfo returns a gauge whose labels identify the build.
func newBuildInfo() prometheus.Collector {
	g := newGauge("build_info", "Always 1. The labels identify the running build.",
		prometheus.Labels{
			"version":   buildinfo.Version(),
			"revision":  buildinfo.Revision(),
			"goversion": runtime.Version(),
		})
	g.Set(1)

	return g
}
