package coherence

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Value is what a read returns.
type Value struct {
	// Data is the value, which several requests share. It must not be modified.
	Data any

	// Size is the approximate memory of the value, in bytes.
	Size int

	// Server is the host:port of the Redis server that was read. It is empty if the key has none of
	// Options.Prefixes, because the value is not from Redis.
	Server string
}

// Load returns the value of a key from memory, or reads it. read must get the value from the server
// that serves the key, after it was called. Several calls for the same key read it several times: a
// read that has started earlier may return a value that has since been invalidated.
//
// Load stores values only. Its errors are those of read.
func (c *Cache) Load(ctx context.Context, key string, read func(context.Context) (Value, error)) (any, error) {
	if data := c.lookup(key); data != nil {
		c.hits.Add(1)

		return data, nil
	}
	c.misses.Add(1)

	placeholder := c.reserve(key)
	v, err := read(ctx)
	switch {
	case placeholder == nil:
	case err != nil || !c.mayStore(placeholder, v):
		c.entries.cancel(placeholder)
	default:
		c.entries.fill(placeholder, v)
	}

	return v.Data, err
}

// Peek returns the value of a key from memory, or nil.
func (c *Cache) Peek(key string) any {
	data := c.lookup(key)
	if data != nil {
		c.hits.Add(1)
	}

	return data
}

// lookup returns the value of a key if it may be used now, and otherwise nil.
func (c *Cache) lookup(key string) any {
	e := c.entries.get(key)
	if e == nil || e.data == nil {
		return nil
	}

	now := time.Now()
	if !e.stream.isLive(now) || !c.coordinator().isRegistered(now) {
		return nil
	}

	return e.data
}

// reserve leaves a placeholder for a key. It returns nil if no value may be stored, because changes to
// the key are not being reported.
func (c *Cache) reserve(key string) *entry {
	from := c.reporterOf(key)
	if !from.isLive(time.Now()) {
		return nil
	}

	return c.entries.reserve(key, from)
}

// reporterOf returns the stream on which changes to a key are reported.
func (c *Cache) reporterOf(key string) *stream {
	if c.isTracked(key) {
		return c.streamOf(c.client.ServerFor(key))
	}

	return c.coordinator()
}

// mayStore reports whether a value is from the server that reports its changes.
func (c *Cache) mayStore(placeholder *entry, v Value) bool {
	if !c.isTracked(placeholder.key) {
		return v.Server == ""
	}

	return v.Server == placeholder.stream.server
}

// isTracked reports whether Redis reports changes to a key.
func (c *Cache) isTracked(key string) bool {
	return slices.ContainsFunc(c.prefixes, func(prefix string) bool { return strings.HasPrefix(key, prefix) })
}

// Refresh is like Load, but replaces a value that Load has returned. Until the new one has been read,
// Load still returns the old one.
func (c *Cache) Refresh(ctx context.Context, key string, value any, read func(context.Context) (Value, error)) (any, error) {
	placeholder := c.entries.renew(key, value, c.reporterOf(key))
	if placeholder == nil {
		return c.Load(ctx, key, read)
	}
	c.misses.Add(1)

	v, err := read(ctx)
	if err == nil && c.mayStore(placeholder, v) {
		c.entries.fill(placeholder, v)
	}

	return v.Data, err
}

// Forget removes a value that Load has returned from the memory of this server only, for example
// because its deadline has passed and another server may have extended it.
func (c *Cache) Forget(key string, value any) { c.entries.forget(key, value) }

// Stats counts what a Cache has done since the start.
type Stats struct {
	Hits, Misses uint64

	// Reports is the number of keys that Redis or another server has reported as changed.
	Reports uint64

	// LostStreams is the number of connections that were lost, with all their values.
	LostStreams uint64

	// Unacknowledged is the number of times that a server did not acknowledge within the lease.
	Unacknowledged uint64
}

// Stats returns the current counts.
func (c *Cache) Stats() Stats {
	return Stats{
		Hits:           c.hits.Load(),
		Misses:         c.misses.Load(),
		Reports:        c.reports.Load(),
		LostStreams:    c.lostStreams.Load(),
		Unacknowledged: c.unacknowledged.Load(),
	}
}

// Bytes returns the approximate memory of all entries.
func (c *Cache) Bytes() int { return c.entries.bytes() }

// counters are the counts in Stats.
type counters struct {
	hits, misses, reports, lostStreams, unacknowledged atomic.Uint64
}
