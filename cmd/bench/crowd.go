package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/redisconn"
	"latchkey/internal/session"
)

// crowd are sessions of many users in one database of Redis.
type crowd struct {
	addr    string
	db      int
	users   int
	each    int      // sessions for each user
	sampled int      // how many tokens to keep
	tokens  []string // of sessions all over the crowd
	bytes   float64  // that one of them takes, with all that belongs to it

	// copied are more sessions of the same kind, and copiedBytes what one takes of all
	// together.
	copied      int
	copiedBytes float64
}

const (
	// crowdWorkers are enough to keep Redis busy, and few enough for it to answer in time.
	crowdWorkers = 16
	// crowdTries is how often each session is tried on a machine that is busy with other
	// things.
	crowdTries = 10
)

// number is how many sessions there are but for the copies.
func (c *crowd) number() int { return c.users * c.each }

// all is how many sessions there are.
func (c *crowd) all() int { return c.number() + c.copied }

// newCrowd begins sessions as a login does, and weighs them.
func (b *bench) newCrowd(addr string, db, users, each, sampled int) (*crowd, error) {
	c := &crowd{addr: addr, db: db, users: users, each: each, sampled: min(sampled, users*each)}
	b.say("beginning %d sessions", c.number())
	before, err := b.usedMemory(addr)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	every := c.number() / c.sampled
	err = b.work(c, time.Minute, users, func(m *session.Manager, i int) error {
		for n := range each {
			_, token, err := m.Begin(b.ctx, session.SignIn{
				UserID: objectID(i), Email: address(i), Method: "password", Persistent: true,
				IP: fmt.Sprintf("203.0.%d.%d", i>>8&255, i&255), UserAgent: browser,
			})
			if err != nil {
				return err
			}
			if (i*each+n)%every == 0 {
				mu.Lock()
				c.tokens = append(c.tokens, token)
				mu.Unlock()
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	after, err := b.usedMemory(addr)
	c.bytes = (after - before) / float64(c.number())
	return c, err
}

// objectID looks like one of MongoDB: 24 hexadecimal digits.
func objectID(i int) string {
	return fmt.Sprintf("6921a3f0%016x", int64(i)*0x1e3779b97f4a7c15&math.MaxInt64)
}

// copyPiece is how many keys are copied at a time: Redis does nothing else meanwhile.
const copyPiece = 200

// multiply makes more sessions of the same kind out of those that there are, so often: a
// million takes too long to begin. Nobody has their tokens.
func (b *bench) multiply(c *crowd, times int) error {
	b.say("copying them %d times", times)
	script, err := scripts.ReadFile("lua/copies.lua")
	if err != nil {
		return err
	}
	conn, err := redis.DialContext(b.ctx, "tcp", c.addr, redis.DialDatabase(c.db))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	before, err := b.usedMemory(c.addr)
	if err != nil {
		return err
	}
	names, err := redis.Strings(conn.Do("KEYS", "*"))
	if err != nil {
		return err
	}
	made := 0
	for piece := range slices.Chunk(names, copyPiece) {
		args := redis.Args{string(script), len(piece)}.AddFlat(piece).Add(times)
		n, err := redis.Int(conn.Do("EVAL", args...))
		if err != nil {
			return err
		}
		made += n
	}
	if made != len(names)*times {
		return fmt.Errorf("%d copies of %d keys", made, len(names))
	}
	after, err := b.usedMemory(c.addr)
	c.copied = c.number() * times
	c.copiedBytes = (after - before + c.bytes*float64(c.number())) / float64(c.all())
	return err
}

// awake has the sessions of the sample look as if just used: the first request after the
// touch interval writes, and what is measured is the usual one.
func (b *bench) awake(c *crowd) error {
	return b.work(c, time.Nanosecond, len(c.tokens), func(m *session.Manager, i int) error {
		_, err := m.Load(b.ctx, c.tokens[i])
		return err
	})
}

// work calls f for each number below n, many at a time, with a Manager like that of a
// server but for the touch interval.
func (b *bench) work(c *crowd, touch time.Duration, n int, f func(m *session.Manager, i int) error) error {
	log := slog.New(slog.DiscardHandler)
	client := redisconn.New(redisconn.Options{Addr: c.addr, DB: c.db, Log: log})
	defer client.Close()
	s := b.settings.Session
	var secrets [][]byte
	for _, secret := range s.Secrets {
		secrets = append(secrets, []byte(secret))
	}
	m := session.New(client, session.Options{
		Secrets: secrets, Idle: time.Duration(s.MaxAge), Absolute: time.Duration(s.AbsoluteMaxAge),
		TouchInterval: touch, MaxPerUser: s.MaxPerUser, Log: log,
	})
	var workers sync.WaitGroup
	errs := make([]error, crowdWorkers)
	for w := range errs {
		workers.Go(func() {
			for i := w; i < n && errs[w] == nil && b.ctx.Err() == nil; i += crowdWorkers {
				for try := range crowdTries {
					errs[w] = f(m, i)
					if !errors.Is(errs[w], session.ErrUnavailable) || try == crowdTries-1 {
						break
					}
				}
			}
		})
	}
	workers.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return b.ctx.Err()
}

// cookies writes the sample to a file for wrk, a line each.
func (b *bench) cookies(c *crowd) (file string, err error) {
	var lines strings.Builder
	for _, token := range c.tokens {
		fmt.Fprintf(&lines, "%s=%s\n", b.settings.Cookie.Name, token)
	}
	file = filepath.Join(b.dir, fmt.Sprintf("cookies%d", c.db))
	return file, os.WriteFile(file, []byte(lines.String()), 0o600)
}

const (
	settleLook = 200 * time.Millisecond
	settleMost = 10 * time.Second
)

// usedMemory is what Redis uses once that has stopped changing: it makes room for more
// keys little by little, and frees connections a little later.
func (b *bench) usedMemory(addr string) (float64, error) {
	last := -1.0
	for limit := time.Now().Add(settleMost); ; {
		text, err := redis.String(b.ask(addr, "INFO", "memory"))
		if err != nil {
			return 0, err
		}
		_, rest, _ := strings.Cut(text, "used_memory:")
		line, _, _ := strings.Cut(rest, "\r")
		used, err := strconv.ParseFloat(line, 64)
		if err != nil || used == last || time.Now().After(limit) {
			return used, err
		}
		last = used
		if err := b.pause(settleLook); err != nil {
			return 0, err
		}
	}
}

// pause waits.
func (b *bench) pause(d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-b.ctx.Done():
		return context.Cause(b.ctx)
	}
}
