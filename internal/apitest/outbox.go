package apitest

import (
	"context"
	"regexp"
	"slices"
	"sync"
	"testing"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/mail"
	"latchkey/internal/testkit"
)

// Outbox is a mail.Sender that stores emails for a test to take.
type Outbox struct {
	mu      sync.Mutex
	sent    []mail.Message
	secrets *Secrets // receives the tokens in the emails
}

// LinkPattern matches a link with a one-time token. Its groups are the page and the token.
var LinkPattern = regexp.MustCompile(`https://app\.example\.com/(reset-password|verify-email|accept-invitation)#token=([A-Za-z0-9_-]+)`)

// Send implements mail.Sender.
func (o *Outbox) Send(_ context.Context, m mail.Message) error {
	o.mu.Lock()
	defer o.mu.Unlock()

	o.sent = append(o.sent, m)
	for _, link := range LinkPattern.FindAllStringSubmatch(m.Text, -1) {
		o.secrets.Add("a token from an email", link[2])
	}

	return nil
}

// Token waits for an email with a link to a page, removes it, and returns the token in
// the link.
func (o *Outbox) Token(t testing.TB, to, page string) (token string) {
	t.Helper()

	o.take(t, to, "link to "+page, func(m mail.Message) bool {
		link := LinkPattern.FindStringSubmatch(m.Text)
		if link == nil || link[1] != page {
			return false
		}
		token = link[2]

		return true
	})

	return token
}

// Subject waits for an email with a subject, removes it and returns it.
func (o *Outbox) Subject(t testing.TB, to, subject string) mail.Message {
	t.Helper()

	return o.take(t, to, "subject "+subject, func(m mail.Message) bool { return m.Subject == subject })
}

// take waits for an email that matches, removes it and returns it.
func (o *Outbox) take(t testing.TB, to, what string, matches func(mail.Message) bool) (taken mail.Message) {
	t.Helper()

	testkit.Eventually(t, "an email to "+to+" with "+what, func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()

		i := slices.IndexFunc(o.sent, func(m mail.Message) bool { return m.To == to && matches(m) })
		if i < 0 {
			return false
		}
		taken = o.sent[i]
		o.sent = slices.Delete(o.sent, i, i+1)

		return true
	})

	return taken
}

// DeliverMails sends the emails in the mail queue.
func (s *Server) DeliverMails() {
	s.T.Helper()

	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { s.Auth.RunMail(ctx) })
	s.SentMails()
	stop()
	running.Wait()
}

// SentMails waits until the mail queue is empty and returns the emails in the outbox.
func (s *Server) SentMails() []mail.Message {
	s.T.Helper()

	conn := s.Redis.Conn(s.T)
	defer func() { _ = conn.Close() }() // some tests call this thousands of times

	testkit.Eventually(s.T, "an empty mail queue", func() bool {
		n := 0
		// A lookup can become an email in between, so count the lookups first.
		for _, key := range []string{"mail:{queue}:lookups", "mail:{queue}"} {
			waiting, err := redis.Int(conn.Do("ZCARD", key))
			testkit.NoError(s.T, err)
			n += waiting
		}

		return n == 0
	})

	s.Outbox.mu.Lock()
	defer s.Outbox.mu.Unlock()

	return slices.Clone(s.Outbox.sent)
}

// MailsTo waits until the mail queue is empty and returns the number of emails to a
// recipient in the outbox.
func (s *Server) MailsTo(email string) int {
	s.T.Helper()

	return len(slices.DeleteFunc(s.SentMails(), func(m mail.Message) bool { return m.To != email }))
}

// TakeMails waits until the mail queue is empty and empties the outbox.
func (s *Server) TakeMails() []mail.Message {
	s.T.Helper()

	sent := s.SentMails()

	s.Outbox.mu.Lock()
	defer s.Outbox.mu.Unlock()
	s.Outbox.sent = nil

	return sent
}
