package main

import (
	"bytes"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/gomodule/redigo/redis"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/mail/mailtest"
	"latchkey/internal/testkit"
)

// mailSetup has the stores and the settings of servers that send emails, and a mail server
// behind a proxy that can break the connection.
type mailSetup struct {
	t         *testing.T
	mails     *mailtest.Server
	proxy     *storetest.Proxy
	redis     storetest.Redis
	mongo     string
	environ   []string
	confirmed atomic.Int32 // emails whose acceptance reached the client
}

func newMailSetup(t *testing.T, more ...string) *mailSetup {
	t.Helper()

	s := &mailSetup{
		t:     t,
		mails: mailtest.New(t, mailtest.Options{}),
		redis: storetest.NewRedis(t),
		mongo: storetest.Mongo(t),
	}
	s.proxy = storetest.NewProxy(t, s.mails.Addr)
	s.proxy.Set(storetest.Faults{Reply: s.countConfirmed})

	smtpURL := url.URL{Scheme: "smtp", User: url.UserPassword(mailtest.Username, mailtest.Password), Host: s.proxy.Addr}
	s.environ = slices.Concat(baseSettings(s.redis, s.mongo), []string{
		"APP_ENV=test",
		"BCRYPT_COST=4",
		"LOG_LEVEL=debug",
		"RATE_LIMIT=off",
		"REDIS_TIMEOUT=10s", // the machine may be busy
		"MONGODB_TIMEOUT=10s",
		"SMTP_URL=" + smtpURL.String(),
		"MAIL_FROM=Latchkey <no-reply@example.com>",
		"PUBLIC_URL=https://app.example.com",
	}, more)

	return s
}

// countConfirmed is a fault that forwards everything and counts confirmed emails.
func (s *mailSetup) countConfirmed(client net.Conn, chunk []byte) bool {
	if !bytes.HasPrefix(chunk, []byte("250 2.0.0 OK: queued")) {
		return false
	}
	if _, err := client.Write(chunk); err == nil {
		s.confirmed.Add(1)
	}

	return true
}

// restart closes all connections, as a mail server that restarts does.
func (s *mailSetup) restart() {
	s.t.Helper()

	s.proxy.Refuse()
	s.proxy.Restore(s.t)
	s.proxy.Set(storetest.Faults{Reply: s.countConfirmed})
}

// slowDown delays every reply of the mail server.
func (s *mailSetup) slowDown() {
	late := storetest.Late(20 * time.Millisecond)
	s.proxy.Set(storetest.Faults{Reply: func(client net.Conn, chunk []byte) bool {
		return late(client, chunk) || s.countConfirmed(client, chunk)
	}})
}

// hang makes the mail server accept connections without replying, and counts them.
func (s *mailSetup) hang() *atomic.Int32 {
	var connections atomic.Int32
	s.proxy.Set(storetest.Faults{Accept: func(net.Conn) bool {
		connections.Add(1)
		return true
	}})

	return &connections
}

// queued returns the number of emails in the queue, including those being sent, plus the number of
// requests whose recipient has not been looked up yet.
func (s *mailSetup) queued() (n int) {
	s.t.Helper()

	conn := s.redis.Conn(s.t)
	defer func() { _ = conn.Close() }()
	for _, key := range []string{"mail:{queue}:lookups", "mail:{queue}"} {
		waiting, err := redis.Int(conn.Do("ZCARD", key))
		testkit.NoError(s.t, err)
		n += waiting
	}

	return n
}

const (
	retryLogged = "email not sent; will retry"
	dropLogged  = "email dropped"
)

// waitForRetries waits until a server has logged n failed attempts to send an email.
func (s *mailSetup) waitForRetries(log *testkit.Buffer, n int) {
	s.t.Helper()

	testkit.Eventually(s.t, fmt.Sprintf("%d failed attempts", n), func() bool {
		return strings.Count(log.String(), retryLogged) >= n
	})
}

// mailsPerUser is the number of emails that requestMails causes for each user.
const mailsPerUser = 3

