package devstore

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/testkit"
)

// startKept starts a Redis with a snapshot and connects to it.
func startKept(t *testing.T, path string) (conn redis.Conn, log *testkit.Buffer, stop func()) {
	t.Helper()

	log = &testkit.Buffer{}
	addr, stopRedis, err := StartPersistentRedis(path, slog.New(slog.NewTextHandler(log, nil)))
	testkit.NoError(t, err)
	conn, err = redis.Dial("tcp", addr)
	testkit.NoError(t, err)

	return conn, log, func() { _ = conn.Close(); stopRedis() }
}

// TestSnapshot restarts a Redis with keys of all kinds, which keep their values and expire in real time.
func TestSnapshot(t *testing.T) {
	t.Parallel()

	path := filepath.Join(t.TempDir(), "data", "redis.json")
	conn, log, stop := startKept(t, path)
	for _, command := range []string{
		"SET text x", "SET empty ", "HSET hash b 2 a 1", "RPUSH list c a b a", "SADD set b a",
		"ZADD zset 1795947823400.5 late 1 early 0.1 first -inf never", "SET limited y PX 3600000", "PEXPIRE hash 7200000",
	} {
		name, args, _ := strings.Cut(command, " ")
		var values []any
		for _, arg := range strings.Split(args, " ") {
			values = append(values, arg)
		}
		_, err := conn.Do(name, values...)
		testkit.NoError(t, err)
	}
	_, err := conn.Do("SET", "bytes\x00\xff", "\x00\xff\r\n")
	testkit.NoError(t, err)
	want := dump(t, conn)
	stop()

	moveExpiry(t, path, -30*time.Minute)
	conn, _, stop = startKept(t, path)
	if got := dump(t, conn); got != want {
		t.Errorf("after a restart: got\n%s\nwant\n%s", got, want)
	}
	for key, limit := range map[string]time.Duration{"limited": 30 * time.Minute, "hash": 90 * time.Minute} {
		left, err := redis.Int64(conn.Do("PTTL", key))
		if got := time.Duration(left) * time.Millisecond; err != nil || got > limit || got < limit-time.Minute {
			t.Errorf("%s: got %v left, error %v, want %v", key, got, err, limit)
		}
	}
	stop()

	moveExpiry(t, path, -time.Hour)
	conn, _, stop = startKept(t, path)
	for key, want := range map[string]int{"limited": 0, "hash": 1, "text": 1} {
		if got, err := redis.Int(conn.Do("EXISTS", key)); err != nil || got != want {
			t.Errorf("an hour later: EXISTS %s: got %d, %v; want %d", key, got, err, want)
		}
	}
	stop()

	if log.String() != "" {
		t.Errorf("got log %s, want none", log)
	}
}

// TestUnusableSnapshot starts a Redis with files that are not snapshots. It is empty, the file is kept
// under another name, and the next snapshot works.
func TestUnusableSnapshot(t *testing.T) {
	t.Parallel()

	for i, content := range []string{
		"", "{", "[]", "null", "{}", `{"format":"other"}`, `{"format":"latchkey-dev-redis-1","keys":[],"more":1}`,
		`{"format":"latchkey-dev-redis-1","keys":[{"name":"YQ==","kind":"string","values":["eA=="]},{"name":"Yg==","kind":"stream","values":[]}]}`,
		`{"format":"latchkey-dev-redis-1","keys":[{"name":"YQ==","kind":"string","values":["eA=="]},{"name":"Yg==","kind":"hash","values":["eA=="]}]}`,
		`{"format":"latchkey-dev-redis-1","keys":[{"name":"not base64"}]}`,
	} {
		path := filepath.Join(t.TempDir(), "redis.json")
		testkit.NoError(t, os.WriteFile(path, []byte(content), 0o600))

		conn, log, stop := startKept(t, path)
		if size, err := redis.Int(conn.Do("DBSIZE")); err != nil || size != 0 {
			t.Errorf("content %d: got %d keys, %v; want 0", i, size, err)
		}
		if !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), path+".damaged") {
			t.Errorf("content %d: got log %q, want a warning with the new name", i, log)
		}
		if kept, err := os.ReadFile(path + ".damaged"); err != nil || string(kept) != content {
			t.Errorf("content %d: renamed file: got %q, %v; want the content", i, kept, err)
		}
		_, err := conn.Do("SET", "new", "x")
		testkit.NoError(t, err)
		stop()

		conn, log, stop = startKept(t, path)
		if got, err := redis.String(conn.Do("GET", "new")); err != nil || got != "x" || log.String() != "" {
			t.Errorf("content %d: after another start: got %q, %v and log %q; want x", i, got, err, log)
		}
		stop()
	}
}

