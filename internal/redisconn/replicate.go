package redisconn

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gomodule/redigo/redis"
)

// Lasting makes Eval wait until the replicas have what the script did, where there are
// any that can take the server's place: Redis answers before they do, and a session
// that was ended in between would be alive on the next server. One replica is not
// enough, because Sentinel may choose another one. A replica that does not keep up is
// waited for no longer than replicaTimeout, which is logged: it must not make of one
// server's trouble that of all users.
//
// Then Eval asks the Sentinels whether another server takes the place of this one. One
// whose replica was promoted goes on for seconds, has no replica to wait for, and all
// that it is told is lost. In a Redis Cluster there is nobody to ask: a server that is
// cut off soon takes nothing, and one that is replaced as planned has its replica catch
// up.
func (s *Script) Lasting() *Script {
	s.lasting = true
	return s
}

const (
	// replicaTimeout is how long a change waits for the replicas, and leastTimeout how long
	// it must have waited at least to say that they do not keep up.
	replicaTimeout = 200 * time.Millisecond
	leastTimeout   = replicaTimeout / 4
	// lagPause is how long changes wait only for replicas that keep up, after one has
	// waited in vain.
	lagPause = time.Second
)

// errNotConfirmed says that a change was made, and is not known to outlive the server:
// the connection or the time was up before the replicas had it, or one that has it not
// takes the server's place. Made again on another connection it would be confirmed at
// once, because that one has changed nothing (since Redis 7.2).
var errNotConfirmed = errors.New("not known to outlive the server")

// replication is how far a change has come.
type replication struct {
	at *node
	// replicas is how many there are, want of how many it was waited for, and confirmed how
	// many of those have it.
	replicas, want, confirmed int64
}

// replicate waits for the replicas to have what was done on a connection. How many
// there are it asks each time: one may have come a moment ago.
func (n *node) replicate(conn timedConn) (replication, error) {
	r := replication{at: n}
	role, err := redis.Values(conn.Do("ROLE"))
	var name string
	var replicas []any
	if err == nil {
		_, err = redis.Scan(role, &name, nil, &replicas)
	}
	if err != nil { // or it is a replica now, which says so in another form
		return r, fmt.Errorf("%w: %w", errNotConfirmed, err)
	}
	r.replicas = int64(len(replicas))
	r.want = r.replicas
	if time.Since(time.Unix(0, n.lagging.Load())) < lagPause {
		// Of equals Sentinel prefers those that have more, so it is these that matter.
		r.want = min(r.want, n.keepingUp.Load())
	}
	if r.want == 0 {
		return r, nil
	}
	wait := min(replicaTimeout, time.Until(conn.deadline)/2)
	if wait >= time.Millisecond { // WAIT takes 0 for ever
		if r.confirmed, err = redis.Int64(conn.Do("WAIT", r.want, wait.Milliseconds())); err != nil {
			return r, fmt.Errorf("%w: %w", errNotConfirmed, err)
		}
	}
	if r.confirmed < r.want && wait < leastTimeout {
		return r, fmt.Errorf("%w: no time to wait for the replicas", errNotConfirmed)
	}
	return r, nil
}

// confirm makes sure that the server at which a change was made keeps its place. It comes
// after replicate: before, a replica could be promoted in between, and not be waited for.
func (c *Client) confirm(ctx context.Context, r replication) error {
	if err := c.replaced(ctx, r.at); err != nil {
		c.look()
		return fmt.Errorf("%w: %w: %w", ErrUnavailable, errNotConfirmed, err)
	}
	if r.confirmed < r.want {
		r.at.keepingUp.Store(r.confirmed)
		r.at.lagging.Store(time.Now().UnixNano())
		c.options.Log.WarnContext(ctx, "replicas of Redis do not keep up; what is done now may be undone if the server fails",
			"server", r.at.addr, "replicas", r.replicas, "keepingUp", r.confirmed)
	}
	return nil
}
