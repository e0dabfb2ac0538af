package testkit

import (
	"context"
	"net"
	"testing"
)

// FreePort returns a port that nothing listens on. Another process may take it before
// the caller does, so prefer listening on port 0 where that is possible.
func FreePort() (string, error) {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = listener.Close() }()

	_, port, err := net.SplitHostPort(listener.Addr().String())

	return port, err
}

// FreeAddr returns the host:port of a free port on the loopback interface.
func FreeAddr(t testing.TB) string {
	t.Helper()

	port, err := FreePort()
	if err != nil {
		t.Fatal(err)
	}

	return net.JoinHostPort("127.0.0.1", port)
}
