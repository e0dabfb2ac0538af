package redisconn

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"testing"

	"latchkey/internal/testkit"
)

// fakeServer starts a server that replies PONG to PING and, like some proxies, does not know ROLE. To
// any other command it replies whatever reply returns. It returns the server's host:port. Use it for
// replies that a real server cannot be made to send at a given time.
func fakeServer(t *testing.T, reply func(command []string) string) string {
	t.Helper()
	return fakeServerWithRole(t, func(command []string) string {
		if command[0] == "ROLE" {
			return "-ERR unknown command 'ROLE'\r\n"
		}

		return reply(command)
	})
}

// fakeServerWithRole is like fakeServer, except that reply is also called for ROLE.
func fakeServerWithRole(t *testing.T, reply func(command []string) string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.NoError(t, err)
	return serve(t, l, func(command []string) string {
		if command[0] == "PING" {
			return "+PONG\r\n"
		}

		return reply(command)
	})
}

// serve accepts connections on l until the test ends, and sends the result of reply in response to
// each command. It returns the host:port of l.
func serve(t *testing.T, l net.Listener, reply func(command []string) string) string {
	t.Helper()
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}

			go func() {
				defer func() { _ = conn.Close() }()
				r := bufio.NewReader(conn)
				for err == nil {
					var command []string
					if command, err = readCommand(r); err == nil {
						_, err = io.WriteString(conn, reply(command))
					}
				}
			}()
		}
	}()

	return l.Addr().String()
}

// readCommand reads a command and returns its name and arguments.
func readCommand(r *bufio.Reader) ([]string, error) {
	var n int
	if _, err := fmt.Fscanf(r, "*%d\r\n", &n); err != nil {
		return nil, err
	}

	words := make([]string, n)
	for i := range words {
		var length int
		if _, err := fmt.Fscanf(r, "$%d\r\n", &length); err != nil {
			return nil, err
		}

		word := make([]byte, length+2)
		if _, err := io.ReadFull(r, word); err != nil {
			return nil, err
		}

		words[i] = string(word[:length])
	}

	return words, nil
}

// fakeMaster starts a server that claims to be a master with two replicas, and replies whatever reply
// returns to other commands. It returns the server's host:port.
func fakeMaster(t *testing.T, reply func(command []string) string) string {
	t.Helper()
	return fakeServerWithRole(t, func(command []string) string {
		if command[0] == "ROLE" {
			return "*3\r\n$6\r\nmaster\r\n:9\r\n*2\r\n*0\r\n*0\r\n"
		}

		return reply(command)
	})
}

// replyToWait returns a function that replies wait to WAIT, and OK to other commands.
func replyToWait(wait string) func(command []string) string {
	return func(command []string) string {
		if command[0] == "WAIT" {
			return wait
		}

		return "+OK\r\n"
	}
}

// fakeSentinel starts a Sentinel that names a master with its epoch and, optionally, the state of a
// failover. It returns the Sentinel's host:port.
func fakeSentinel(t *testing.T, master string, epoch int, failover ...string) string {
	t.Helper()
	return fakeServer(t, func([]string) string { return sentinelState(master, epoch, failover...) })
}

// sentinelState returns a reply to SENTINEL MASTER.
func sentinelState(master string, epoch int, failover ...string) string {
	host, port, _ := net.SplitHostPort(master)
	state := []string{"ip", host, "port", port, "config-epoch", fmt.Sprint(epoch)}
	if failover == nil {
		state = append(state, "flags", "master")
	} else {
		state = append(state, "flags", "s_down,o_down,master,failover_in_progress", "failover-state", failover[0])
	}

	reply := fmt.Sprintf("*%d\r\n", len(state))
	for _, s := range state {
		reply += fmt.Sprintf("$%d\r\n%s\r\n", len(s), s)
	}

	return reply
}

// concurrently calls f with 0 to n-1 and waits until all calls have returned.
func concurrently(n int, f func(i int)) {
	testkit.Concurrently(n, func(i int) struct{} {
		f(i)
		return struct{}{}
	})
}
