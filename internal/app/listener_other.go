//go:build !linux

package app

import "net"

// ignoreNewConnections is implemented on Linux only. On other systems a client that connects
// while the port is being closed may get a connection reset.
func ignoreNewConnections(net.Listener) error { return nil }
