package telemetry

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// scrapeTimeout limits each query that a scrape makes to a store. Prometheus waits 10 seconds for
// the whole scrape.
const scrapeTimeout = 2 * time.Second

// observe registers a gauge that calls read at every scrape. It replaces any gauge with the same
// name and labels.
func (m *Metrics) observe(name, help string, labels prometheus.Labels, read func() float64) {
	if m == nil {
		return
	}

	m.replace(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace:   namespace,
		Name:        name,
		Help:        help,
		ConstLabels: labels,
	}, read))
}

func (m *Metrics) replace(c prometheus.Collector) {
	m.registry.Unregister(c)
	m.registry.MustRegister(c)
}

// ObserveHashQueue exports the number of passwords that are waiting to be hashed or compared, as
// returned by waiting.
func (m *Metrics) ObserveHashQueue(waiting func() int) {
	m.observe("password_hash_queue", "Passwords waiting to be hashed or compared.", nil,
		func() float64 { return float64(waiting()) })
}

// CacheCounts are the counts of a cache since the start.
type CacheCounts struct {
	// Hits and Misses are the numbers of values from memory, and of those that were read.
	Hits, Misses uint64

	// Reports is the number of values that were reported as changed.
	Reports uint64

	// LostStreams is the number of times that all values were dropped, because changes might have been
	// missed.
	LostStreams uint64

	// Unacknowledged is the number of times that another server did not acknowledge a change.
	Unacknowledged uint64
}

// ObserveSessionCache exports the memory for sessions, in bytes, and what it has been used for.
func (m *Metrics) ObserveSessionCache(size func() int, counts func() CacheCounts) {
	m.observe("session_cache_bytes", "Memory for sessions and accounts.", nil, func() float64 { return float64(size()) })

	for name, counter := range map[string]struct {
		help string
		read func(CacheCounts) uint64
	}{
		"session_cache_hits_total":           {"Sessions and accounts that were found in memory.", func(c CacheCounts) uint64 { return c.Hits }},
		"session_cache_misses_total":         {"Sessions and accounts that were read from Redis or MongoDB.", func(c CacheCounts) uint64 { return c.Misses }},
		"session_cache_reports_total":        {"Sessions and accounts that were reported as changed.", func(c CacheCounts) uint64 { return c.Reports }},
		"session_cache_lost_streams_total":   {"Lost connections on which Redis reports changes. Each loss drops sessions and accounts from memory.", func(c CacheCounts) uint64 { return c.LostStreams }},
		"session_cache_unacknowledged_total": {"Changes that another server did not acknowledge in time.", func(c CacheCounts) uint64 { return c.Unacknowledged }},
	} {
		m.observeCounter(name, counter.help, func() float64 { return float64(counter.read(counts())) })
	}
}

// observeCounter registers a counter that calls read at every scrape.
func (m *Metrics) observeCounter(name, help string, read func() float64) {
	if m == nil {
		return
	}

	m.replace(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Namespace: namespace,
		Name:      name,
		Help:      help,
	}, read))
}

// mailQueue is a gauge that has no value while the length of the queue is unknown. Reporting 0 would
// be wrong.
type mailQueue struct {
	prometheus.Gauge
	length func(context.Context) (int, error)
}

// Collect implements prometheus.Collector.
func (q mailQueue) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()

	if n, err := q.length(ctx); err == nil {
		q.Set(float64(n))
		q.Gauge.Collect(ch)
	}
}

// ObserveMailQueue exports the number of queued emails, as returned by length. While length
// returns an error, the metric has no value.
func (m *Metrics) ObserveMailQueue(length func(context.Context) (int, error)) {
	if m == nil {
		return
	}

	m.replace(mailQueue{
		Gauge:  newGauge("mails_queued", "Emails in the queue, which all processes share.", nil),
		length: length,
	})
}

// ObserveStore exports whether this process can use a store ("redis" or "mongodb"): 1 if check
// returns nil, and 0 otherwise.
func (m *Metrics) ObserveStore(store string, check func(context.Context) error) {
	m.observe("store_up", "Whether this process can use the store (1) or not (0).", prometheus.Labels{"store": store}, func() float64 {
		ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
		defer cancel()

		if check(ctx) != nil {
			return 0
		}

		return 1
	})
}

// ObserveRedisConnections exports the number of connections from this process to all Redis
// servers, as returned by count.
func (m *Metrics) ObserveRedisConnections(count func() (idle, inUse int)) {
	m.observeConnections("redis", "Redis", count)
}

func (m *Metrics) observeConnections(name, store string, count func() (idle, inUse int)) {
	observe := func(state string, read func() int) {
		m.observe(name+"_connections", "Connections from this process to "+store+", by state.", prometheus.Labels{"state": state},
			func() float64 { return float64(read()) })
	}

	observe("idle", func() int {
		idle, _ := count()
		return idle
	})
	observe("in_use", func() int {
		_, inUse := count()
		return inUse
	})
}
