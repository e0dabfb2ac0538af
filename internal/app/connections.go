package app

import (
	"container/list"
	"crypto/tls"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"
)

const (
	// maxClientConnections is the maximum number of connections from one client: an IPv4 IP or an
	// IPv6 /48, which one customer of an ISP can have. A browser opens one over HTTP/2 and up to
	// six over HTTP/1.1. If each connection has 32 streams with the largest headers, and the client
	// reads no response, 64 connections use 120 MiB.
	maxClientConnections = 64

	// minConnections and maxConnections bound the total number of connections.
	minConnections = 512
	maxConnections = 8192
	// connectionMemory is the memory in bytes of a connection with the largest headers.
	connectionMemory = 64 << 10
)

// connectionLimit returns the maximum total number of connections. Within its bounds, it depends on
// GOMEMLIMIT, of which connections may use half.
func connectionLimit() int {
	memory := debug.SetMemoryLimit(-1)
	if memory == math.MaxInt64 {
		return maxConnections
	}

	return int(min(max(memory/2/connectionMemory, minConnections), maxConnections))
}

// connections limits the connections to a server. At a limit, it makes room for a new connection by
// closing the one that has been idle the longest. If none is idle, it closes the one that has been
// active the longest: ordinary requests take milliseconds, so the client of that one is most likely
// slow on purpose. Clients that hold connections open therefore cannot keep others out.
type connections struct {
	total     int
	perClient int
	shared    []netip.Prefix // proxies and other peers that many clients share: only total applies
	log       *slog.Logger

	mu      sync.Mutex // held for a moment twice per request
	open    map[net.Conn]*list.Element
	order   list.List            // of *connection; the one that has been idle or active the longest is first
	clients map[netip.Prefix]int // number of open connections
	warned  int64                // the minute of the last warning
}

// connection is an open connection.
type connection struct {
	net.Conn
	client   netip.Prefix // zero if only the total limit applies
	isActive bool         // whether a request is in progress
}

// newConnections returns the limits of the API's listener. trustedProxies are IP prefixes.
func newConnections(trustedProxies []string, log *slog.Logger) *connections {
	shared := []netip.Prefix{
		// Programs on this machine.
		netip.MustParsePrefix("127.0.0.0/8"),
		netip.MustParsePrefix("::1/128"),
	}
	for _, p := range trustedProxies {
		shared = append(shared, netip.MustParsePrefix(p)) // validated by package config
	}

	return &connections{
		total:     connectionLimit(),
		perClient: maxClientConnections,
		shared:    shared,
		log:       log,
		open:      map[net.Conn]*list.Element{},
		clients:   map[netip.Prefix]int{},
	}
}

// track is an http.Server.ConnState hook. A connection is idle between requests, and new until
// its first request is complete. An HTTP/2 connection is active while it has any stream.
func (c *connections) track(conn net.Conn, to http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()

	if to == http.StateNew {
		c.add(conn)
		return
	}

	entry := c.open[conn]
	if entry == nil { // it was closed to make room
		return
	}

	switch to {
	case http.StateActive, http.StateIdle:
		known := entry.Value.(*connection)
		if isActive := to == http.StateActive; known.isActive != isActive {
			known.isActive = isActive
			c.order.MoveToBack(entry)
		}
	default:
		c.remove(entry)
	}
}

// add makes room for a new connection if necessary, and adds it.
func (c *connections) add(conn net.Conn) {
	added := &connection{
		Conn:   conn,
		client: c.clientOf(conn),
	}

	if added.client.IsValid() && c.clients[added.client] >= c.perClient {
		c.makeRoom("client", func(other *connection) bool { return other.client == added.client })
	}
	if len(c.open) >= c.total {
		c.makeRoom("total", func(*connection) bool { return true })
	}

	c.open[conn] = c.order.PushBack(added)
	if added.client.IsValid() {
		c.clients[added.client]++
	}
}

// makeRoom closes the matching connection that has been idle the longest, or else the one that has
// been active the longest. limit names the limit that was reached.
func (c *connections) makeRoom(limit string, matches func(*connection) bool) {
	var oldest *list.Element
	for e := c.order.Front(); e != nil; e = e.Next() {
		other := e.Value.(*connection)
		if !matches(other) {
			continue
		}

		if !other.isActive {
			oldest = e
			break
		}
		if oldest == nil {
			oldest = e
		}
	}
	if oldest == nil {
		return
	}

	closed := oldest.Value.(*connection)
	if closed.isActive {
		c.warn(limit, closed)
	}
	c.remove(oldest)
	abort(closed.Conn)
}

// remove forgets a connection that is closed or about to be closed.
func (c *connections) remove(entry *list.Element) {
	gone := c.order.Remove(entry).(*connection)
	delete(c.open, gone.Conn)

	if gone.client.IsValid() {
		c.clients[gone.client]--
		if c.clients[gone.client] == 0 {
			delete(c.clients, gone.client)
		}
	}
}

// warn logs that a connection with a request in progress is closed, at most once a minute.
func (c *connections) warn(limit string, closed *connection) {
	if minute := time.Now().Unix() / 60; minute != c.warned {
		c.warned = minute
		c.log.Warn("too many connections: closed one with a request in progress", "limit", limit, "ip", remoteIP(closed).String())
	}
}

// clientOf returns the prefix that identifies the client of a connection, or the zero Prefix if
// many clients may connect through the peer.
func (c *connections) clientOf(conn net.Conn) netip.Prefix {
	ip := remoteIP(conn)
	for _, p := range c.shared {
		if p.Contains(ip) {
			return netip.Prefix{}
		}
	}

	bits := 32
	if ip.Is6() {
		bits = 48
	}
	prefix, _ := ip.Prefix(bits) // zero for a peer without an IP

	return prefix
}

// remoteIP returns the IP of a peer without its zone, or the zero Addr if the peer has no IP.
func remoteIP(conn net.Conn) netip.Addr {
	peer, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}

	return peer.Addr().Unmap().WithZone("")
}

// abort closes a connection without the closing alert of TLS, because a client that reads nothing
// could delay sending it.
func abort(conn net.Conn) {
	if encrypted, ok := conn.(*tls.Conn); ok {
		conn = encrypted.NetConn()
	}
	_ = conn.Close()
}
