package coherence

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/redisconn"
)

// follower keeps the stream of one Redis server open.
type follower struct {
	cache   *Cache
	server  string
	current atomic.Pointer[stream]
	stop    context.CancelFunc
	failing bool
	arrived int64 // the number of the last beat that has arrived on the current connection, or 0

	mu    sync.Mutex
	last  int64          // the number of the last beat
	beats map[int64]beat // the last ones that have not arrived, by number
}

func newFollower(c *Cache, server string, stop context.CancelFunc) *follower {
	f := &follower{cache: c, server: server, stop: stop, beats: map[int64]beat{}}
	f.current.Store(noStream)

	return f
}

// run follows the server until ctx ends.
func (f *follower) run(ctx context.Context) {
	pause := beatInterval
	for ctx.Err() == nil {
		opened := time.Now()
		err := f.follow(ctx)
		hadStream := f.current.Load() != noStream
		f.replace(noStream)
		if ctx.Err() != nil {
			return
		}

		if hadStream {
			f.cache.lostStreams.Add(1)
		}
		if !f.failing {
			f.cache.log.Warn("cannot follow changes in Redis: values are read instead of cached, and changes wait a quarter of a second", "server", f.server, "error", err)
		}
		f.failing = true

		if time.Since(opened) > maxPause {
			pause = beatInterval
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, maxPause)
	}
}

// isCoordinator reports whether servers register at the server that f follows.
func (f *follower) isCoordinator() bool { return f.cache.client.ServerFor(membersKey) == f.server }

// replace makes s the current stream. The values of the previous one can no longer be used.
func (f *follower) replace(s *stream) {
	previous := f.current.Swap(s)
	if previous != noStream {
		previous.close()
	}
}

// restart drops the values of the stream, because messages may be missing. If it is the stream of the
// coordinator, restart drops all values: see rule 6.
func (f *follower) restart() {
	f.replace(&stream{server: f.server})
	if !f.isCoordinator() {
		return
	}

	for _, other := range *f.cache.followers.Load() {
		before := other.current.Load()
		if other != f && before != noStream && other.current.CompareAndSwap(before, &stream{server: other.server}) {
			before.close()
		}
	}
}

// follow opens a stream and handles what arrives, until the connection is lost or ctx ends.
func (f *follower) follow(ctx context.Context) error {
	conn, err := f.cache.dial(ctx, f.server)
	if err != nil {
		return err
	}
	closeConn := func() { _ = conn.Close() }
	defer closeConn()
	defer context.AfterFunc(ctx, closeConn)() // ends the wait for the next message

	channels := []any{reportChannel, f.beatChannel(), changesChannel, f.cache.ackChannel(f.cache.id)}
	if err := subscribe(conn, f.cache.prefixes, channels); err != nil {
		return err
	}
	// Other errors may be temporary, and then the next beats arrive.
	if err := checkRegistration(ctx, f.cache.client); redisconn.Code(err) == "NOPERM" {
		return err
	}

	f.arrived = 0
	f.cache.join() // it may be a new coordinator
	f.restart()

	beating, stopBeats := context.WithCancel(ctx)
	var beats sync.WaitGroup
	beats.Go(func() { f.sendBeats(beating) })
	defer beats.Wait()
	defer stopBeats()

	for ctx.Err() == nil {
		message, err := redis.Values(redis.ReceiveWithTimeout(conn, silence))
		if err != nil {
			return err
		}

		if err := f.handle(message); err != nil {
			return err
		}
	}

	return ctx.Err()
}

// subscribe turns a new connection into a stream.
func subscribe(conn redis.Conn, prefixes []string, channels []any) error {
	id, err := redis.Int64(conn.Do("CLIENT", "ID"))
	if err != nil {
		return fmt.Errorf("CLIENT ID: %w", err)
	}

	tracking := []any{"TRACKING", "ON", "REDIRECT", id, "BCAST"}
	for _, prefix := range prefixes {
		tracking = append(tracking, "PREFIX", prefix)
	}
	if _, err := conn.Do("CLIENT", tracking...); err != nil {
		return fmt.Errorf("CLIENT TRACKING: %w", err)
	}

	if err := conn.Send("SUBSCRIBE", channels...); err != nil {
		return err
	}
	if err := conn.Flush(); err != nil {
		return err
	}
	for range channels {
		if _, err := conn.Receive(); err != nil {
			return fmt.Errorf("SUBSCRIBE: %w", err)
		}
	}

	return nil
}

// beatChannel is the channel of the beats to one Redis server. In a cluster, messages reach the
// subscribers of all servers.
func (f *follower) beatChannel() string { return "latchkey:beat:" + f.cache.id + ":" + f.server }

// sendBeats sends beats until ctx ends.
func (f *follower) sendBeats(ctx context.Context) {
	ticker := time.NewTicker(beatInterval)
	defer ticker.Stop()

	for ctx.Err() == nil {
		f.sendBeat(ctx)
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

// sendBeat sends a beat. A failure needs no handling, because the beat does not arrive.
func (f *follower) sendBeat(ctx context.Context) {
	b := beat{sent: time.Now(), registers: f.isCoordinator()}

	f.mu.Lock()
	f.last++
	n := f.last
	f.beats[n] = b
	delete(f.beats, n-int64(silence/beatInterval)) // it will not arrive any more
	f.mu.Unlock()

	if b.registers {
		f.cache.register(ctx, n, f.beatChannel())
	} else {
		_, _ = f.cache.client.DoAt(ctx, f.server, "PUBLISH", f.beatChannel(), n)
	}
}

// handle handles a message: its kind, its channel and its payload.
func (f *follower) handle(message []any) error {
	var kind, channel string
	if len(message) != 3 {
		return errors.New("unexpected message")
	}
	if err := redisconn.Scan(message[:2], nil, &kind, &channel); err != nil {
		return err
	}

	if channel == reportChannel {
		return f.handleReport(message[2])
	}

	payload, err := redis.String(message[2], nil)
	if err != nil {
		return err
	}

	switch channel {
	case f.beatChannel():
		n, err := strconv.ParseInt(payload, 10, 64)
		if err != nil {
			return err
		}
		f.confirm(n)
	case changesChannel:
		f.cache.receiveChanges(payload)
	case f.cache.ackChannel(f.cache.id):
		f.cache.receiveAck(payload)
	}

	return nil
}

// confirm records that a beat has arrived. If others are missing, reports may be missing, too.
func (f *follower) confirm(n int64) {
	if f.arrived != 0 && n != f.arrived+1 {
		f.restart()
	}
	f.arrived = n

	f.mu.Lock()
	b, ok := f.beats[n]
	delete(f.beats, n)
	f.mu.Unlock()

	if ok {
		f.current.Load().confirm(b)
	}

	if f.failing {
		f.failing = false
		f.cache.log.Info("following changes in Redis again", "server", f.server)
	}
}

// handleReport removes the keys that Redis reports as changed. Redis reports nil when it has deleted
// all keys (FLUSHALL).
func (f *follower) handleReport(payload any) error {
	if payload == nil {
		f.restart() // this server's registration is lost, too

		return nil
	}

	keys, err := redis.Strings(payload, nil)
	if err != nil {
		return err
	}

	for _, key := range keys {
		f.cache.entries.remove(key)
	}
	f.cache.reports.Add(uint64(len(keys)))

	return nil
}
