package coherence

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/redisconn"
)

const (
	// membersKey is the hash of the servers that may have a lease. A value consists of the number of the
	// attempt that registered the server and the number of its last beat.
	membersKey = "members"

	// changesChannel is the channel of the keys that have changed.
	changesChannel = "latchkey:changes"

	// ackTimeout is how long Invalidate waits for acknowledgements. The difference to the lease allows
	// for clocks that run at different speeds.
	ackTimeout = lease + lease/10

	// settleTime is how long the servers may take to register again at a new coordinator. It allows for
	// the time until they know of it.
	settleTime = 4 * lease

	// maxAcks is the maximum number of acknowledgements that wait to be sent. Further ones are not sent,
	// which only delays the change.
	maxAcks = 1024
)

func (c *Cache) ackChannel(id string) string { return "latchkey:ack:" + id }

// beatScript registers a server and sends it a beat in one step: see rule 4. It returns the number of
// the attempt that registered the server. PUBLISH comes first: if Redis refuses it, the server is not
// registered.
var beatScript = redisconn.NewScript(1, `
redis.call('PUBLISH', ARGV[4], ARGV[3])

local before = redis.call('HGET', KEYS[1], ARGV[1])
local attempt = before and string.match(before, '^%d+') or ARGV[2]
redis.call('HSET', KEYS[1], ARGV[1], attempt .. ' ' .. ARGV[3])

return attempt`)

// register registers this server as one that may have a lease, unless it is registered already.
func (c *Cache) register(ctx context.Context, beat int64, channel string) {
	attempt := c.attempts.Add(1)
	registered, err := redisconn.Int64(c.client.Eval(ctx, beatScript, membersKey, c.id, attempt, beat, channel))
	if err == nil && registered != c.registered.Load() {
		c.join() // first, because isComplete reads the two in the opposite order
		c.registered.Store(registered)
	}
}

// join records that other servers may not be registered yet.
func (c *Cache) join() {
	now := time.Now()
	c.joined.Store(&now)
}

// isComplete reports whether the members include all servers that may have a lease. registration is
// the value of this server in membersKey. If it is from an attempt that this server does not know to
// have succeeded, registrations were lost, and those of other servers may still be missing.
func (c *Cache) isComplete(registration string) bool {
	attempt, _, _ := strings.Cut(registration, " ")

	return attempt == strconv.FormatInt(c.registered.Load(), 10) && c.knowsMembers()
}

// knowsMembers reports whether other servers have had time to register since this one did.
func (c *Cache) knowsMembers() bool {
	joined := c.joined.Load()

	return joined != nil && time.Since(*joined) > settleTime
}

// publishScript publishes a message and returns the registered servers in one step: see rule 5.
var publishScript = redisconn.NewScript(1, `
redis.call('PUBLISH', ARGV[1], ARGV[2])

return redis.call('HGETALL', KEYS[1])`)

// removeScript removes a server, unless that has sent another beat. It returns whether the server was
// removed.
var removeScript = redisconn.NewScript(1, `
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then
  return 0
end

return redis.call('HDEL', KEYS[1], ARGV[1])`)

// Invalidate removes keys from the memory of all servers. Call it after the values have changed and
// before the change is reported as done. When it returns, no server uses the old values any more. It
// does not return early when ctx is cancelled. Keys must not contain spaces.
//
// It returns the number of servers that did not acknowledge. They have no lease any more, so the
// guarantee holds for them, too. Errors: redisconn.ErrUnavailable; then the guarantee holds only for
// keys with one of Options.Prefixes.
func (c *Cache) Invalidate(ctx context.Context, keys ...string) (unacknowledged int, err error) {
	for _, key := range keys {
		c.entries.remove(key)
	}

	number, acks := c.changes.add()
	defer c.changes.remove(number)

	// Without a stream, no acknowledgement can arrive.
	isListening := c.coordinator().isRegistered(time.Now())

	message := strings.Join(append([]string{c.id, number}, keys...), " ")
	members, err := redis.StringMap(c.client.Eval(ctx, publishScript, membersKey, changesChannel, message))
	timeout := time.NewTimer(ackTimeout)
	defer timeout.Stop()

	if err != nil {
		// Redis reports changes to its own keys. After one lease, all servers have received that report
		// or have no lease any more.
		<-timeout.C
		c.log.WarnContext(ctx, "cannot tell other servers about a change: they may show an old account for a moment, but use no ended session", "error", err)

		return 0, err
	}

	isComplete := c.isComplete(members[c.id])
	delete(members, c.id)
	for !isComplete || len(members) > 0 {
		select {
		case id := <-acks:
			delete(members, id)
		case <-timeout.C:
			return c.removeMembers(ctx, members, isListening), nil
		}
	}

	return 0, nil
}

// AwaitLease waits until no server uses an old value of a key with one of Options.Prefixes that has
// changed before the call. Use it if the changed keys are not known.
func AwaitLease() { time.Sleep(ackTimeout) }

// removeMembers removes servers that did not acknowledge a change, and returns their number. If this
// server could not receive acknowledgements, it counts only those that have sent no beat since.
func (c *Cache) removeMembers(ctx context.Context, members map[string]string, isListening bool) (n int) {
	for id, beat := range members {
		removed, _ := redisconn.Bool(c.client.Eval(ctx, removeScript, membersKey, id, beat))
		if !removed && !isListening {
			continue
		}

		n++
		c.unacknowledged.Add(1)
		c.log.WarnContext(ctx, "another server did not acknowledge a change; waited until it could no longer use old values", "id", id)
	}

	return n
}

// changes are the changes of this server that wait for acknowledgements.
type changes struct {
	mu   sync.Mutex
	last int
	acks map[string]chan string // by the number of the change: the IDs of servers
}

// add returns the number of a new change, and the channel for its acknowledgements.
func (c *changes) add() (number string, acks chan string) {
	c.mu.Lock()
	defer c.mu.Unlock()

	c.last++
	number = strconv.Itoa(c.last)
	acks = make(chan string, maxAcks)
	c.acks[number] = acks

	return number, acks
}

func (c *changes) remove(number string) {
	c.mu.Lock()
	defer c.mu.Unlock()

	delete(c.acks, number)
}

// acksOf returns the channel for the acknowledgements of a change, or nil if it no longer waits.
func (c *changes) acksOf(number string) chan string {
	c.mu.Lock()
	defer c.mu.Unlock()

	return c.acks[number]
}

// receiveChanges removes the keys in a message, and acknowledges it.
func (c *Cache) receiveChanges(message string) {
	parts := strings.Split(message, " ")
	if len(parts) < 2 {
		return
	}

	from, number, keys := parts[0], parts[1], parts[2:]
	for _, key := range keys {
		c.entries.remove(key)
	}
	c.reports.Add(uint64(len(keys)))

	if from == c.id {
		return
	}
	select {
	case c.acks <- ack{to: from, number: number}:
	default:
	}
}

// ack is an acknowledgement.
type ack struct{ to, number string }

// sendAcks sends acknowledgements until Close.
func (c *Cache) sendAcks() {
	for {
		select {
		case <-c.ctx.Done():
			return
		case a := <-c.acks:
			_, _ = c.client.Do(c.ctx, "PUBLISH", c.ackChannel(a.to), c.id+" "+a.number)
		}
	}
}

// receiveAck passes an acknowledgement to the change that waits for it.
func (c *Cache) receiveAck(message string) {
	id, number, _ := strings.Cut(message, " ")

	select {
	case c.changes.acksOf(number) <- id: // a nil channel is never ready
	default:
	}
}
