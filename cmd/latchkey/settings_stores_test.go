package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
)

// recorder is a server that records what clients send. It replies like a Redis that accepts every
// command, or does not reply if it is silent.
type recorder struct {
	host, port string
	// received contains the words of the commands, each after a space, or the bytes that a silent
	// recorder has received.
	received testkit.Buffer
}

// newRecorder starts a recorder on a free port of a loopback IP.
func newRecorder(t *testing.T, ip string, silent bool) *recorder {
	t.Helper()

	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", net.JoinHostPort(ip, "0"))
	testkit.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })

	r := &recorder{}
	r.host, r.port, err = net.SplitHostPort(listener.Addr().String())
	testkit.NoError(t, err)

	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go r.serve(conn, silent)
		}
	}()

	return r
}

// serve records what arrives on a connection.
func (r *recorder) serve(conn net.Conn, silent bool) {
	defer func() { _ = conn.Close() }()

	if silent {
		_, _ = io.Copy(&r.received, conn)
		return
	}

	reader := bufio.NewReader(conn)
	for {
		words, err := readCommand(reader)
		if err != nil {
			return
		}

		_, _ = io.WriteString(&r.received, " "+strings.Join(words, " "))
		reply := "+OK\r\n"
		if words[0] == "PING" {
			reply = "+PONG\r\n"
		}
		_, _ = io.WriteString(conn, reply)
	}
}

// readCommand reads a Redis command: a line with the number of its words, then two lines for each word,
// its length and the word itself.
func readCommand(reader *bufio.Reader) ([]string, error) {
	line := func() (string, error) {
		text, err := reader.ReadString('\n')

		return strings.TrimSpace(text), err
	}

	head, err := line()
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(strings.TrimPrefix(head, "*"))
	if err != nil || n == 0 {
		return nil, fmt.Errorf("got %q, want a Redis command", head)
	}

	words := make([]string, n)
	for i := range words {
		_, lengthErr := line()
		word, wordErr := line()
		if err := errors.Join(lengthErr, wordErr); err != nil {
			return nil, err
		}
		words[i] = word
	}

	return words, nil
}

// addr returns the host:port of the recorder.
func (r *recorder) addr() string { return net.JoinHostPort(r.host, r.port) }

// wantReceived waits until the recorder has received all texts, in any order, and records the effects
// of settings.
func (r *recorder) wantReceived(t *testing.T, o *observer, want map[string]string) {
	t.Helper()

	testkit.Eventually(t, "commands from the server", func() bool {
		for _, text := range want {
			if !strings.Contains(r.received.String(), text) {
				return false
			}
		}

		return true
	})
	for setting, text := range want {
		o.equal(t, setting, strings.Contains(r.received.String(), text), true)
	}
}

// withRedis returns the settings of a server with only the given settings for Redis.
func withRedis(t *testing.T, more ...string) []string {
	t.Helper()

	return append(environment(t), append([]string{"REDIS_URI="}, more...)...)
}

func observeRedis(t *testing.T, o *observer) {
	r := newRecorder(t, "127.0.0.2", false)
	start(t, withRedis(t,
		"REDIS_HOST="+r.host,
		"REDIS_PORT="+r.port,
		"REDIS_USERNAME=odd-user",
		"REDIS_PASSWORD=odd-password",
		"REDIS_DB=7",
	))

	r.wantReceived(t, o, map[string]string{
		"REDIS_HOST":     " PING",
		"REDIS_PORT":     " PING",
		"REDIS_USERNAME": " AUTH odd-user",
		"REDIS_PASSWORD": " AUTH odd-user odd-password",
		"REDIS_DB":       " SELECT 7",
	})
}

func observeRedisTLS(t *testing.T, o *observer) {
	const handshake = "\x16\x03" // the beginning of a TLS record
	r := newRecorder(t, "127.0.0.1", true)
	start(t, withRedis(t, "REDIS_HOST="+r.host, "REDIS_PORT="+r.port, "REDIS_TLS=true"))

	testkit.Eventually(t, "a connection to Redis", func() bool { return r.received.String() != "" })
	o.equal(t, "REDIS_TLS", strings.HasPrefix(r.received.String(), handshake), true)
}

func observeRedisURI(t *testing.T, o *observer) {
	r := newRecorder(t, "127.0.0.1", false)
	start(t, environment(t, "REDIS_URI=redis://uri-user:uri-password@"+r.addr()+"/9"))

	r.wantReceived(t, o, map[string]string{"REDIS_URI": " AUTH uri-user uri-password SELECT 9 PING"})
}

func observeSentinel(t *testing.T, o *observer) {
	r := newRecorder(t, "127.0.0.1", false)
	start(t, withRedis(t,
		"REDIS_SENTINELS="+r.addr(),
		"REDIS_SENTINEL_MASTER=odd-master",
		"REDIS_SENTINEL_USERNAME=odd-user",
		"REDIS_SENTINEL_PASSWORD=odd-password",
	))

	r.wantReceived(t, o, map[string]string{
		"REDIS_SENTINELS":         " SENTINEL MASTER",
		"REDIS_SENTINEL_MASTER":   " SENTINEL MASTER odd-master",
		"REDIS_SENTINEL_USERNAME": " AUTH odd-user",
		"REDIS_SENTINEL_PASSWORD": " AUTH odd-user odd-password",
	})
}

func observeCluster(t *testing.T, o *observer) {
	r := newRecorder(t, "127.0.0.1", false)
	start(t, withRedis(t, "REDIS_CLUSTER="+r.addr()))

	r.wantReceived(t, o, map[string]string{"REDIS_CLUSTER": " CLUSTER SLOTS"})
}

// timeToFail returns how long a request takes that fails because a store does not reply.
func timeToFail(t *testing.T, method, url, body string, headers ...string) time.Duration {
	t.Helper()

	started := time.Now()
	res := send(t, method, url, body, headers...)
	if res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("%s %s: got %d %s, want 503", method, url, res.StatusCode, res.text)
	}

	return time.Since(started)
}

// With the default, the server waits for at most 0.7 seconds.
func observeRedisTimeout(t *testing.T, o *observer) {
	redis := newRecorder(t, "127.0.0.1", true)
	addr, _, _ := start(t, environment(t, "REDIS_URI=redis://"+redis.addr(), "REDIS_TIMEOUT=2s"))

	cookie := "__Host-sid=" + strings.Repeat("A", 43)
	wait := timeToFail(t, "GET", "http://"+addr+"/auth/session", "", "Cookie", cookie)
	o.equal(t, "REDIS_TIMEOUT", wait >= 2*time.Second, true)
}

// With the default, the server waits for at most 2.4 seconds.
func observeMongoTimeout(t *testing.T, o *observer) {
	mongo := newRecorder(t, "127.0.0.1", true)
	environ := append(baseSettings(storetest.NewRedis(t), "mongodb://"+mongo.addr()+"/x"),
		"TRUSTED_PROXIES=127.0.0.1", "REDIS_TIMEOUT=10s", "MONGODB_TIMEOUT=4s", "DRAIN_TIME=0")
	addr, _, _ := start(t, environ)

	wait := timeToFail(t, "POST", "http://"+addr+"/auth/login", annsLogin)
	o.equal(t, "MONGODB_TIMEOUT", wait >= 4*time.Second, true)
}
