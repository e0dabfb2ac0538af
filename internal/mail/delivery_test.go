package mail

import (
	"bytes"
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/mail/mailtest"
	"latchkey/internal/testkit"
)

// deliver returns a handler for Run that composes and sends an email for each job.
func deliver(s Sender) func(context.Context, Job) error {
	return func(ctx context.Context, job Job) error {
		m, err := Compose(Email{Job: job})
		if err != nil {
			return err
		}

		return s.Send(ctx, m)
	}
}

// Each email in the queue is delivered once or dropped once, whatever problems the mail server
// has in between.
func TestDelivery(t *testing.T) {
	t.Parallel()

	for _, tt := range []struct {
		name    string
		problem func(t *testing.T, server *mailtest.Server, proxy *storetest.Proxy) (fix func())
		arrives bool
		retried bool // before the problem is fixed
	}{
		{name: "no problem", arrives: true},
		{name: "server down", arrives: true, retried: true, problem: func(t *testing.T, _ *mailtest.Server, proxy *storetest.Proxy) func() {
			proxy.Refuse()
			return func() { proxy.Restore(t) }
		}},
		{name: "server hangs", arrives: true, retried: true, problem: func(_ *testing.T, _ *mailtest.Server, proxy *storetest.Proxy) func() {
			proxy.Blackhole()
			return func() { proxy.Set(storetest.Faults{}) }
		}},
		{name: "temporary rejection", arrives: true, retried: true, problem: func(_ *testing.T, server *mailtest.Server, _ *storetest.Proxy) func() {
			server.FailAt(mailtest.Rcpt, mailtest.Reply(450, "greylisted"))
			return func() { server.FailAt(mailtest.Rcpt, nil) }
		}},
		{name: "permanent rejection", problem: func(_ *testing.T, server *mailtest.Server, _ *storetest.Proxy) func() {
			server.FailAt(mailtest.Rcpt, mailtest.Reply(550, "no such user"))
			return func() {}
		}},
		{name: "login rejected", arrives: true, retried: true, problem: func(_ *testing.T, server *mailtest.Server, _ *storetest.Proxy) func() {
			server.FailAt(mailtest.Auth, mailtest.Reply(535, "wrong password"))
			return func() { server.FailAt(mailtest.Auth, nil) }
		}},
		{name: "connection broken during DATA", arrives: true, retried: true, problem: func(t *testing.T, _ *mailtest.Server, proxy *storetest.Proxy) func() {
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

			server := mailtest.New(t, mailtest.Options{})
			proxy := storetest.NewProxy(t, server.Addr)
			s := newSMTP(t, "smtp://"+credentials+proxy.Addr, nil)
			s.Timeout = 2 * time.Second
			fix := func() {}
			if tt.problem != nil {
				fix = tt.problem(t, server, proxy)
			}

			q, log := newQueue(t, storetest.NewRedis(t), QueueOptions{Backoff: 20 * time.Millisecond})
			push(t, q, "JOB")
			start(t, q, deliver(s))
			testkit.Eventually(t, "a first attempt", func() bool {
				return !tt.retried || len(log.lines(t, "email not sent; will retry")) > 0
			})

			if tt.retried && len(server.Messages()) > 0 {
				t.Errorf("got %d messages before the problem was fixed, want 0", len(server.Messages()))
			}

			fix()
			testkit.Eventually(t, "the queue to be empty", empty(t, q))
			got := server.Messages()
			dropped := log.lines(t, "email dropped")
			if len(got) == 1 != tt.arrives || len(dropped) == 0 != tt.arrives || len(got) > 1 || len(dropped) > 1 {
				t.Errorf("got %d messages, dropped: %v, want it to arrive: %t", len(got), dropped, tt.arrives)
			}
		})
	}
}
