package redisconn

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"
)

// lagPause is how long writes wait only for the healthy replicas, after a wait for all replicas has
// timed out.
const lagPause = time.Second

// errNotConfirmed is returned if a write was made but may be lost in a failover. It must not be retried: on
// a connection that has written nothing, WAIT succeeds immediately (since Redis 7.2).
var errNotConfirmed = errors.New("not confirmed by replicas or Sentinels")

// Script is a Lua script that Redis runs before a deadline or not at all: see "Scripts" in the
// package documentation.
type Script struct {
	script  *redis.Script
	durable bool
}

// checkDeadline is the beginning of every script. It removes the last argument, the deadline
// in milliseconds, and sets the variable micros to Redis's time in microseconds.
const checkDeadline = `
local micros = redis.call('TIME')
micros = micros[1] * 1000000 + micros[2]
if micros > tonumber(table.remove(ARGV)) * 1000 then
  return redis.error_reply('LATE ' .. string.format('%.0f', micros / 1000))
end
`

// NewScript returns a script that takes the given number of keys. It must be safe to run
// twice. The script can use the variable micros, Redis's time in microseconds since 1970.
func NewScript(keys int, lua string) *Script {
	return &Script{script: redis.NewScript(keys, checkDeadline+lua)}
}

// WaitForReplicas makes Eval wait until a failover can no longer undo the script's writes: see "Durable
// writes" in the package documentation. Eval also repeats it after a timeout: see "Retries". It returns s.
func (s *Script) WaitForReplicas() *Script {
	s.durable = true
	return s
}

// Eval runs a script. key is the first of its keys; keysAndArgs are the others, followed by the arguments.
// Errors: ErrUnavailable. Unless the deadline had passed, the script may have taken effect.
func (c *Client) Eval(ctx context.Context, s *Script, key string, keysAndArgs ...any) (any, error) {
	keysAndArgs = append([]any{key}, keysAndArgs...)
	mustConfirm := s.durable && (len(c.sentinels) > 0 || c.IsCluster())
	send := func(conn timedConn) (any, error) {
		reply, err := s.eval(conn, keysAndArgs)
		if err == nil && mustConfirm {
			err = c.confirm(ctx, conn)
		}

		return reply, err
	}

	reply, err := c.run(ctx, "EVALSHA", key, nil, send)
	if s.durable && isTimeout(err) && !errors.Is(err, errNotConfirmed) {
		return c.run(ctx, "EVALSHA", key, nil, send)
	}

	return reply, err
}

// eval runs a script on a connection. The script must start in the first half of the time;
// the second half is for the reply. If the deadline had passed on Redis's clock, because that
// clock was unknown or has been set, eval learns Redis's time from the reply and tries again.
func (s *Script) eval(conn timedConn, keysAndArgs []any) (reply any, err error) {
	args := slices.Clip(keysAndArgs)

	const attempts = 2
	for range attempts {
		// The deadline is on Redis's clock. While that clock is unknown, the deadline is 0, which
		// has always passed.
		var deadline time.Duration
		if start := conn.node.clockStart.Load(); start != nil {
			deadline = time.Since(*start) + time.Until(conn.deadline)/2
		}

		reply, err = s.script.Do(conn, append(args, deadline.Milliseconds())...)

		now, late := parseLate(err)
		if !late {
			break
		}

		start := time.Now().Add(-now)
		conn.node.clockStart.Store(&start)
	}

	return reply, err
}

// parseLate reports whether err means that a script's deadline had passed, and returns Redis's time
// since 1970.
func parseLate(err error) (now time.Duration, late bool) {
	reply, _ := errors.AsType[redis.Error](err)

	text, late := strings.CutPrefix(string(reply), "LATE ")
	millis, err := strconv.ParseInt(text, 10, 64)

	return time.Duration(millis) * time.Millisecond, late && err == nil
}

// confirm waits until a failover can no longer undo the writes made on a connection.
func (c *Client) confirm(ctx context.Context, conn timedConn) error {
	err := c.awaitReplicas(ctx, conn)
	if err == nil {
		err = c.confirmMaster(conn) // last, because a replica could be promoted during awaitReplicas
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errNotConfirmed, err)
	}

	return nil
}

// awaitReplicas waits until the replicas have acknowledged the writes made on a connection.
// It queries their number every time, because a replica may have connected a moment ago. If
// some do not acknowledge within replicaTimeout, it logs that and returns nil.
func (c *Client) awaitReplicas(ctx context.Context, conn timedConn) error {
	var role string
	var replicas []any
	reply, err := conn.Do("ROLE")
	if err := Scan(reply, err, &role, nil, &replicas); err != nil {
		return err // also if the server has become a replica, whose reply is different
	}

	n := conn.node
	want := int64(len(replicas))
	lastLag := time.Unix(0, n.lastLag.Load())
	if time.Since(lastLag) < lagPause {
		// Sentinel prefers to promote the replica with the most data, so it is enough to
		// wait for the healthy ones.
		want = min(want, n.healthyReplicas.Load())
	}
	if want == 0 {
		return nil
	}

	wait := min(c.options.replicaTimeout(), time.Until(conn.deadline)/2)
	if wait < c.options.minReplicaWait() {
		return errors.New("not enough time to wait for the replicas")
	}

	acknowledged, err := Int64(conn.Do("WAIT", want, wait.Milliseconds()))
	if err != nil {
		return err
	}

	if acknowledged < want {
		n.healthyReplicas.Store(acknowledged)
		n.lastLag.Store(time.Now().UnixNano())
		c.options.Log.WarnContext(ctx, "Redis replicas lag behind; a failover may lose writes",
			"server", n.addr, "replicas", len(replicas), "acknowledged", acknowledged)
	}

	return nil
}

// confirmMaster returns an error if the Sentinels have replaced the server, or may be about to.
func (c *Client) confirmMaster(conn timedConn) error {
	addr := conn.node.addr

	master, failing, err := c.queryMaster(conn.deadline, false)
	if isTimeout(err) {
		return err
	}

	replaced := master != "" && master != addr
	if replaced || slices.Contains(failing, addr) {
		return fmt.Errorf("another server is replacing %s", addr)
	}

	return nil
}
