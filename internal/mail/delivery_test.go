package mail

import (
	"bytes"
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/internal/devstore/storetest"
)

// deliver makes a handle for Run that sends a letter for each job.
func deliver(s Sender) func(context.Context, Job) error {
	return func(ctx context.Context, job Job) error {
		m, err := Compose(Letter{Kind: job.Kind, JobID: job.ID, To: job.Email, Name: job.Name, Device: job.Device, IP: job.IP, At: job.At})
		if err != nil {
			return err
		}
		return s.Send(ctx, m)
	}
}

// From the queue to a mail server that has its troubles: each letter arrives once, or
// is refused once.
func TestDelivery(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		trouble func(t *testing.T, server *mailServer, proxy *storetest.Proxy) (mended func())
		arrives bool
		again   bool // it is tried again meanwhile
	}{
		{name: "no trouble", arrives: true},
		{name: "server away", arrives: true, again: true, trouble: func(t *testing.T, _ *mailServer, proxy *storetest.Proxy) func() {
			proxy.Refuse()
			return func() { proxy.Restore(t) }
		}},
		{name: "server silent", arrives: true, again: true, trouble: func(_ *testing.T, _ *mailServer, proxy *storetest.Proxy) func() {
			proxy.Silence()
			return func() { proxy.Set(storetest.Faults{}) }
		}},
		{name: "later", arrives: true, again: true, trouble: func(_ *testing.T, server *mailServer, _ *storetest.Proxy) func() {
			server.set("RCPT", 450, "greylisted")
			return func() { server.set("RCPT", 0, "") }
		}},
		{name: "never", trouble: func(_ *testing.T, server *mailServer, _ *storetest.Proxy) func() {
			server.set("RCPT", 550, "no such user")
			return func() {}
		}},
		{name: "login refused", arrives: true, again: true, trouble: func(_ *testing.T, server *mailServer, _ *storetest.Proxy) func() {
			server.set("AUTH", 535, "wrong password")
			return func() { server.set("AUTH", 0, "") }
		}},
		{name: "restart in the middle of DATA", arrives: true, again: true, trouble: func(t *testing.T, _ *mailServer, proxy *storetest.Proxy) func() {
			var broken atomic.Bool
			proxy.Set(storetest.Faults{Command: func(_ net.Conn, chunk []byte) bool {
				if !bytes.Contains(chunk, []byte("MIME-Version")) {
					return false
				}
				if !broken.Swap(true) {
					proxy.Refuse()
				}
				return true
			}})
			return func() { proxy.Restore(t) }
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := newMailServer(t, serverOptions{})
			proxy := storetest.NewProxy(t, server.addr)
			s := newSMTP(t, "smtp://"+credentials+proxy.Addr, nil)
			s.Timeout = 2 * time.Second
			mended := func() {}
			if tt.trouble != nil {
				mended = tt.trouble(t, server, proxy)
			}
			q, log := newQueue(t, storetest.NewRedis(t), QueueOptions{Backoff: 20 * time.Millisecond})
			push(t, q, "JOB")
			start(t, q, deliver(s))
			eventually(t, "a first attempt", func() bool {
				return !tt.again || len(log.lines(t, "mail was not sent and will be tried again")) > 0
			})
			if tt.again && len(server.got()) > 0 {
				t.Error("it arrived before it was mended")
			}
			mended()
			eventually(t, "the queue is empty", empty(t, q))
			got, dropped := server.got(), log.lines(t, "mail was dropped")
			if len(got) == 1 != tt.arrives || len(dropped) == 0 != tt.arrives || len(got) > 1 || len(dropped) > 1 {
				t.Errorf("%d messages, dropped: %v", len(got), dropped)
			}
		})
	}
}
