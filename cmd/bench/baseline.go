package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/testkit"
)

// baselineArgument makes this program serve the HTTP baseline, which has its own process: in this one, MongoDB's
// large heap would make garbage collections rare, and the baseline too fast.
const baselineArgument = "baseline"

// redisPrefix precedes the paths for which the baseline sends one GET to Redis.
const redisPrefix = "/redis"

// baselineSettings are what the baseline reads from its standard input.
type baselineSettings struct {
	Addr      string
	RedisAddr string
	RedisKey  string
	Responses map[string]response // by path
}

// response is a response of the real server.
type response struct {
	Header http.Header
	Body   []byte
}

// startBaseline starts a server that returns the same responses as the real server for the given
// paths, with or without a GET from Redis, and returns its URL.
func (b *bench) startBaseline(real *server, paths ...string) (url string, err error) {
	port, err := testkit.FreePort()
	if err != nil {
		return "", err
	}

	settings := baselineSettings{
		Addr:      "127.0.0.1:" + port,
		RedisAddr: b.redisAddr,
		Responses: map[string]response{},
	}
	for _, path := range paths {
		header, body, err := b.send(request{method: http.MethodGet, url: real.url + path, cookie: b.cookie})
		if err != nil {
			return "", err
		}
		header.Del("Date") // the baseline sets its own
		settings.Responses[path] = response{Header: header, Body: body}
	}

	var session struct{ SessionID string }
	if err := json.Unmarshal(settings.Responses[sessionPath].Body, &session); err != nil {
		return "", err
	}
	settings.RedisKey = "sess:" + session.SessionID

	input, err := json.Marshal(settings)
	if err != nil {
		return "", err
	}
	program, err := os.Executable()
	if err != nil {
		return "", err
	}

	cmd := b.command(program, baselineArgument)
	cmd.Stdin = bytes.NewReader(input)
	cmd.Env = []string{} // no GOGC either, as for the server
	url = "http://" + settings.Addr
	_, err = b.start(cmd, func() error {
		_, _, err := b.send(request{method: http.MethodGet, url: url + redisPrefix + sessionPath})
		return err
	})

	return url, err
}

// serveBaseline serves the baseline until the process is stopped.
func serveBaseline(input io.Reader) error {
	var settings baselineSettings
	if err := json.NewDecoder(input).Decode(&settings); err != nil {
		return err
	}

	pool := &redis.Pool{
		MaxActive: redisConnections,
		MaxIdle:   redisConnections,
		Wait:      true,
		Dial:      func() (redis.Conn, error) { return redis.Dial("tcp", settings.RedisAddr) },
	}
	handle := func(w http.ResponseWriter, r *http.Request) {
		path, usesRedis := strings.CutPrefix(r.URL.Path, redisPrefix)
		if usesRedis {
			conn := pool.Get()
			_, err := redis.Bytes(conn.Do("GET", settings.RedisKey))
			_ = conn.Close()
			if err != nil {
				http.Error(w, fmt.Sprint(err), http.StatusInternalServerError)
				return
			}
		}

		response := settings.Responses[path]
		maps.Copy(w.Header(), response.Header)
		_, _ = w.Write(response.Body)
	}

	server := &http.Server{
		Addr:              settings.Addr,
		Handler:           http.HandlerFunc(handle),
		ReadHeaderTimeout: time.Minute,
	}

	return server.ListenAndServe()
}
