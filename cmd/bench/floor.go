package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gomodule/redigo/redis"
	"golang.org/x/crypto/bcrypt"

	"latchkey/internal/devstore"
)

// page is an answer of the server.
type page struct {
	Path   string
	Header http.Header
	Body   []byte
}

// floor is what the server is compared with: net/http, which gives the same answers
// without any work, or after one GET of Redis.
type floor struct {
	Pages []page
	Redis string // where it is; "" is no GET
	Key   string // of a session
	Conns int    // at most, as many as the server has
}

// startFloor starts a floor and returns its URL.
func (b *bench) startFloor(name string, f floor) (url string, err error) {
	text, err := json.Marshal(f)
	if err != nil {
		return "", err
	}
	file := filepath.Join(b.dir, fmt.Sprintf("floor%d.json", len(b.processes)))
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return "", err
	}
	addr, err := b.startSelf(name, "floor", file)
	if err != nil {
		return "", err
	}
	for _, p := range f.Pages {
		header, body, err := b.get("http://"+addr+p.Path, "")
		if err == nil {
			err = p.differs(header, body)
		}
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
	}
	return "http://" + addr, nil
}

// differs is an error where an answer does not have as many bytes as this one.
func (p page) differs(header http.Header, body []byte) error {
	if string(body) != string(p.Body) {
		return fmt.Errorf("%s: another body: %s", p.Path, body)
	}
	header.Del("Date")
	for name := range header {
		if header.Get(name) != p.Header.Get(name) || len(header) != len(p.Header) {
			return fmt.Errorf("%s: other headers: %v", p.Path, header)
		}
	}
	return nil
}

// serveFloor is the process of a floor, of which the file is args[0].
func serveFloor(ctx context.Context, args []string, stdout io.Writer) error {
	var f floor
	text, err := os.ReadFile(args[0])
	if err == nil {
		err = json.Unmarshal(text, &f)
	}
	if err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	pool := &redis.Pool{
		MaxActive: f.Conns, MaxIdle: f.Conns, Wait: true,
		Dial: func() (redis.Conn, error) { return redis.Dial("tcp", f.Redis) },
	}
	pages := map[string]page{}
	for _, p := range f.Pages {
		pages[p.Path] = p
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f.Redis != "" {
			if value, err := redis.Bytes(lookUp(pool, f.Key)); err != nil || len(value) == 0 {
				http.Error(w, fmt.Sprint(err), http.StatusInternalServerError)
				return
			}
		}
		p, ok := pages[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		h := w.Header()
		for name, value := range p.Header {
			h[name] = value
		}
		_, _ = w.Write(p.Body)
	})}
	_, _ = fmt.Fprintln(stdout, l.Addr())
	return server.Serve(l)
}

func lookUp(pool *redis.Pool, key string) (any, error) {
	conn := pool.Get()
	defer func() { _ = conn.Close() }()
	return conn.Do("GET", key)
}

// serveMongo is the process of MongoDB: FerretDB, which keeps its data in the folder
// args[0].
func serveMongo(ctx context.Context, args []string, stdout io.Writer) error {
	uri, stop, err := devstore.StartMongo(args[0], slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer stop()
	_, _ = fmt.Fprintln(stdout, uri)
	<-ctx.Done()
	return nil
}

// hashAlone is the process that compares passwords with hashes of the cost args[0] on all
// processors, for so long: args[1]. It says how many it compared, and in how many
// microseconds.
func hashAlone(_ context.Context, args []string, stdout io.Writer) error {
	cost, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	length, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	if err != nil {
		return err
	}
	var workers sync.WaitGroup
	var compared, failed, nanoseconds atomic.Int64
	procs := runtime.GOMAXPROCS(0)
	for range procs {
		workers.Go(func() {
			begun := time.Now()
			for time.Since(begun) < length {
				if bcrypt.CompareHashAndPassword(hash, []byte(password)) != nil {
					failed.Add(1)
				}
				compared.Add(1)
			}
			nanoseconds.Add(int64(time.Since(begun)))
		})
	}
	workers.Wait()
	if failed.Load() > 0 {
		return errors.New("a password does not fit its hash")
	}
	_, _ = fmt.Fprintln(stdout, compared.Load(), float64(nanoseconds.Load())/float64(procs)/1000)
	return nil
}
