package storetest

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strconv"
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

// manyAtOnce is how many tests run beside each other that mostly wait.
const manyAtOnce = 4

// MainOfMany is Main for a package whose tests mostly wait, for limits of time or for
// what is away: more of them than there are processors run beside each other, where
// -parallel says nothing else.
func MainOfMany(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		_ = flag.Set("test.parallel", strconv.Itoa(max(manyAtOnce, runtime.GOMAXPROCS(0))))
	}
	Main(m)
}

// Main runs the tests of a package that uses stores. Call it from TestMain.
func Main(m *testing.M) {
	if os.Getenv("TEST_REDIS") == "cluster" {
		flag.Parse()
		_ = flag.Set("test.parallel", "1") // they share the one database of the cluster
	}
	code := m.Run()
	for _, f := range slices.Backward(cleanups) {
		f()
	}
	os.Exit(code)
}

// sharedRedis starts the Redis of this process: one in it, or what TEST_REDIS names.
var sharedRedis = sync.OnceValues(func() (Redis, error) {
	dir, err := tempDir()
	if err != nil {
		return Redis{}, err
	}
	switch kind := os.Getenv("TEST_REDIS"); kind {
	case "":
		addr, stop, err := devstore.StartRedis()
		if err == nil {
			atEnd(stop)
		}
		return Redis{Addr: addr}, err
	case "server":
		s, err := startRedis(dir, "--appendonly", "no")
		if err != nil {
			return Redis{}, err
		}
		atEnd(s.Kill)
		return s.Redis, nil
	case "sentinel":
		s, stop, err := startSentinel(dir)
		atEnd(stop)
		if err != nil {
			return Redis{}, err
		}
		return s.Redis, nil
	case "cluster":
		c, stop, err := startCluster(dir, false)
		atEnd(stop)
		if err != nil {
			return Redis{}, err
		}
		return c.Redis, nil
	default:
		return Redis{}, fmt.Errorf("TEST_REDIS is %q; it may be server, sentinel or cluster", kind)
	}
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
