package coherence

import (
	"context"
	"crypto/rand"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/redisconn"
)

// Options are the settings of a Cache.
type Options struct {
	// Prefixes are those of the keys in Redis whose values are cached.
	Prefixes []string

	// MaxBytes bounds the memory of the values.
	MaxBytes int

	Log *slog.Logger
}

// Cache is the memory of one server. It is safe for concurrent use.
type Cache struct {
	client   *redisconn.Client
	id       string // of this server, until it is restarted
	prefixes []string
	log      *slog.Logger
	dial     func(ctx context.Context, server string) (redis.Conn, error)

	entries entries
	changes changes
	acks    chan ack                  // to be sent
	joined  atomic.Pointer[time.Time] // when other servers might not be registered yet: see join
	counters

	// attempts counts the attempts to register this server. registered is the number of the one that
	// succeeded, as far as this server knows.
	attempts, registered atomic.Int64

	ctx   context.Context // ends with Close
	stop  context.CancelFunc
	tasks sync.WaitGroup

	followers atomic.Pointer[map[string]*follower] // by host:port; replaced as a whole
}

// New returns a Cache that follows all servers of client. Call Close when it is no longer needed,
// before client is closed.
func New(client *redisconn.Client, o Options) *Cache {
	c := newCache(client, o)
	c.start()

	return c
}

// newCache returns a Cache that is not started.
func newCache(client *redisconn.Client, o Options) *Cache {
	c := &Cache{
		client:   client,
		id:       rand.Text(),
		prefixes: o.Prefixes,
		log:      o.Log,
		dial:     client.Dial,
		changes:  changes{acks: map[string]chan string{}},
		acks:     make(chan ack, maxAcks),
	}
	c.ctx, c.stop = context.WithCancel(context.Background())
	c.entries.init(o.MaxBytes)
	c.followers.Store(&map[string]*follower{})

	return c
}

func (c *Cache) start() {
	c.log.Info("keeping sessions in memory", "id", c.id) // by which other servers name this one in their logs
	c.tasks.Go(c.watch)
	c.tasks.Go(c.sendAcks)
}

// Close ends all streams. Values are read from then on.
func (c *Cache) Close() {
	c.stop()
	c.tasks.Wait()

	// Otherwise the next change on another server would wait for this one.
	_, _ = c.client.Do(context.Background(), "HDEL", membersKey, c.id)
}

// watch follows the servers that serve keys until Close.
func (c *Cache) watch() {
	ticker := time.NewTicker(beatInterval)
	defer ticker.Stop()

	for c.ctx.Err() == nil {
		c.followOnly(c.client.Servers())
		select {
		case <-c.ctx.Done():
		case <-ticker.C:
		}
	}
}

// followOnly starts to follow new servers, and stops following those that no longer serve keys.
func (c *Cache) followOnly(servers []string) {
	before := *c.followers.Load()
	if len(before) == len(servers) && !slices.ContainsFunc(servers, func(s string) bool { return before[s] == nil }) {
		return
	}

	after := map[string]*follower{}
	for _, server := range servers {
		f := before[server]
		if f == nil {
			following, stop := context.WithCancel(c.ctx)
			f = newFollower(c, server, stop)
			c.tasks.Go(func() { f.run(following) })
		}
		after[server] = f
	}

	c.followers.Store(&after)
	for server, f := range before {
		if after[server] == nil {
			f.stop()
			f.replace(noStream)
		}
	}
}

// streamOf returns the current stream of a server.
func (c *Cache) streamOf(server string) *stream {
	if f := (*c.followers.Load())[server]; f != nil {
		return f.current.Load()
	}

	return noStream
}

// coordinator returns the stream of the server with membersKey.
func (c *Cache) coordinator() *stream { return c.streamOf(c.client.ServerFor(membersKey)) }
