package redisconn

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"
)

// ErrBadPosition is returned for a position that ScanPage has not returned, or that is no longer valid
// because a server was restarted or keys were moved to another one.
var ErrBadPosition = errors.New("not a position among the keys of the current Redis servers")

const (
	// maxScans is the maximum number of SCAN commands for a page.
	maxScans = 32

	// minScanCount is the minimum number of keys to look at with one command.
	minScanCount = 10
)

// position is where a page of keys begins.
type position struct {
	topology string // fingerprint of the topology in which the cursor was obtained
	server   string // host:port
	runID    string // identifies the process of the server: a cursor is not valid in another one
	cursor   string
}

// String returns the position as one opaque word.
func (p position) String() string {
	fields := strings.Join([]string{p.topology, p.server, p.runID, p.cursor}, " ")

	return base64.RawURLEncoding.EncodeToString([]byte(fields))
}

// parsePosition parses the result of position.String. Errors: ErrBadPosition.
func parsePosition(text string) (position, error) {
	decoded, err := base64.RawURLEncoding.DecodeString(text)
	fields := strings.Split(string(decoded), " ")
	if err != nil || len(fields) != 4 {
		return position{}, ErrBadPosition
	}

	return position{
		topology: fields[0],
		server:   fields[1],
		runID:    fields[2],
		cursor:   fields[3],
	}, nil
}

// ScanPage returns about count keys that match a pattern, and the position at which the next page
// begins, or "" after the last page. after is the position from the previous page, or "" for the
// first one. A page may have a few more keys, or fewer if most keys do not match, and the same key may
// appear twice. A key that exists during all pages is in one of them. Redis commands: one for each
// server on the page, and at most 32. Only operators' commands may use it. Errors: ErrBadPosition,
// ErrUnavailable.
func (c *Client) ScanPage(ctx context.Context, pattern, after string, count int) (keys []string, next string, err error) {
	t, err := c.current(time.Now().Add(c.options.Timeout)) // waits for the first refresh
	if err != nil {
		return nil, "", err
	}

	p := position{topology: t.fingerprint(), server: t.addrs()[0]}
	if after != "" {
		p, err = parsePosition(after)
		if err == nil && (p.topology != t.fingerprint() || !slices.Contains(t.addrs(), p.server)) {
			err = ErrBadPosition
		}
		if err != nil {
			return nil, "", err
		}
	}

	keys, next, err = c.scanFrom(ctx, t, p, pattern, count)

	// If keys were moved to another server meanwhile, some may have been missed.
	if err == nil && !t.sameAs(c.topology.Load()) {
		err = fmt.Errorf("%w: slots moved during the scan", ErrUnavailable)
	}

	return keys, next, err
}

// scanFrom scans from a position on, one server after the other. Errors: ErrBadPosition, ErrUnavailable.
func (c *Client) scanFrom(ctx context.Context, t *topology, p position, pattern string, count int) (keys []string, next string, err error) {
	isCurrent := false // whether p.runID was compared with that of the server

	for range maxScans {
		do := c.sendTo(ctx, p.server)

		if !isCurrent {
			runID, err := runIDOf(do)
			switch {
			case err != nil:
				return nil, "", err
			case p.cursor == "":
				p.runID = runID
				p.cursor = "0"
			case p.runID != runID:
				return nil, "", ErrBadPosition
			}
			isCurrent = true
		}

		var found []string
		reply, err := do("SCAN", p.cursor, "MATCH", pattern, "COUNT", max(count-len(keys), minScanCount))
		if err := Scan(reply, err, &p.cursor, &found); err != nil {
			return nil, "", err
		}
		keys = append(keys, found...)

		if p.cursor == "0" {
			server := t.addrAfter(p.server)
			if server == "" {
				return keys, "", nil
			}

			p = position{topology: p.topology, server: server}
			isCurrent = false
		}
		if len(keys) >= count {
			break
		}
	}

	return keys, p.String(), nil
}

// sendTo returns a Sender to one server.
func (c *Client) sendTo(ctx context.Context, server string) Sender {
	return func(command string, args ...any) (any, error) { return c.DoAt(ctx, server, command, args...) }
}

// runIDOf returns the ID of the process of a server, or "" if it is unknown. Errors: ErrUnavailable.
func runIDOf(do Sender) (string, error) {
	info, err := String(do("INFO", "server"))
	if Code(err) != "" {
		return "", nil // a proxy or a stand-in that does not know the command
	}
	if err != nil {
		return "", err
	}

	for line := range strings.Lines(info) {
		if id, ok := strings.CutPrefix(line, "run_id:"); ok {
			return strings.TrimSpace(id), nil
		}
	}

	return "", nil
}

// addrAfter returns the host:port that follows another one in addrs, or "" after the last.
func (t *topology) addrAfter(addr string) string {
	all := t.addrs()
	i := slices.Index(all, addr)
	if i < 0 || i+1 == len(all) {
		return ""
	}

	return all[i+1]
}

// fingerprint returns a word that changes if keys are served by another server.
func (t *topology) fingerprint() string {
	h := fnv.New64a()
	_, _ = fmt.Fprintln(h, t.addrs())
	if t.slots != nil {
		for _, n := range t.slots {
			addr := ""
			if n != nil {
				addr = n.addr
			}
			_, _ = fmt.Fprintln(h, addr)
		}
	}

	return fmt.Sprintf("%x", h.Sum64())
}
