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
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/config"
	"latchkey/internal/devstore"
	"latchkey/internal/testkit"
)

// bench holds the server, its stores and the results. The caller must close it.
type bench struct {
	only     string
	rounds   int
	duration time.Duration // of one measurement
	sessions int

	ctx      context.Context
	progress io.Writer
	dir      string   // for temporary files
	closers  []func() // called in reverse order

	redisAddr string
	url       string // the server's
	settings  config.Config
	cookie    string   // of a session
	rows      []string // of the table
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

// prepare builds the server, starts it with its stores and registers a user.
func (b *bench) prepare() (err error) {
	if b.dir, err = os.MkdirTemp("", "latchkey-bench-"); err != nil {
		return err
	}

	b.progressf("building the server")
	program := filepath.Join(b.dir, "latchkey")
	build := b.command("go", "build", "-o", program, "latchkey/cmd/latchkey")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as in make build
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the server: %w\n%s", err, out)
	}

	b.progressf("starting the server and its stores")
	if err := b.startRedis(); err != nil {
		return err
	}

	mongoURI, stopMongo, err := devstore.StartMongo(filepath.Join(b.dir, "mongo"), slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	b.closers = append(b.closers, stopMongo)

	if err := b.startServer(program, mongoURI+"latchkey"); err != nil {
		return err
	}

	return b.register()
}

// startRedis starts a redis-server without persistence.
func (b *bench) startRedis() error {
	port, err := testkit.FreePort()
	if err != nil {
		return err
	}

	b.redisAddr = "127.0.0.1:" + port
	cmd := b.command("redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", b.dir, "--save", "", "--appendonly", "no")

	return b.start(cmd, func() error {
		_, err := b.redisInfo("redis_version")
		return err
	})
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

// startServer starts the server with production settings, but without rate limits.
func (b *bench) startServer(program, mongoURI string) error {
	port, err := testkit.FreePort()
	if err != nil {
		return err
	}

	environment := map[string]string{
		"HOST":            "127.0.0.1",
		"PORT":            port,
		"TRUSTED_PROXIES": "127.0.0.1",
		"SESSION_SECRET":  rand.Text() + rand.Text(),
		"MONGODB_URI":     mongoURI,
		"REDIS_URI":       "redis://" + b.redisAddr,
		"RATE_LIMIT":      "off",
	}
	if b.settings, err = config.Load(environment); err != nil {
		return err
	}

	cmd := b.command(program)
	cmd.Dir = b.dir // without a .env file
	cmd.Env = []string{}
	for name, value := range environment {
		cmd.Env = append(cmd.Env, name+"="+value)
	}

	b.url = "http://127.0.0.1:" + port

	return b.start(cmd, func() error {
		_, _, err := b.send(http.MethodGet, b.url+"/readyz", "")
		return err
	})
}

// command returns a command that is killed when the run is cancelled.
func (b *bench) command(program string, args ...string) *exec.Cmd {
	return exec.CommandContext(b.ctx, program, args...) //nolint:gosec // all programs are constants or our own
}

// startTimeout is how long a process may take to become ready.
const startTimeout = 30 * time.Second

// start starts a process, which close will stop, and waits until ready returns nil.
func (b *bench) start(cmd *exec.Cmd, ready func() error) error {
	cmd.Stderr = b.progress
	if err := cmd.Start(); err != nil {
		return err
	}

	b.closers = append(b.closers, func() {
		_ = cmd.Process.Kill() // there is nothing to save
		_ = cmd.Wait()
	})

	for deadline := time.Now().Add(startTimeout); ; time.Sleep(20 * time.Millisecond) {
		err := ready()
		if err == nil {
			return nil
		}
		if b.ctx.Err() != nil || time.Now().After(deadline) {
			return fmt.Errorf("start %s: %w", cmd.Path, err)
		}
	}
}