// requestMails registers users, logs them in and requests a password reset.
func (s *mailSetup) requestMails(base string, users []string) {
	s.t.Helper()

	// The first request waits for MongoDB to create the collections.
	testkit.Eventually(s.t, "the first response", func() bool {
		res := send(s.t, "POST", base+"/auth/login", `{"email":"nobody@example.com","password":"a long password"}`)

		return res.StatusCode == http.StatusUnauthorized
	})

	for _, user := range users {
		email := `"email":"` + user + `@example.com"`
		mustSend(s.t, http.StatusCreated, "POST", base+"/auth/register", `{"name":"U",`+email+`,"password":"a long password"}`)

		// There is no email about a login of the client that has just registered.
		res := send(s.t, "POST", base+"/auth/login", `{`+email+`,"password":"a long password"}`, "User-Agent", "another client")
		if res.StatusCode != http.StatusOK {
			s.t.Fatalf("login: got %d %s, want 200", res.StatusCode, res.text)
		}

		mustSend(s.t, http.StatusAccepted, "POST", base+"/auth/password/forgot", `{`+email+`}`)
	}
}

func numberedUsers(n int) (users []string) {
	for i := range n {
		users = append(users, fmt.Sprintf("u%d", i))
	}

	return users
}

// wantAllMails waits for the emails of requestMails and fails the test unless each arrived
// once. An email may arrive again if its confirmation was lost.
func (s *mailSetup) wantAllMails(users []string) {
	s.t.Helper()

	testkit.Eventually(s.t, "all emails to be sent", func() bool {
		return s.queued() == 0 && len(s.mails.Messages()) >= mailsPerUser*len(users)
	})

	messages := s.mails.Messages()
	ids := map[string]bool{}
	subjects := map[string]bool{} // with their recipients
	perUser := map[string]int{}
	for _, m := range messages {
		ids[m.Header("Message-ID")] = true
		if subject := m.To + " " + m.Header("Subject"); !subjects[subject] {
			subjects[subject] = true
			perUser[m.To]++
		}
	}
	want := map[string]int{}
	for _, user := range users {
		want[user+"@example.com"] = mailsPerUser
	}

	if !maps.Equal(perUser, want) {
		s.t.Errorf("emails: got %v, want %v", perUser, want)
	}
	if len(ids) < len(subjects) {
		s.t.Errorf("Message-IDs: got %d, want at least %d", len(ids), len(subjects))
	}
	repeated := len(messages) - len(subjects)
	if unconfirmed := len(messages) - int(s.confirmed.Load()); repeated > unconfirmed {
		s.t.Errorf("repeated emails: got %d, want at most %d (the unconfirmed ones)", repeated, unconfirmed)
	}
}

