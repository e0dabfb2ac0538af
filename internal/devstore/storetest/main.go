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
	"latchkey/internal/testkit/suite"
)

// minParallel is the least number of tests that MainParallel runs in parallel.
const minParallel = 4

var (
	cleanupMu sync.Mutex
	cleanups  []func() // run at the end of the process
)

// Main runs the tests of a package that uses stores. Call it from TestMain.
func Main(m *testing.M) {
	if os.Getenv("TEST_REDIS") == "cluster" {
		flag.Parse()
		_ = flag.Set("test.parallel", "1") // all tests share the only database of the cluster
	}

	code := suite.Run(m)

	for _, f := range slices.Backward(cleanups) {
		f()
	}

	os.Exit(code)
}

// MainParallel is like Main, for a package whose tests mostly wait. Unless -parallel is set,
// it runs at least minParallel tests in parallel, even on a machine with fewer CPUs.
func MainParallel(m *testing.M) {
	_ = flag.Set("test.parallel", strconv.Itoa(max(minParallel, runtime.GOMAXPROCS(0))))
	Main(m)
}

// atEnd registers a function to run at the end of the process.
func atEnd(f func()) {
	cleanupMu.Lock()
	defer cleanupMu.Unlock()
	cleanups = append(cleanups, f)
}

// sharedRedis starts the Redis that the tests of this process share.
var sharedRedis = sync.OnceValues(func() (Redis, error) {
	dir, err := tempDir()
	if err != nil {
		return Redis{}, err
	}

	kind := os.Getenv("TEST_REDIS")
	switch kind {
	case "":
		addr, stop, err := devstore.StartRedis()
		if err == nil {
			atEnd(stop)
		}

		return Redis{Addr: addr, InProcess: true}, err
	case "server":
		s, err := startRedis(atEnd, dir, "--appendonly", "no")
		return s.Redis, err
	case "sentinel":
		s, err := startSentinel(atEnd, dir)
		return s.Redis, err
	case "cluster":
		c, err := startCluster(atEnd, dir, 0)
		return c.Redis, err
	default:
		return Redis{}, fmt.Errorf("TEST_REDIS is %q, want server, sentinel or cluster", kind)
	}
})

// sharedMongo returns the URI of the MongoDB that the tests of this process share, and
// starts it if necessary.
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

// tempDir creates a directory and removes it at the end of the process.
func tempDir() (string, error) {
	dir, err := os.MkdirTemp("", "latchkey-test-")
	if err == nil {
		atEnd(func() { _ = os.RemoveAll(dir) })
	}
	return dir, err
}
