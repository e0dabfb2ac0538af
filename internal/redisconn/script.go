package redisconn

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gomodule/redigo/redis"
)

// Script is a Lua script that Redis runs in time or not at all.
//
// A command that was sent to a Redis that hangs is run when it goes on, long
// after the request was answered with an error: a rotation would then void a
// cookie for which the client never got the new one. So every script comes with
// the moment, on the clock of Redis, from which it must not run any more.
type Script struct {
	script *redis.Script
	// lasting says that what it did must outlive the server, see Lasting.
	lasting bool
}

// inTime takes the moment from the end of the arguments. It leaves the time of
// Redis to the script: micros, since 1970.
const inTime = `
local micros = redis.call('TIME')
micros = micros[1] * 1000000 + micros[2]
if micros > tonumber(table.remove(ARGV)) * 1000 then
  return redis.error_reply('LATE ' .. string.format('%.0f', micros / 1000))
end
`

// NewScript returns a script of so many keys. It must be safe to run twice. It
// finds the time of Redis in the variable micros, in microseconds since 1970.
func NewScript(keys int, lua string) *Script {
	return &Script{script: redis.NewScript(keys, inTime+lua)}
}

// Eval runs a script, by its hash where Redis knows it. Errors are as for
// Client.Do; where Redis was late they mean that nothing happened.
func (c *Client) Eval(ctx context.Context, s *Script, keysAndArgs ...any) (any, error) {
	var key string
	if len(keysAndArgs) > 0 {
		key, _ = keysAndArgs[0].(string)
	}
	var change replication
	reply, err := c.run(ctx, "EVALSHA", key, func(n *node, conn timedConn) (any, error) {
		reply, err := s.script.Do(conn, n.clock.timed(keysAndArgs, conn.deadline)...)
		if now, late := lateness(err); late {
			// Not known yet, or the clock of Redis was set; or it really was late, and
			// there may be time for another try.
			n.clock.learn(now)
			reply, err = s.script.Do(conn, n.clock.timed(keysAndArgs, conn.deadline)...)
		}
		if err == nil && s.lasting && n.replaceable {
			change, err = n.replicate(conn)
		}
		return reply, err
	})
	if err == nil && change.at != nil {
		err = c.confirm(ctx, change)
	}
	if err != nil {
		return nil, err
	}
	return reply, nil
}

// timed adds to the arguments of a script the moment from which it must not run.
func (k *clock) timed(given []any, deadline time.Time) []any {
	return append(given[:len(given):len(given)], k.halfway(deadline))
}

// lateness returns the time of Redis from the answer of a script that was late.
func lateness(err error) (now int64, late bool) {
	var reply redis.Error
	if !errors.As(err, &reply) {
		return 0, false
	}
	text, late := strings.CutPrefix(string(reply), "LATE ")
	if !late {
		return 0, false
	}
	now, err = strconv.ParseInt(text, 10, 64)
	return now, err == nil
}

// clock knows how far the clock of Redis is from ours. Ours is the monotonic one
// since start, so that setting the time of this machine changes nothing.
type clock struct {
	start  time.Time
	offset atomic.Int64 // milliseconds to add; 0 is unknown
}

// halfway is a moment on the clock of Redis, in milliseconds: half of the time
// that is left until deadline. The other half is for the answer. While the clock
// is unknown it is in the past.
func (k *clock) halfway(deadline time.Time) int64 {
	offset := k.offset.Load()
	if offset == 0 {
		return 0
	}
	return offset + (time.Since(k.start) + time.Until(deadline)/2).Milliseconds()
}

func (k *clock) learn(redisNow int64) { k.offset.Store(redisNow - time.Since(k.start).Milliseconds()) }

func (k *clock) forget() { k.offset.Store(0) }
