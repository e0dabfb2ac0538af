package telemetry

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// scrapeTimeout is how long what is asked for a scrape may take. Prometheus waits 10
// seconds for all of it.
const scrapeTimeout = 2 * time.Second

// reading is a gauge that is asked when someone looks.
type reading struct {
	descs []*prometheus.Desc
	read  func(emit func(i int, value float64)) // i is the place in descs
}

// Describe implements prometheus.Collector.
func (r *reading) Describe(to chan<- *prometheus.Desc) {
	for _, desc := range r.descs {
		to <- desc
	}
}

// Collect implements prometheus.Collector.
func (r *reading) Collect(to chan<- prometheus.Metric) {
	r.read(func(i int, value float64) {
		to <- prometheus.MustNewConstMetric(r.descs[i], prometheus.GaugeValue, value)
	})
}

func describe(name, help string, labels prometheus.Labels) *prometheus.Desc {
	return prometheus.NewDesc(namespace+"_"+name, help, nil, labels)
}

// observe has a reading take the place of one of the same name and labels.
func (m *Metrics) observe(read func(emit func(i int, value float64)), descs ...*prometheus.Desc) {
	r := &reading{descs, read}
	m.registry.Unregister(r)
	m.registry.MustRegister(r)
}

// ObserveHashQueue has waiting asked how many passwords wait to be hashed.
func (m *Metrics) ObserveHashQueue(waiting func() int) {
	if m == nil {
		return
	}
	m.observe(func(emit func(int, float64)) { emit(0, float64(waiting())) },
		describe("password_hash_queue", "Passwords that wait to be hashed.", nil))
}

// ObserveMailQueue has length asked how many letters wait, in the queue that all
// processes share. Where it fails there is no value, because 0 would be a lie.
func (m *Metrics) ObserveMailQueue(length func(context.Context) (int, error)) {
	if m == nil {
		return
	}
	m.observe(func(emit func(int, float64)) {
		ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
		defer cancel()
		if n, err := length(ctx); err == nil {
			emit(0, float64(n))
		}
	}, describe("mails_queued", "Letters that wait, in the queue that all processes share.", nil))
}

// ObserveStore has ping asked whether a store answers: "redis" or "mongodb".
func (m *Metrics) ObserveStore(store string, ping func(context.Context) error) {
	if m == nil {
		return
	}
	m.observe(func(emit func(int, float64)) {
		ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
		defer cancel()
		up := 1.
		if ping(ctx) != nil {
			up = 0
		}
		emit(0, up)
	}, describe("store_up", "Whether a store answers this process: 1 or 0.", prometheus.Labels{"store": stores.of(store)}))
}

// ObserveRedisConnections has count asked for the connections of this process to Redis,
// to all its servers together.
func (m *Metrics) ObserveRedisConnections(count func() (idle, inUse int)) {
	if m == nil {
		return
	}
	m.observe(func(emit func(int, float64)) {
		idle, inUse := count()
		emit(0, float64(idle))
		emit(1, float64(inUse))
	}, connections("redis", "Redis")...)
}

// connections are the descriptions of the idle ones and of those in use, in this order.
func connections(name, store string) []*prometheus.Desc {
	help := "Connections of this process to " + store + "."
	return []*prometheus.Desc{
		describe(name+"_connections", help, prometheus.Labels{"state": "idle"}),
		describe(name+"_connections", help, prometheus.Labels{"state": "in_use"}),
	}
}
