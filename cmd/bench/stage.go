package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/config"
)

// bench is who takes part, and what was found.
type bench struct {
	extent
	report
	ctx       context.Context
	progress  io.Writer
	dir       string     // goes at the end
	processes []*process // in the order in which they started

	secret    string
	redisAddr string
	mongoURI  string
	settings  config.Config // of the servers, but for port and database
	server    *server       // on the database 0 of Redis
	person    person        // who is signed in there

	// What several sections need is made by the first of them.
	floors    []string // the URLs: see startFloors
	crowd     *crowd   // in the database 1
	populated bool
	// answered and failed count what came, and what of it was an error.
	answered, failed int
}

// server is a production server on a database of Redis.
type server struct {
	*process
	url string
	db  int
}

// newBench builds the server, starts it with its stores and signs somebody in.
func newBench(ctx context.Context, e extent, progress io.Writer) (*bench, error) {
	b := &bench{extent: e, ctx: ctx, progress: progress}
	err := b.prepare()
	if err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *bench) prepare() (err error) {
	if b.dir, err = os.MkdirTemp("", "latchkey-bench-"); err != nil {
		return err
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails: crypto/rand ends the program instead
	b.secret = base64.StdEncoding.EncodeToString(secret)
	b.say("building the server")
	if err := b.build(); err != nil {
		return err
	}
	b.say("starting Redis, MongoDB and the server")
	if b.redisAddr, err = b.startRedis("Redis"); err != nil {
		return err
	}
	if b.mongoURI, err = b.startMongo(); err != nil {
		return err
	}
	if b.settings, err = config.Load(b.environment("3000", 0)); err != nil {
		return err
	}
	if b.server, err = b.startServer("server", 0); err != nil {
		return err
	}
	return b.register()
}

// close ends all processes and removes what they wrote.
func (b *bench) close() {
	for _, p := range slices.Backward(b.processes) {
		p.kill()
	}
	b.dropMongo()
	_ = os.RemoveAll(b.dir)
}

func (b *bench) say(format string, args ...any) {
	_, _ = fmt.Fprintf(b.progress, "bench: "+format+"\n", args...)
}

// build makes the program as `make build` does.
func (b *bench) build() error {
	file, err := b.command("go", "env", "GOMOD").Output()
	if err != nil {
		return fmt.Errorf("go env GOMOD: %w", err)
	}
	make := b.command("make", "-s", "-C", filepath.Dir(strings.TrimSpace(string(file))), "build", "BIN="+b.dir)
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); name != "MAKEFLAGS" && name != "MAKELEVEL" && name != "MFLAGS" {
			make.Env = append(make.Env, v) // not those of the make that runs this
		}
	}
	if out, err := make.CombinedOutput(); err != nil {
		return fmt.Errorf("make build: %w\n%s", err, out)
	}
	return nil
}

// startRedis starts a redis-server that keeps nothing and returns where it listens.
func (b *bench) startRedis(name string) (addr string, err error) {
	port, err := b.freePort()
	if err != nil {
		return "", err
	}
	addr = net.JoinHostPort("127.0.0.1", port)
	p, err := b.start(name, b.command("redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", b.dir, "--save", "", "--appendonly", "no"))
	if err != nil {
		return "", err
	}
	return addr, p.await(b.ctx, func() error {
		_, err := b.ask(addr, "PING")
		return err
	})
}

// ask sends one command on a connection of its own.
func (b *bench) ask(addr, command string, args ...any) (any, error) {
	conn, err := redis.DialContext(b.ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	return conn.Do(command, args...)
}

// startServer starts a production server. What it logs is written as ever, to where
// nobody reads it.
func (b *bench) startServer(name string, db int) (*server, error) {
	port, err := b.freePort()
	if err != nil {
		return nil, err
	}
	cmd := b.command(filepath.Join(b.dir, "latchkey"))
	cmd.Dir = b.dir // where there is no .env
	cmd.Env = []string{}
	for name, value := range b.environment(port, db) {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	p, err := b.start(name, cmd)
	if err != nil {
		return nil, err
	}
	s := &server{p, "http://127.0.0.1:" + port, db}
	return s, p.await(b.ctx, func() error {
		_, _, err := b.get(s.url+"/readyz", "")
		return err
	})
}

// environment is that of a server in production. Everything has its default, except that
// who logs in as often as here is not turned away.
func (b *bench) environment(port string, db int) map[string]string {
	return map[string]string{
		"HOST": "127.0.0.1", "PORT": port, "TRUSTED_PROXIES": "127.0.0.1", "SESSION_SECRET": b.secret,
		"MONGODB_URI": b.mongoURI, "REDIS_URI": "redis://" + b.redisAddr + "/" + strconv.Itoa(db),
		"RATE_LIMIT": "off",
	}
}

// get asks for a page as wrk does and returns what came. Anything but a 200 is an error.
func (b *bench) get(url, cookie string) (http.Header, []byte, error) {
	req, err := http.NewRequestWithContext(b.ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, nil, err
	}
	for name, value := range headers(cookie) {
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %.300s", url, res.Status, body)
	}
	return res.Header, body, err
}

// browser is what clients here say they are.
const browser = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"

// headers are what every request has, as it comes from a proxy.
func headers(cookie string) map[string]string {
	h := map[string]string{"Accept": "application/json", "User-Agent": browser, "X-Forwarded-For": "203.0.113.7"}
	if cookie != "" {
		h["Cookie"] = cookie
	}
	return h
}

func (b *bench) freePort() (string, error) {
	l, err := new(net.ListenConfig).Listen(b.ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

var errEnded = errors.New("it ended")

const (
	startTimeout = 30 * time.Second
	startLook    = 20 * time.Millisecond // between two looks whether it answers
)
