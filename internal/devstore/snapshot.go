package devstore

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gomodule/redigo/redis"
)

// snapshotInterval is the period in which changes are written to a snapshot. A process that is killed
// loses the changes since then.
const snapshotInterval = 2 * time.Second

// StartPersistentRedis is like StartRedis, but keeps the keys in a snapshot. It starts with the keys in
// the file at path, and writes the keys to it every few seconds and on stop. Keys also expire while no
// process runs. The file contains everything that the server keeps in Redis, so only its owner can read it.
//
// A file that cannot be used is renamed. This is logged, and so are failed writes. If another process
// uses the file, this one neither reads nor writes it.
func StartPersistentRedis(path string, log *slog.Logger) (addr string, stop func(), err error) {
	addr, stopRedis, err := StartRedis()
	if err != nil {
		return "", nil, err
	}

	stopKeeping, err := keep(path, addr, log)
	if err != nil {
		stopRedis()
		return "", nil, err
	}

	return addr, func() { stopKeeping(); stopRedis() }, nil
}

// keep restores the snapshot at path in the Redis at addr, and writes its changes there until stop is
// called.
func keep(path, addr string, log *slog.Logger) (stop func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}

	unlock, locked, err := lockFile(path + ".lock")
	if err != nil {
		return nil, err
	}
	if !locked {
		log.Warn("another process uses the snapshot of Redis, so the sessions of this process will not survive a restart", "file", path)
		return func() {}, nil
	}

	conn, err := redis.Dial("tcp", addr)
	if err != nil {
		unlock()
		return nil, err
	}

	k := &keeper{path: path, conn: conn, log: log}
	if err := k.load(time.Now()); err != nil {
		_ = conn.Close()
		unlock()
		return nil, err
	}

	stopSaving := k.start()

	return func() {
		stopSaving()
		_ = conn.Close()
		unlock()
	}, nil
}

// snapshotFormat identifies the files that this version can read.
const snapshotFormat = "latchkey-dev-redis-1"

// snapshot is the content of a file.
type snapshot struct {
	Format string      `json:"format"`
	Keys   []storedKey `json:"keys"`
}

// storedKey is a key with its value. Values has the arguments of the command that restores it.
type storedKey struct {
	Name      []byte    `json:"name"`
	Kind      string    `json:"kind"` // as TYPE returns it
	ExpiresAt time.Time `json:"expiresAt,omitzero"`
	Values    [][]byte  `json:"values"`
}

// restoreCommands maps the kinds of keys to the commands that restore them.
var restoreCommands = map[string]string{
	"string": "SET",
	"hash":   "HSET",
	"list":   "RPUSH",
	"set":    "SADD",
	"zset":   "ZADD",
}

// keeper reads and writes the snapshot of a Redis.
type keeper struct {
	path string
	conn redis.Conn
	log  *slog.Logger
	kept []storedKey // the keys in the file
	// isFailing is set while the file cannot be written, so that this is logged only once.
	isFailing bool
}

// load restores the snapshot, if there is one.
func (k *keeper) load(now time.Time) error {
	content, err := os.ReadFile(k.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = k.restore(content, now)
	}
	if err == nil {
		return nil
	}

	renamed := k.path + ".damaged"
	k.log.Warn("cannot use the snapshot of Redis, so all sessions have ended", "error", err, "renamed", renamed)
	if err := os.Rename(k.path, renamed); err != nil {
		return err
	}
	_, err = k.conn.Do("FLUSHALL")

	return err
}

// restore writes the keys in a snapshot to Redis, except for those that have expired.
func (k *keeper) restore(content []byte, now time.Time) error {
	var s snapshot
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&s); err != nil {
		return err
	}
	if s.Format != snapshotFormat {
		return fmt.Errorf("unknown format %q", s.Format)
	}

	for _, key := range s.Keys {
		isExpired := !key.ExpiresAt.IsZero() && key.ExpiresAt.Sub(now) < time.Millisecond
		if isExpired {
			continue
		}
		if err := k.restoreKey(key, now); err != nil {
			return fmt.Errorf("key %q: %w", key.Name, err)
		}
	}
	k.kept = s.Keys

	return nil
}

func (k *keeper) restoreKey(key storedKey, now time.Time) error {
	command, known := restoreCommands[key.Kind]
	if !known {
		return fmt.Errorf("unknown kind %q", key.Kind)
	}

	args := []any{key.Name}
	for _, value := range key.Values {
		args = append(args, value)
	}
	if _, err := k.conn.Do(command, args...); err != nil {
		return err
	}
	if key.ExpiresAt.IsZero() {
		return nil
	}

	_, err := k.conn.Do("PEXPIRE", key.Name, key.ExpiresAt.Sub(now).Milliseconds())

	return err
}