// TestSnapshotInUse starts two servers with one snapshot. The second keeps nothing, so it cannot bring
// back a session that has ended on the first.
func TestSnapshotInUse(t *testing.T) {
	t.Parallel()

	path := filepath.Join(t.TempDir(), "redis.json")
	first, _, stopFirst := startKept(t, path)
	second, log, stopSecond := startKept(t, path)
	if !strings.Contains(log.String(), "another process uses the snapshot") {
		t.Errorf("got log %q, want a warning", log)
	}
	for conn, value := range map[redis.Conn]string{first: "first", second: "second"} {
		_, err := conn.Do("SET", "key", value)
		testkit.NoError(t, err)
	}
	stopFirst()
	stopSecond()

	conn, _, stop := startKept(t, path)
	if got, err := redis.String(conn.Do("GET", "key")); err != nil || got != "first" {
		t.Errorf("got %q, %v; want first", got, err)
	}
	stop()
}

// TestSnapshotIsWrittenOnChange saves twice without and once with a change.
func TestSnapshotIsWrittenOnChange(t *testing.T) {
	t.Parallel()

	addr, stop, err := StartRedis()
	testkit.NoError(t, err)
	t.Cleanup(stop)
	conn, err := redis.Dial("tcp", addr)
	testkit.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })

	log := &testkit.Buffer{}
	k := &keeper{path: filepath.Join(t.TempDir(), "redis.json"), conn: conn, log: slog.New(slog.NewTextHandler(log, nil))}
	save := func(command string, args ...any) (written bool) {
		_, err := conn.Do(command, args...)
		testkit.NoError(t, err)
		_ = os.Remove(k.path)
		k.save()
		_, err = os.Stat(k.path)

		return err == nil
	}

	for _, tc := range []struct {
		command string
		args    []any
		want    bool
	}{
		{"SET", []any{"a", "1", "PX", 3600000}, true},
		{"PING", nil, false},
		{"SET", []any{"a", "2", "PX", 3600000}, true},
		{"PEXPIRE", []any{"a", 7200000}, true},
		{"PERSIST", []any{"a"}, true},
		{"GET", []any{"a"}, false},
		{"DEL", []any{"a"}, true},
	} {
		if got := save(tc.command, tc.args...); got != tc.want {
			t.Errorf("%s %v: got written %v, want %v", tc.command, tc.args, got, tc.want)
		}
	}

	// An error is logged once, and the file is written when that is possible again.
	path := k.path
	k.path = filepath.Join(path, "x", "redis.json")
	_, err = conn.Do("SET", "b", "1")
	testkit.NoError(t, err)
	k.save()
	k.save()
	if got := strings.Count(log.String(), "cannot write the snapshot"); got != 1 {
		t.Errorf("got %d log lines about errors, want 1:\n%s", got, log)
	}
	k.path = path
	k.save()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got file %v, %v; want mode 0600", info, err)
	}
}

// dump returns all keys and values.
func dump(t *testing.T, conn redis.Conn) string {
	t.Helper()

	keys, err := (&keeper{conn: conn}).readKeys(time.Now())
	testkit.NoError(t, err)

	var all strings.Builder
	for _, key := range keys {
		fmt.Fprintf(&all, "%q %s %q, expires %v\n", key.Name, key.Kind, key.Values, !key.ExpiresAt.IsZero())
	}

	return all.String()
}

// moveExpiry changes a snapshot as if it had been written at another time.
func moveExpiry(t *testing.T, path string, by time.Duration) {
	t.Helper()

	content, err := os.ReadFile(path)
	testkit.NoError(t, err)
	var s snapshot
	testkit.NoError(t, json.Unmarshal(content, &s))
	for i, key := range s.Keys {
		if !key.ExpiresAt.IsZero() {
			s.Keys[i].ExpiresAt = key.ExpiresAt.Add(by)
		}
	}
	content, err = json.Marshal(s)
	testkit.NoError(t, err)
	testkit.NoError(t, os.WriteFile(path, content, 0o600))
}
