package app

import (
	"net"
	"syscall"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// ignoreNew has a listener take no more connections, while those that the system has made
// already, or is just making, are still to be accepted. Closing it would reset them: a
// client that has sent a request on one does not know whether it was done.
//
// What is dropped is the first packet of a connection (SYN without ACK, RFC 9293 section
// 3.5). Who sent it sends it again after a second, and is refused then.
func ignoreNew(l net.Listener) error {
	tcp, ok := l.(syscall.Conn)
	if !ok {
		return nil
	}
	const flags, syn, ack = 13, 0x02, 0x10
	steps := [...]bpf.Instruction{
		bpf.LoadAbsolute{Off: flags, Size: 1},
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: syn | ack},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: syn, SkipFalse: 1},
		bpf.RetConstant{Val: 0},
		bpf.RetConstant{Val: 0xffff},
	}
	program, err := bpf.Assemble(steps[:])
	if err != nil {
		return err
	}
	var filter [len(steps)]unix.SockFilter
	for i, step := range program {
		filter[i] = unix.SockFilter{Code: step.Op, Jt: step.Jt, Jf: step.Jf, K: step.K}
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		set = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(steps)), Filter: &filter[0]})
	})
	if err == nil {
		err = set
	}
	return err
}