// start writes changes to the file until stop is called, which writes the last ones.
func (k *keeper) start() (stop func()) {
	done := make(chan struct{})
	stopped := make(chan struct{})

	go func() {
		defer close(stopped)

		ticker := time.NewTicker(snapshotInterval)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				k.save()
				return
			case <-ticker.C:
				k.save()
			}
		}
	}()

	return func() {
		close(done)
		<-stopped
	}
}

// save writes the keys to the file if they have changed. It logs errors, so that the server goes on.
func (k *keeper) save() {
	keys, err := k.readKeys(time.Now())
	if err == nil && slices.EqualFunc(keys, k.kept, isSame) {
		return
	}
	if err == nil {
		err = k.write(keys)
	}
	if err != nil && !k.isFailing {
		k.log.Error("cannot write the snapshot of Redis, so sessions will not survive a restart", "error", err)
	}
	if k.isFailing = err != nil; !k.isFailing {
		k.kept = keys
	}
}

// isSame reports whether two keys are equal. Their expiry is computed from the time that is left, so it
// varies a little.
func isSame(a, b storedKey) bool {
	return bytes.Equal(a.Name, b.Name) &&
		a.Kind == b.Kind &&
		a.ExpiresAt.IsZero() == b.ExpiresAt.IsZero() &&
		a.ExpiresAt.Sub(b.ExpiresAt).Abs() < time.Second &&
		slices.EqualFunc(a.Values, b.Values, bytes.Equal)
}

// readKeysScript returns the name, the kind, the time to live and the arguments in restoreCommands of
// all keys. As a script it sees them all at the same moment.
const readKeysScript = `
	local read = {
		string = function(key) return {redis.call('GET', key)} end,
		hash   = function(key) return redis.call('HGETALL', key) end,
		list   = function(key) return redis.call('LRANGE', key, 0, -1) end,
		set    = function(key) return redis.call('SMEMBERS', key) end,
		zset   = function(key)
			local pairs = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
			for i = 1, #pairs, 2 do
				pairs[i], pairs[i + 1] = pairs[i + 1], pairs[i]
			end
			return pairs
		end,
	}

	local keys = {}
	for _, key in ipairs(redis.call('KEYS', '*')) do
		local kind = redis.call('TYPE', key).ok
		local values = {}
		if read[kind] then
			values = read[kind](key)
		end
		keys[#keys + 1] = {key, kind, redis.call('PTTL', key), values}
	end

	return keys`

// readKeys returns all keys.
func (k *keeper) readKeys(now time.Time) ([]storedKey, error) {
	rows, err := redis.Values(k.conn.Do("EVAL", readKeysScript, 0))
	if err != nil {
		return nil, err
	}

	keys := make([]storedKey, len(rows))
	for i, row := range rows {
		keys[i], err = parseKey(row, now)
		if err != nil {
			return nil, err
		}
	}

	return keys, nil
}

// parseKey parses a row of readKeysScript.
func parseKey(row any, now time.Time) (storedKey, error) {
	columns, err := redis.Values(row, nil)
	if err != nil {
		return storedKey{}, err
	}

	var key storedKey
	var millis int64
	var values []any
	if _, err := redis.Scan(columns, &key.Name, &key.Kind, &millis, &values); err != nil {
		return storedKey{}, err
	}
	key.Values, err = redis.ByteSlices(values, nil)
	if err != nil {
		return storedKey{}, err
	}
	if restoreCommands[key.Kind] == "" {
		return storedKey{}, fmt.Errorf("key %q has the unknown kind %q", key.Name, key.Kind)
	}
	if millis >= 0 {
		key.ExpiresAt = now.Add(time.Duration(millis) * time.Millisecond).UTC()
	}

	return key, nil
}

// write replaces the file. If the process is killed, the file has either the old or the new content.
func (k *keeper) write(keys []storedKey) error {
	content, err := json.Marshal(snapshot{Format: snapshotFormat, Keys: keys})
	if err != nil {
		return err
	}

	temporary := k.path + ".new"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err // it could be readable by others, and WriteFile would keep that
	}
	if err := writeSynced(temporary, content); err != nil {
		return err
	}

	return os.Rename(temporary, k.path)
}

// writeSynced creates a file that only its owner can read, and waits until it is on disk.
func writeSynced(path string, content []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}

	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}

	return errors.Join(err, file.Close())
}
