package httpapi

import (
	"context"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/mail"
)

// outbox is a mail.Sender that keeps what it is given. What a mail looks like on its
// way is for the tests of package mail.
type outbox struct {
	mu       sync.Mutex
	sent     []mail.Message
	came     chan struct{} // closed when another one comes
	canaries *canaries     // takes the tokens
}

// Send implements mail.Sender.
func (o *outbox) Send(_ context.Context, m mail.Message) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sent = append(o.sent, m)
	for _, link := range linkIn.FindAllStringSubmatch(m.Text, -1) {
		o.canaries.add("a token of a mail", link[2])
	}
	if o.came != nil {
		close(o.came)
		o.came = nil
	}
	return nil
}

// mailLimit is how long a test waits for a mail that must come.
const mailLimit = 20 * time.Second

// take waits for a mail to an address that fits, and takes it out.
func (o *outbox) take(t testing.TB, to string, fits func(mail.Message) bool) mail.Message {
	t.Helper()
	limit := time.After(mailLimit)
	for {
		o.mu.Lock()
		i := slices.IndexFunc(o.sent, func(m mail.Message) bool { return m.To == to && fits(m) })
		if i >= 0 {
			m := o.sent[i]
			o.sent = slices.Delete(o.sent, i, i+1)
			o.mu.Unlock()
			return m
		}
		if o.came == nil {
			o.came = make(chan struct{})
		}
		came := o.came
		o.mu.Unlock()
		select {
		case <-came:
		case <-limit:
			t.Fatalf("no such mail to %s in %v", to, mailLimit)
		}
	}
}

var linkIn = regexp.MustCompile(`https://app\.example\.com/(reset-password|verify-email)#token=([A-Za-z0-9_-]+)`)

// token waits for a mail with a link to a page, and takes the token out of it.
func (o *outbox) token(t testing.TB, to, page string) string {
	t.Helper()
	m := o.take(t, to, func(m mail.Message) bool {
		found := linkIn.FindStringSubmatch(m.Text)
		return found != nil && found[1] == page
	})
	return linkIn.FindStringSubmatch(m.Text)[2]
}

// subject waits for a mail with a subject, and takes it out.
func (o *outbox) subject(t testing.TB, to, subject string) mail.Message {
	t.Helper()
	return o.take(t, to, func(m mail.Message) bool { return m.Subject == subject })
}

// forgetLimits has the limits begin anew: they are on the clock of Redis.
func (s *site) forgetLimits() {
	s.t.Helper()
	conn := s.redis.Conn(s.t)
	defer func() { _ = conn.Close() }() // it is asked very often
	for _, pattern := range []string{"limit:*", "mail:{queue}:pace:*", "mail:{queue}:day:*"} {
		keys, err := redis.Strings(conn.Do("KEYS", pattern))
		for _, key := range keys {
			if err == nil {
				_, err = conn.Do("DEL", key)
			}
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
}

// settle waits until nothing is in the queue, and returns how many mails to an address
// were sent and not taken.
func (s *site) settle(to string) int {
	s.t.Helper()
	conn := s.redis.Conn(s.t)
	defer func() { _ = conn.Close() }() // it is asked very often
	for deadline := time.Now().Add(mailLimit); ; {
		n, err := conn.Do("ZCARD", "mail:{queue}")
		if err != nil {
			s.t.Fatal(err)
		}
		if n.(int64) == 0 {
			break
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%d mails are still in the queue", n)
		}
	}
	s.outbox.mu.Lock()
	defer s.outbox.mu.Unlock()
	return len(slices.DeleteFunc(slices.Clone(s.outbox.sent), func(m mail.Message) bool { return m.To != to }))
}
