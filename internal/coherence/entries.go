package coherence

import (
	"container/list"
	"hash/maphash"
	"sync"
)

const (
	// shardCount is the number of parts with a lock each, so that requests rarely wait for each other.
	shardCount = 256

	// entryOverhead is the approximate memory of an entry without its key and value, in bytes.
	entryOverhead = 300
)

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
