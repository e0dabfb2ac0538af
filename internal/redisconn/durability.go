package redisconn

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/gomodule/redigo/redis"
)

// Durability is what a server says of what it keeps, and of what it throws away.
type Durability struct {
	Addr string
	// Untold says that it answers and does not say; then nothing below means anything.
	Untold     bool
	AppendOnly bool // every write goes to a file
	Snapshots  bool // all is written to a file from time to time; true where it does not say
	// Policy is what it does when it is full (maxmemory-policy), MaxMemory when that is,
	// in bytes; 0 is never.
	Policy    string
	MaxMemory int64
}

// Durability asks every server that has a part of the keys.
func (c *Client) Durability(ctx context.Context) ([]Durability, error) {
	var all []Durability
	err := c.each(ctx, func(n *node) error {
		said, err := redis.String(c.runAt(ctx, n, "INFO"))
		var refused redis.Error
		if err != nil && !errors.As(err, &refused) {
			return err
		}
		info := map[string]string{}
		for line := range strings.Lines(said) {
			if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
				info[name] = value
			}
		}
		if info["aof_enabled"] == "" {
			all = append(all, Durability{Addr: n.addr, Untold: true})
			return nil
		}
		d := Durability{Addr: n.addr, AppendOnly: info["aof_enabled"] == "1", Snapshots: true, Policy: info["maxmemory_policy"]}
		d.MaxMemory, _ = strconv.ParseInt(info["maxmemory"], 10, 64)
		// A user of the least privilege may not ask.
		if save, err := redis.StringMap(c.runAt(ctx, n, "CONFIG", "GET", "save")); err == nil {
			d.Snapshots = save["save"] != ""
		}
		all = append(all, d)
		return nil
	})
	return all, err
}
