package coherence

import (
	"container/list"
	"context"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// shardCount is the number of parts with a lock each, so that requests rarely wait for each other.
	shardCount = 256

	// entryOverhead is the approximate memory of an entry without its key and value, in bytes.
	entryOverhead = 300
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

// entries are the values of a server, by key.
type entries struct {
	seed   maphash.Seed
	shards [shardCount]shard
}

// shard is a part of the entries.
type shard struct {
	mu       sync.Mutex
	elements map[string]*list.Element // of *entry
	used     list.List                // most recently used first
	size     int
	maxSize  int
}

// entry is a value, or the placeholder for one that is being read. While a value is refreshed, it is
// both.
type entry struct {
	key           string
	stream        *stream
	data          any // nil if there is only a placeholder
	size          int
	isPlaceholder bool
}

func (e *entries) init(maxBytes int) {
	e.seed = maphash.MakeSeed()
	for i := range e.shards {
		s := &e.shards[i]
		s.elements = map[string]*list.Element{}
		s.maxSize = maxBytes / shardCount
	}
}

func (e *entries) shardOf(key string) *shard {
	return &e.shards[maphash.String(e.seed, key)%shardCount]
}

// get returns the entry of a key, or nil.
func (e *entries) get(key string) *entry {
	s := e.shardOf(key)
	s.mu.Lock()
	defer s.mu.Unlock()

	element := s.elements[key]
	if element == nil {
		return nil
	}
	s.used.MoveToFront(element)

	return element.Value.(*entry)
}

// reserve returns the placeholder for a key. Concurrent readers share one: the first to finish fills it,
// and a report removes it for all of them. If each had its own, every new reader would keep the earlier
// ones from storing what they have read.
func (e *entries) reserve(key string, from *stream) *entry {
	s := e.shardOf(key)
	s.mu.Lock()
	defer s.mu.Unlock()

	if element := s.elements[key]; element != nil {
		if known := element.Value.(*entry); known.isPlaceholder && known.stream == from {
			return known
		}
	}

	placeholder := &entry{key: key, stream: from, size: len(key) + entryOverhead, isPlaceholder: true}
	s.remove(key)
	s.add(placeholder)

	return placeholder
}

// fill replaces a placeholder with its value, unless it has been removed.
func (e *entries) fill(placeholder *entry, v Value) {
	s := e.shardOf(placeholder.key)
	s.mu.Lock()
	defer s.mu.Unlock()

	if !s.has(placeholder) {
		return
	}

	s.remove(placeholder.key)
	s.add(&entry{
		key:    placeholder.key,
		stream: placeholder.stream,
		data:   v.Data,
		size:   len(placeholder.key) + entryOverhead + v.Size,
	})
}

// renew turns the entry of a value into a placeholder that keeps the value, and returns it. It returns
// nil if the value is no longer there.
func (e *entries) renew(key string, value any, from *stream) *entry {
	s := e.shardOf(key)
	s.mu.Lock()
	defer s.mu.Unlock()

	element := s.elements[key]
	if element == nil {
		return nil
	}

	known := element.Value.(*entry)
	if known.data != value || known.stream != from {
		return nil
	}
	if known.isPlaceholder {
		return known
	}

	placeholder := *known // others may be reading the entry
	placeholder.isPlaceholder = true
	element.Value = &placeholder

	return &placeholder
}

// forget removes a value, unless it has been replaced.
func (e *entries) forget(key string, value any) {
	s := e.shardOf(key)
	s.mu.Lock()
	defer s.mu.Unlock()

	if element := s.elements[key]; element != nil && element.Value.(*entry).data == value {
		s.remove(key)
	}
}

// cancel removes a placeholder, if it is still there.
func (e *entries) cancel(placeholder *entry) {
	s := e.shardOf(placeholder.key)
	s.mu.Lock()
	defer s.mu.Unlock()

	if s.has(placeholder) {
		s.remove(placeholder.key)
	}
}

// remove removes the value of a key or the placeholder for it.
func (e *entries) remove(key string) {
	s := e.shardOf(key)
	s.mu.Lock()
	defer s.mu.Unlock()

	s.remove(key)
}

// bytes returns the size of all entries.
func (e *entries) bytes() (n int) {
	for i := range e.shards {
		s := &e.shards[i]
		s.mu.Lock()
		n += s.size
		s.mu.Unlock()
	}

	return n
}

func (s *shard) has(e *entry) bool {
	element := s.elements[e.key]

	return element != nil && element.Value.(*entry) == e
}

// add adds an entry, and removes the least recently used ones if there is no room for it.
func (s *shard) add(added *entry) {
	s.elements[added.key] = s.used.PushFront(added)
	s.size += added.size

	for s.size > s.maxSize {
		s.remove(s.used.Back().Value.(*entry).key)
	}
}

func (s *shard) remove(key string) {
	element := s.elements[key]
	if element == nil {
		return
	}

	delete(s.elements, key)
	s.used.Remove(element)
	s.size -= element.Value.(*entry).size
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
