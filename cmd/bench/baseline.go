package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"time"

	"github.com/gomodule/redigo/redis"
)

// The paths of the baseline server.
const (
	plainPath = "/plain" // net/http alone
	redisPath = "/redis" // net/http with one GET from Redis
)

// startBaseline starts a server in this process that returns the same response as the real server,
// with or without a GET from Redis.
func (b *bench) startBaseline() (url string, err error) {
	header, body, err := b.send(http.MethodGet, b.url+sessionPath, "")
	if err != nil {
		return "", err
	}
	header.Del("Date") // the server sets its own

	var session struct{ SessionID string }
	if err := json.Unmarshal(body, &session); err != nil {
		return "", err
	}

	pool := &redis.Pool{
		MaxActive: connections,
		MaxIdle:   connections,
		Wait:      true,
		Dial:      func() (redis.Conn, error) { return redis.Dial("tcp", b.redisAddr) },
	}
	handle := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == redisPath {
			conn := pool.Get()
			_, err := redis.Bytes(conn.Do("GET", "sess:"+session.SessionID))
			_ = conn.Close()
			if err != nil {
				http.Error(w, fmt.Sprint(err), http.StatusInternalServerError)
				return
			}
		}

		maps.Copy(w.Header(), header)
		_, _ = w.Write(body)
	}

	l, err := new(net.ListenConfig).Listen(b.ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}

	server := &http.Server{Handler: http.HandlerFunc(handle), ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(l) }()
	b.closers = append(b.closers, func() { _ = server.Close() })

	return "http://" + l.Addr().String(), nil
}