// Users do not notice a broken mail server, and every email arrives once.
func TestBrokenMailServer(t *testing.T) {
	t.Parallel()

	users := numberedUsers(3)
	failAt := func(step mailtest.Step, fail func(*smtp.Conn) error) func(*mailSetup, string, *testkit.Buffer) {
		return func(s *mailSetup, base string, log *testkit.Buffer) {
			s.mails.FailAt(step, fail)
			s.requestMails(base, users)
			s.waitForRetries(log, mailsPerUser*len(users))
			s.mails.FailAt(step, nil)
		}
	}

	for name, breakAndRequest := range map[string]func(s *mailSetup, base string, log *testkit.Buffer){
		"hanging": func(s *mailSetup, base string, log *testkit.Buffer) {
			connections := s.hang()
			s.requestMails(base, users)
			testkit.Eventually(s.t, "an attempt to hang", func() bool { return connections.Load() > 0 })
			s.restart()
			s.waitForRetries(log, 1)
		},
		"down": func(s *mailSetup, base string, log *testkit.Buffer) {
			s.proxy.Refuse()
			s.requestMails(base, users)
			s.waitForRetries(log, mailsPerUser*len(users))
			s.restart()
		},
		"rejects emails for a while": failAt(mailtest.Data, mailtest.Reply(451, "try later")),
		"hangs up during an email":   failAt(mailtest.Half, mailtest.HangUp),
		"restarts repeatedly": func(s *mailSetup, base string, log *testkit.Buffer) {
			s.slowDown()
			s.requestMails(base, users)
			testkit.Eventually(s.t, "interrupted attempts", func() bool {
				s.restart()
				s.slowDown()

				return strings.Count(log.String(), retryLogged) > 2
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newMailSetup(t)
			addr, log, _ := start(t, s.environ)
			breakAndRequest(s, "http://"+addr, log)
			s.wantAllMails(users)
			if strings.Contains(log.String(), dropLogged) {
				t.Error("the log reports a dropped email, want none")
			}
		})
	}
}

// An email that the mail server rejects permanently is dropped. The log reports that without the
// server's reply, which may quote the email.
func TestRejectedMail(t *testing.T) {
	t.Parallel()
	s := newMailSetup(t)
	s.mails.FailAt(mailtest.Data, func(c *smtp.Conn) error {
		quoted := "no u0@example.com"
		for _, m := range s.mails.Attempts() {
			quoted += " " + m.Token()
		}

		return mailtest.Reply(550, quoted)(c)
	})

	addr, log, _ := start(t, s.environ)
	s.requestMails("http://"+addr, numberedUsers(1))
	testkit.Eventually(t, "all emails to be dropped", func() bool {
		return strings.Count(log.String(), dropLogged) == mailsPerUser && s.queued() == 0
	})

	text := log.String()
	if n := len(s.mails.Messages()); n > 0 || strings.Contains(text, retryLogged) {
		t.Errorf("got %d emails, want none and no retries; log:\n%s", n, text)
	}
	privateTexts := []string{"u0@example.com"}
	for _, m := range s.mails.Attempts() {
		if m.Token() != "" {
			privateTexts = append(privateTexts, m.Token())
		}
	}
	for _, quoted := range privateTexts {
		if strings.Contains(text, quoted) {
			t.Errorf("the log contains %q from the email:\n%s", quoted, text)
		}
	}
}

// An email whose confirmation was lost is sent again, with a new link and therefore a new
// Message-ID: a mail server that discarded the second as a duplicate would keep the link
// that the second one replaced.
func TestLostMailConfirmation(t *testing.T) {
	t.Parallel()
	s := newMailSetup(t)
	addr, _, _ := start(t, s.environ)
	base := "http://" + addr

	mustSend(t, http.StatusCreated, "POST", base+"/auth/register", `{"name":"U","email":"u0@example.com","password":"a long password"}`)
	testkit.Eventually(t, "the first email", func() bool { return len(s.mails.Messages()) == 1 })

	var once sync.Once
	s.mails.FailAt(mailtest.Stored, func(c *smtp.Conn) (err error) {
		once.Do(func() { err = mailtest.HangUp(c) })
		return err
	})
	mustSend(t, http.StatusAccepted, "POST", base+"/auth/password/forgot", `{"email":"u0@example.com"}`)
	testkit.Eventually(t, "the second email to arrive twice", func() bool { return len(s.mails.Messages()) == 3 && s.queued() == 0 })

	first := s.mails.Messages()[1]
	second := s.mails.Messages()[2]
	if first.Header("Subject") != second.Header("Subject") {
		t.Errorf("subject: got %q, want %q", second.Header("Subject"), first.Header("Subject"))
	}
	if first.Token() == second.Token() {
		t.Error("both emails have the same link, want different ones")
	}
	if id := first.Header("Message-ID"); id == second.Header("Message-ID") {
		t.Errorf("both emails have Message-ID %q, want different ones", id)
	}

	mustSend(t, http.StatusOK, "POST", base+"/auth/password/reset", `{"token":"`+second.Token()+`","password":"another long password"}`)
}

// Queued emails survive a server that is killed, including those that it was sending.
func TestMailKilled(t *testing.T) {
	t.Parallel()
	file := build(t)
	users := numberedUsers(3)

	t.Run("between attempts", func(t *testing.T) {
		t.Parallel()
		s := newMailSetup(t)
		s.proxy.Refuse()
		p := startProcess(t, file, s.environ)
		s.requestMails("http://"+p.addr, users)
		s.waitForRetries(p.out, mailsPerUser*len(users))
		p.kill()

		s.restart()
		startProcess(t, file, s.environ)
		s.wantAllMails(users)
	})

	t.Run("during an attempt", func(t *testing.T) {
		t.Parallel()
		const workers = 2
		s := newMailSetup(t)
		connections := s.hang()
		p := startProcess(t, file, s.environ)
		s.requestMails("http://"+p.addr, users)
		testkit.Eventually(t, "all workers to be sending", func() bool { return connections.Load() == workers })
		p.kill()

		s.restart()
		startProcess(t, file, s.environ)
		testkit.Eventually(t, "the other emails to be sent", func() bool { return s.queued() == workers })

		// The leases of the killed server last two minutes. End them now.
		conn := s.redis.Conn(t)
		ids, err := redis.Strings(conn.Do("ZRANGE", "mail:{queue}", 0, -1))
		testkit.NoError(t, err)
		if len(ids) != workers {
			t.Fatalf("leased emails: got %v, want %d", ids, workers)
		}
		for _, id := range ids {
			_, err := conn.Do("ZADD", "mail:{queue}", "XX", 1, id)
			testkit.NoError(t, err)
		}
		s.wantAllMails(users)
	})
}
