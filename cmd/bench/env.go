package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/config"
	"latchkey/internal/devstore"
	"latchkey/internal/testkit"
)

// bench holds the stores and the results. The caller must close it.
type bench struct {
	only        string
	rounds      int
	duration    time.Duration // of one measurement
	sessions    int
	logoutCount int

	ctx      context.Context
	progress io.Writer
	dir      string   // for temporary files
	closers  []func() // called in reverse order

	program     string            // the server's path
	environment map[string]string // of all servers
	settings    config.Config     // the same, parsed
	redisAddr   string
	cookie      string   // of a session of the account
	created     int      // the number of users that createSessions has invented
	rows        []string // of the table
}

// close stops all processes and removes their files.
func (b *bench) close() {
	for _, stop := range slices.Backward(b.closers) {
		stop()
	}

	_ = os.RemoveAll(b.dir)
}

func (b *bench) progressf(format string, args ...any) {
	_, _ = fmt.Fprintf(b.progress, "bench: "+format+"\n", args...)
}

// prepare builds the server, starts the stores and registers the account.
func (b *bench) prepare() (err error) {
	if b.dir, err = os.MkdirTemp("", "latchkey-bench-"); err != nil {
		return err
	}

	b.progressf("building the server")
	b.program = filepath.Join(b.dir, "latchkey")
	build := b.command("go", "build", "-o", b.program, "latchkey/cmd/latchkey")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as in make build
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the server: %w\n%s", err, out)
	}

	b.progressf("starting the stores")
	if err := b.startRedis(); err != nil {
		return err
	}

	mongoURI, stopMongo, err := devstore.StartMongo(filepath.Join(b.dir, "mongo"), slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	b.closers = append(b.closers, stopMongo)

	b.environment = map[string]string{
		"HOST":            "127.0.0.1",
		"TRUSTED_PROXIES": "127.0.0.1",
		"SESSION_SECRET":  rand.Text() + rand.Text(),
		"MONGODB_URI":     mongoURI + "latchkey",
		"REDIS_URI":       "redis://" + b.redisAddr,
		"RATE_LIMIT":      "off",
		"DRAIN_TIME":      "0s",
	}
	if b.settings, err = config.Load(b.environment); err != nil {
		return err
	}

	return b.register()
}

// register creates the account and keeps the cookie of its session.
func (b *bench) register() error {
	s, err := b.startServer(fromRedis)
	if err != nil {
		return err
	}
	defer s.stop()

	header, _, err := b.send(request{method: http.MethodPost, url: s.url + "/auth/register", body: registerBody})
	if err != nil {
		return err
	}

	b.cookie, _, _ = strings.Cut(header.Get("Set-Cookie"), ";")

	return nil
}

// startRedis starts a redis-server without persistence.
func (b *bench) startRedis() error {
	port, err := testkit.FreePort()
	if err != nil {
		return err
	}

	b.redisAddr = "127.0.0.1:" + port
	cmd := b.command("redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", b.dir, "--save", "", "--appendonly", "no")
	_, err = b.start(cmd, func() error {
		_, err := b.redisInfo("redis_version")
		return err
	})

	return err
}

// redisInfo returns a field of INFO.
func (b *bench) redisInfo(field string) (string, error) {
	conn, err := redis.DialContext(b.ctx, "tcp", b.redisAddr)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()

	info, err := redis.String(conn.Do("INFO"))
	_, rest, _ := strings.Cut(info, "\n"+field+":")
	value, _, _ := strings.Cut(rest, "\r")

	return value, err
}

// redisFigure returns a numeric field of INFO.
func (b *bench) redisFigure(field string) (float64, error) {
	value, err := b.redisInfo(field)
	if err != nil {
		return 0, err
	}

	return strconv.ParseFloat(value, 64)
}

// command returns a command that is killed when the run is cancelled.
func (b *bench) command(program string, args ...string) *exec.Cmd {
	return exec.CommandContext(b.ctx, program, args...) //nolint:gosec // all programs are constants or our own
}

// startTimeout is how long a process may take to become ready.
const startTimeout = 30 * time.Second

// start starts a process and waits until ready returns nil. The returned function stops the process,
// unless close has done so.
func (b *bench) start(cmd *exec.Cmd, ready func() error) (stop func(), err error) {
	cmd.Stderr = b.progress
	if err := cmd.Start(); err != nil {
		return nil, err
	}

	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	b.closers = append(b.closers, stop)

	for deadline := time.Now().Add(startTimeout); ; time.Sleep(20 * time.Millisecond) {
		err := ready()
		if err == nil {
			return stop, nil
		}
		if b.ctx.Err() != nil || time.Now().After(deadline) {
			return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
		}
	}
}
