package storetest

import (
	"log/slog"
	"os"
	"slices"
	"sync"
	"testing"

	"latchkey/internal/devstore"
)

// cleanups end what the tests of this process share.
var (
	cleanupMu sync.Mutex
	cleanups  []func()
)

func atEnd(f func()) {
	cleanupMu.Lock()
	defer cleanupMu.Unlock()
	cleanups = append(cleanups, f)
}

// Main runs the tests of a package that uses stores. Call it from TestMain.
func Main(m *testing.M) {
	code := m.Run()
	for _, f := range slices.Backward(cleanups) {
		f()
	}
	os.Exit(code)
}

// sharedRedis starts the Redis of this process.
var sharedRedis = sync.OnceValues(func() (string, error) {
	if os.Getenv("TEST_REDIS") != "server" {
		addr, stop, err := devstore.StartRedis()
		if err == nil {
			atEnd(stop)
		}
		return addr, err
	}
	dir, err := tempDir()
	if err != nil {
		return "", err
	}
	s, err := startRedis(dir, "--appendonly", "no")
	if err != nil {
		return "", err
	}
	atEnd(s.Kill)
	return s.Addr, nil
})

// sharedMongo starts the MongoDB of this process, or names the one to use.
var sharedMongo = sync.OnceValues(func() (string, error) {
	if uri := os.Getenv("MONGODB_TEST_URI"); uri != "" {
		return uri, nil
	}
	dir, err := tempDir()
	if err != nil {
		return "", err
	}
	uri, stop, err := devstore.StartMongo(dir, slog.New(slog.DiscardHandler))
	if err == nil {
		atEnd(stop)
	}
	return uri, err
})

func tempDir() (string, error) {
	dir, err := os.MkdirTemp("", "latchkey-test-")
	if err == nil {
		atEnd(func() { _ = os.RemoveAll(dir) })
	}
	return dir, err
}
