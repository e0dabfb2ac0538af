package redischeck

import (
	"context"
	"fmt"

	"latchkey/internal/redisconn"
)

// keyName is the suffix of the keys that the checks use.
const keyName = "latchkey-check"

// readyLua needs permission to read and write every key, but changes nothing, because the keys do not
// exist. It succeeds on a full Redis by design: sessions can still be read and ended.
const readyLua = `
for _, key in ipairs(KEYS) do
  redis.call('GET', key)
  redis.call('DEL', key)
end
return 1`

// probeLua runs all commands that the server uses, in scripts or directly, on a key of its own. It
// leaves no key behind, unless a command is refused: then the key expires after a second. Redis does not
// always name the command that it refuses, so the script adds the name.
const probeLua = `
local key = KEYS[1]
local commands = {
  -- SET comes first, because a full Redis refuses nothing in a script that has run DEL.
  {'SET', key, '1', 'PX', '1000'},
  {'GET', key},
  {'MGET', key},
  {'EXISTS', key},
  {'PTTL', key},
  {'INCR', key},
  {'DEL', key},

  {'HSET', key, 'field', '1'},
  {'PEXPIRE', key, '1000'},
  {'HINCRBY', key, 'field', '1'},
  {'HGET', key, 'field'},
  {'HEXISTS', key, 'field'},
  {'HDEL', key, 'field'},

  {'ZADD', key, '1', 'member'},
  {'PEXPIRE', key, '1000'},
  {'ZCARD', key},
  {'ZSCORE', key, 'member'},
  {'ZRANGE', key, '0', '-1'},
  {'ZRANGEBYSCORE', key, '-inf', '+inf'},
  {'ZREMRANGEBYSCORE', key, '-inf', '0'},
  {'ZREM', key, 'member'},
}

for _, command in ipairs(commands) do
  local reply = redis.pcall(unpack(command))
  if type(reply) == 'table' and reply.err then
    return redis.error_reply(reply.err .. ' (' .. command[1] .. ')')
  end
end
return 1`

// Checker checks whether a Redis can be used.
type Checker struct {
	redis    *redisconn.Client
	prefixes []string
	ready    *redisconn.Script
	probe    *redisconn.Script
}

// New returns a Checker for keys with the given prefixes. There must be at least one.
func New(client *redisconn.Client, prefixes []string) *Checker {
	return &Checker{
		redis:    client,
		prefixes: prefixes,
		ready:    redisconn.NewScript(len(prefixes), readyLua),
		probe:    redisconn.NewScript(1, probeLua).WaitForReplicas(),
	}
}

// Ready checks that all servers reply, and that scripts can read and write the keys. It changes nothing. On
// a Redis Cluster it runs the script on only one of the servers. Errors: redisconn.ErrUnavailable.
func (c *Checker) Ready(ctx context.Context) error {
	if c.redis.IsCluster() {
		if err := c.redis.Ping(ctx); err != nil {
			return err
		}
	}

	var keys []any
	for _, prefix := range c.prefixes {
		keys = append(keys, prefix+"{0}"+keyName)
	}
	_, err := c.redis.Eval(ctx, c.ready, keys[0].(string), keys[1:]...)

	return err
}

// Failure is an error that Probe has found, with the keys that it affects.
type Failure struct {
	Err      error    // wraps redisconn.ErrUnavailable
	Code     string   // of the reply in Err, such as NOPERM; empty if there was none
	Prefixes []string // of the keys that cannot be used
}

// Probe writes, reads and deletes a key under each prefix, with every command that the server uses, and
// returns the failures. Consecutive prefixes that fail with the same code share a Failure.
func (c *Checker) Probe(ctx context.Context) []Failure {
	var failures []Failure
	for _, prefix := range c.prefixes {
		err := c.probePrefix(ctx, prefix)
		if err == nil {
			continue
		}

		code := redisconn.Code(err)
		last := len(failures) - 1
		if last >= 0 && failures[last].Code == code {
			failures[last].Prefixes = append(failures[last].Prefixes, prefix)
			continue
		}

		failures = append(failures, Failure{Prefixes: []string{prefix}, Code: code, Err: err})
	}

	return failures
}

// clusterProbes is the number of keys per prefix that are tried on a Redis Cluster. They are in different
// slots, so they reach every server that has more than a few percent of the slots.
const clusterProbes = 64

func (c *Checker) probePrefix(ctx context.Context, prefix string) error {
	if !c.redis.IsCluster() {
		_, err := c.redis.Eval(ctx, c.probe, prefix+keyName)
		return err
	}

	for i := range clusterProbes {
		if _, err := c.redis.Eval(ctx, c.probe, fmt.Sprintf("%s{%d}%s", prefix, i, keyName)); err != nil {
			return err
		}
	}

	return nil
}
