package session

import (
	"os"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/testkit"
)

// The maximum size of a record in bytes, and the memory that Redis 7 may use for a record's key and
// for the index of a user with one session. jemalloc rounds sizes up to fixed classes, so a larger
// record would use the next class.
const (
	maxValue  = 252 // 256 with 4 bytes of overhead
	maxRecord = 360
	maxIndex  = 136
)

// A session's keys stay small throughout its life. cmd/bench measures the total.
func TestSessionIsSmall(t *testing.T) {
	t.Parallel()
	m, conn := newManager(t)
	m.options.Idle = 24 * time.Hour
	m.options.Absolute = 30 * 24 * time.Hour
	s, _, err := m.Begin(background, Start{
		Owner:      Owner{UserID: "65f0c0ff0000000000000000", Email: "ann.smith.000000@example.com"},
		Client:     Client{IP: "203.0.113.100", Device: "Mobile Safari 26 on iOS"},
		Methods:    []Method{{Method: Password}},
		Persistent: true,
	})
	testkit.NoError(t, err)

	s.markSeen(s.ExpiresAt.Add(-m.options.Idle+time.Millisecond), m.options.Idle) // the longest record
	value, err := s.seal(m.macKeys)
	if err != nil || len(value) > maxValue {
		t.Errorf("record: got %d bytes, %v; want at most %d: %s", len(value), err, maxValue, value)
	}

	if os.Getenv("TEST_REDIS") != "server" {
		return // the in-process Redis cannot measure memory
	}

	_, err = conn.Do("SET", m.keys.record(s.ID), value, "KEEPTTL")
	testkit.NoError(t, err)
	for key, limit := range map[string]int{m.keys.record(s.ID): maxRecord, m.keys.index(s.UserID): maxIndex} {
		if used, err := redis.Int(conn.Do("MEMORY", "USAGE", key)); err != nil || used > limit {
			t.Errorf("%s: got %d bytes, %v; want at most %d", key, used, err, limit)
		}
	}
}
