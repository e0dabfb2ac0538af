package main

import (
	"bufio"
	"net"
	"net/http"
	"slices"
	"syscall"
	"testing"
	"time"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
)

// A server that is stopped while a session ends on another one does not accept the session when it
// continues, not even in its first responses.
func TestStoppedServer(t *testing.T) {
	t.Parallel()

	r := storetest.StartRedis(t)
	file := build(t)
	environ := append(environment(t), "SESSION_CACHE=2MiB", "REDIS_URI=redis://"+r.Addr)
	ender := startProcess(t, file, environ)
	stopped := startProcess(t, file, environ)
	conn := r.Conn(t)
	mustSend(t, http.StatusCreated, "POST", "http://"+ender.addr+"/auth/register", annsAccount)

	for _, pause := range []time.Duration{0, 3 * time.Second} { // before and after it has lost its stream
		cookie := mustSend(t, http.StatusOK, "POST", "http://"+ender.addr+"/auth/login", annsLogin).cookie()
		awaitInMemory(t, conn, stopped.addr, cookie)
		before := dialAll(t, stopped.addr)

		stopped.signal(t, syscall.SIGSTOP)
		began := time.Now()
		res := send(t, "POST", "http://"+ender.addr+"/auth/logout", "", "Cookie", cookie)
		if res.StatusCode != http.StatusOK {
			t.Fatalf("logout: got %d, want 200", res.StatusCode)
		}
		t.Logf("logout answered after %v", time.Since(began))

		conns := slices.Concat(before, dialAll(t, stopped.addr))
		for _, c := range conns {
			_, err := c.Write([]byte("GET /auth/session HTTP/1.1\r\nHost: " + stopped.addr + "\r\nCookie: " + cookie + "\r\n\r\n"))
			testkit.NoError(t, err)
		}
		time.Sleep(pause)
		stopped.signal(t, syscall.SIGCONT)

		for _, c := range conns {
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			testkit.NoError(t, err)
			_ = res.Body.Close()
			if res.StatusCode != http.StatusUnauthorized && res.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("after a stop of %v: got %d, want 401 or 503", pause, res.StatusCode)
			}
		}
	}
}

// signal sends a signal to the process. It continues at the latest when the test ends.
func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()

	t.Cleanup(func() { _ = p.cmd.Process.Signal(syscall.SIGCONT) })
	testkit.NoError(t, p.cmd.Process.Signal(s))
}

// dialAll opens connections to a server, which may be stopped.
func dialAll(t *testing.T, addr string) (conns []net.Conn) {
	t.Helper()

	for range 20 {
		conn, err := net.Dial("tcp", addr)
		testkit.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		conns = append(conns, conn)
	}

	return conns
}
