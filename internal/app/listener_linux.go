package app

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// ignoreNewConnections makes the kernel drop new connections to a listener, while connections
// that it has already completed can still be accepted. Closing the listener right away would
// reset those, and a client that has sent a request would not know whether it was processed.
//
// The filter drops the first packet of a connection (SYN without ACK, RFC 9293 section 3.5).
// Clients retransmit it after a second, when the port is closed and they are refused.
func ignoreNewConnections(l net.Listener) error {
	tcp, ok := l.(syscall.Conn)
	if !ok {
		return nil
	}

	const (
		flags = 13 // offset of the flags in a TCP header
		syn   = 0x02
		ack   = 0x10
	)
	steps := [...]unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: flags},
		{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: syn | ack},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: syn, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},      // drop
		{Code: unix.BPF_RET | unix.BPF_K, K: 0xffff}, // accept
	}
	filter := unix.SockFprog{Len: uint16(len(steps)), Filter: &steps[0]}

	conn, err := tcp.SyscallConn()
	if err != nil {
		return err
	}

	var filterErr error
	err = conn.Control(func(fd uintptr) {
		filterErr = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &filter)
	})

	return errors.Join(err, filterErr)
}
