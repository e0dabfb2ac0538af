package coherence

import (
	"context"
	"fmt"

	"latchkey/internal/redisconn"
)

// checkChannel is used by checks only, so that no server receives their messages.
const checkChannel = "latchkey:check"

// checkScript runs all commands of the other scripts, and leaves nothing behind. HDEL comes first: if
// Redis refuses it, nothing has been written.
var checkScript = redisconn.NewScript(1, `
redis.call('PUBLISH', ARGV[1], '')
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[1], ARGV[1], '')
redis.call('HGET', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('HGETALL', KEYS[1])

return 1`)

// checkRegistration checks whether servers can register.
func checkRegistration(ctx context.Context, client *redisconn.Client) error {
	_, err := client.Eval(ctx, checkScript, membersKey, checkChannel)
	if err != nil {
		return fmt.Errorf("register a server in the key %s: %w", membersKey, err)
	}

	return nil
}

// Result is the result of checking one Redis server.
type Result struct {
	Server string // host:port
	Err    error  // why values cannot be kept in memory, or nil
}

// Check checks whether values with the given prefixes can be kept in memory. It returns a result for
// each Redis server that serves keys. Errors: redisconn.ErrUnavailable.
func Check(ctx context.Context, client *redisconn.Client, prefixes []string) ([]Result, error) {
	var results []Result
	err := client.EachServer(ctx, func(server string, _ redisconn.Sender) error {
		err := checkStream(ctx, client, server, prefixes)
		if err == nil && server == client.ServerFor(membersKey) {
			err = checkRegistration(ctx, client)
		}
		results = append(results, Result{Server: server, Err: err})

		return nil
	})

	return results, err
}

// checkStream opens and closes a stream.
func checkStream(ctx context.Context, client *redisconn.Client, server string, prefixes []string) error {
	conn, err := client.Dial(ctx, server)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()

	return subscribe(conn, prefixes, []any{reportChannel, checkChannel})
}
