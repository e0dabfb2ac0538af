package redisconn

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
)

// pages returns all pages, one after the other.
func pages(t *testing.T, c *Client, pattern string, count int) [][]string {
	t.Helper()

	var all [][]string
	next := ""
	for {
		keys, following, err := c.ScanPage(context.Background(), pattern, next, count)
		testkit.NoError(t, err)
		all = append(all, keys)
		if following == "" {
			return all
		}

		next = following
	}
}

// Together the pages have all keys that match. With a Redis that supports it, no page is much longer than
// requested.
func TestScanPage(t *testing.T) {
	t.Parallel()
	r := storetest.NewRedis(t)
	c := newClient(t, r)

	var want []string
	for i := range 500 {
		key := fmt.Sprintf("sess:%d", i)
		want = append(want, key)
		for _, name := range []string{key, fmt.Sprintf("other:%d", i)} {
			_, err := c.Do(context.Background(), "SET", name, "x")
			testkit.NoError(t, err)
		}
	}

	all := pages(t, c, "sess:*", 50)
	got := slices.Concat(all...)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(slices.Compact(got), want) {
		t.Errorf("keys: got %d, want %d", len(got), len(want))
	}

	if r.InProcess {
		return // it has only one page
	}
	for i, page := range all {
		if len(page) > 70 {
			t.Errorf("page %d: got %d keys, want about 50", i, len(page))
		}
	}
	if len(all) < 500/70 {
		t.Errorf("got %d pages, want about 10", len(all))
	}
}

// A page takes a bounded number of commands, even if no key matches.
func TestScanPageIsBounded(t *testing.T) {
	t.Parallel()
	var scans atomic.Int32
	server := fakeServer(t, func(command []string) string {
		if command[0] == "SCAN" {
			scans.Add(1)
		}
		if command[0] == "INFO" {
			return "$8\r\nrun_id:a\r\n"
		}

		return "*2\r\n$1\r\n7\r\n*0\r\n"
	})

	keys, next, err := newClient(t, storetest.Redis{Addr: server}).ScanPage(context.Background(), "*", "", 100)
	if len(keys) != 0 || next == "" || err != nil || scans.Load() != maxScans {
		t.Errorf("got %d keys, next page %q, error %v and %d scans; want 0 keys, a next page and %d scans", len(keys), next, err, scans.Load(), maxScans)
	}
}

// A position is refused if it would skip keys: if Redis was restarted, if other servers have the keys, or
// if it was made up.
func TestScanPagePositions(t *testing.T) {
	t.Parallel()
	var restarts atomic.Int32
	answer := func(command []string) string {
		if command[0] == "INFO" {
			return fmt.Sprintf("$8\r\nrun_id:%d\r\n", restarts.Load())
		}

		return "*2\r\n$1\r\n7\r\n*1\r\n$1\r\nk\r\n"
	}
	c := newClient(t, storetest.Redis{Addr: fakeServer(t, answer)})
	page := func(after string) (string, error) {
		_, next, err := c.ScanPage(context.Background(), "*", after, 1)
		return next, err
	}
	wantRefused := func(what, after string) {
		t.Helper()
		if _, err := page(after); !errors.Is(err, ErrBadPosition) {
			t.Errorf("%s: got error %v, want ErrBadPosition", what, err)
		}
	}

	first, err := page("")
	testkit.NoError(t, err)
	second, err := page(first)
	testkit.NoError(t, err)
	if strings.ContainsAny(second, " =+/") {
		t.Errorf("got position %q, want a word that a shell does not interpret", second)
	}

	wantRefused("made up", "made-up")
	wantRefused("cut", second[:len(second)-8])

	restarts.Add(1)
	wantRefused("after a restart", second)
	restarts.Add(-1)

	before := c.topology.Load()
	c.apply(&topology{nodes: []*node{c.nodeAt(fakeServer(t, answer))}})
	wantRefused("after a failover", second)
	c.apply(&topology{nodes: []*node{c.nodeAt(before.nodes[0].addr)}})
	if _, err := page(second); err != nil {
		t.Errorf("got error %v, want the next page", err)
	}
}
