package redisconn

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gomodule/redigo/redis"
)

// Lasting makes Eval wait until the replicas have what the script did, where there are
// any that can take the server's place: Redis answers before they do, and a session
// that was ended in between would be alive on the next server. One replica is not
// enough, because Sentinel may choose another one. A replica that does not keep up is
// waited for no longer than replicaTimeout, which is logged: it must not make of one
// server's trouble that of all users.
func (s *Script) Lasting() *Script {
	s.lasting = true
	return s
}

const (
	// replicaTimeout is how long a change waits for the replicas.
	replicaTimeout = 200 * time.Millisecond
	// lagPause is how long changes wait only for replicas that keep up, after one has
	// waited in vain.
	lagPause = time.Second
)

// errNotConfirmed says that a change was made, and is not known to outlive the server:
// the connection was lost before the replicas had it, or one of them that has it not
// takes the server's place. Made again on another connection it would be confirmed at
// once, because that one has changed nothing.
var errNotConfirmed = errors.New("not confirmed by the replicas")

// replicate waits for the replicas to have what was done on a connection. How many
// there are it asks each time: one may have come a moment ago.
func (c *Client) replicate(ctx context.Context, n *node, conn timedConn) error {
	role, err := redis.Values(conn.Do("ROLE"))
	var name string
	var replicas []any
	if err == nil {
		_, err = redis.Scan(role, &name, nil, &replicas)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errNotConfirmed, err)
	}
	there := int64(len(replicas))
	want, confirmed := there, int64(0)
	if time.Since(time.Unix(0, n.lagging.Load())) < lagPause {
		// Sentinel prefers those that have more, so it is these that matter.
		want = min(want, n.keepingUp.Load())
	}
	wait := min(replicaTimeout, time.Until(conn.deadline)/2)
	if want > 0 && wait >= time.Millisecond {
		if confirmed, err = redis.Int64(conn.Do("WAIT", want, wait.Milliseconds())); err != nil {
			return fmt.Errorf("%w: %w", errNotConfirmed, err)
		}
	}
	// One that is gone may have been given the server's place, which this one does not
	// know yet.
	if (confirmed < want || there < n.replicas.Load()) && c.replaced(ctx, n, conn.deadline) {
		return fmt.Errorf("%w: another server takes the place of %s", errNotConfirmed, n.addr)
	}
	n.replicas.Store(there)
	if confirmed < want {
		n.keepingUp.Store(confirmed)
		n.lagging.Store(time.Now().UnixNano())
		c.options.Log.WarnContext(ctx, "replicas of Redis do not keep up; what is done now may be undone if the server fails",
			"server", n.addr, "replicas", len(replicas), "keepingUp", confirmed)
	}
	return nil
}

// replaced asks the others whether another server has the place of this one, or is
// about to. Where nobody answers it has not.
func (c *Client) replaced(ctx context.Context, n *node, deadline time.Time) bool {
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	defer cancel()
	if len(c.options.Sentinels) > 0 {
		latest, err := c.elected(ctx)
		return err == nil && (latest.failover || latest.addr != n.addr)
	}
	l, err := c.askClusterBut(ctx, n.addr)
	return err == nil && !slices.Contains(l.nodes, n)
}
