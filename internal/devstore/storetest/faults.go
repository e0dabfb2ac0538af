package storetest

import (
	"bytes"
	"io"
	"net"
	"time"
)

// OnWrites returns a Command fault that calls command only for commands that may write.
func OnWrites(command func(net.Conn, []byte) bool) func(net.Conn, []byte) bool {
	return func(client net.Conn, chunk []byte) bool {
		for _, name := range []string{"EVAL", "ZREM", "DEL"} { // EVALSHA as well
			if bytes.Contains(chunk, []byte("\r\n"+name)) {
				return command(client, chunk)
			}
		}
		return false
	}
}

// Say returns a Command fault that replies instead of the server.
func Say(reply string) func(net.Conn, []byte) bool {
	return func(client net.Conn, _ []byte) bool {
		_, _ = io.WriteString(client, reply)
		return true
	}
}

// HangUp is a fault that closes the client's connection.
func HangUp(client net.Conn, _ []byte) bool {
	_ = client.Close()
	return true
}

// Reset is a fault that resets the client's connection.
func Reset(client net.Conn, chunk []byte) bool {
	_ = client.(*net.TCPConn).SetLinger(0)
	return HangUp(client, chunk)
}

// Swallow is a fault that drops the data.
func Swallow(net.Conn, []byte) bool { return true }

// Late returns a fault that delays the data.
func Late(wait time.Duration) func(net.Conn, []byte) bool {
	return func(net.Conn, []byte) bool {
		time.Sleep(wait)
		return false
	}
}

// ForgetScripts is a fault that answers EVALSHA like a Redis that has lost its scripts.
func ForgetScripts(client net.Conn, chunk []byte) bool {
	const reply = "-NOSCRIPT No matching script. Please use EVAL.\r\n"
	return bytes.Contains(chunk, []byte("\r\nEVALSHA")) && Say(reply)(client, chunk)
}
