package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	netmail "net/mail"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/gomodule/redigo/redis"
	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/devstore/storetest"
)

const (
	smtpUser     = "mailer"
	smtpPassword = "c4nary-of-the-mail-server"
	// aRetry is how long a letter may be late that was tried in vain: the pauses of the
	// queue are 10 s and twice that, and the machine may have other things to do.
	aRetry = 2 * time.Minute
)

// mailbox is a mail server that keeps what it takes, and the way to it, on which things
// go wrong.
type mailbox struct {
	*storetest.Proxy
	answered atomic.Int32 // letters of which the client got to know that they were taken

	mu      sync.Mutex
	letters []letter // that it answers for
	seen    []letter // also those that it refused
	trouble map[step]func(*smtp.Conn) error
}

// step is a moment of a conversation with a mailbox.
type step string

const (
	atRecipient step = "the recipient"
	atHalf      step = "a part of the letter has come"
	atEnd       step = "all of it has"
	atAnswer    step = "it is kept, and the answer is due"
)

// letter is one that came.
type letter struct{ id, to, subject, text string }

// token is that of the link in the letter, or "".
func (l letter) token() string {
	_, rest, _ := strings.Cut(l.text, "#token=")
	return regexp.MustCompile(`^[\w-]*`).FindString(rest)
}

func newMailbox(t *testing.T) *mailbox {
	t.Helper()
	m := &mailbox{trouble: map[step]func(*smtp.Conn) error{}}
	server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &mailSession{box: m, conn: c}, nil
	}))
	server.Domain, server.AllowInsecureAuth, server.ErrorLog = "mail.test", true, log.New(io.Discard, "", 0)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	m.Proxy = storetest.NewProxy(t, l.Addr().String())
	m.well(t)
	return m
}

// watch notes whether the answer to a letter reaches the client.
func (m *mailbox) watch(client net.Conn, chunk []byte) bool {
	if !bytes.HasPrefix(chunk, []byte("250 2.0.0 OK: queued")) {
		return false
	}
	if _, err := client.Write(chunk); err == nil {
		m.answered.Add(1)
	}
	return true
}

// well ends all trouble. The port is open.
func (m *mailbox) well(t *testing.T) {
	t.Helper()
	m.mu.Lock()
	clear(m.trouble)
	m.mu.Unlock()
	m.Set(storetest.Faults{Reply: m.watch})
}

// slow has every answer take longer.
func (m *mailbox) slow(by time.Duration) {
	m.Set(storetest.Faults{Reply: func(client net.Conn, chunk []byte) bool {
		time.Sleep(by)
		return m.watch(client, chunk)
	}})
}

// restart is what a client sees of a mail server that is started again.
func (m *mailbox) restart(t *testing.T) {
	t.Helper()
	m.Refuse()
	m.Restore(t)
	m.Set(storetest.Faults{Reply: m.watch})
}

// when has something go wrong at a step of each conversation.
func (m *mailbox) when(s step, f func(*smtp.Conn) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.trouble[s] = f
}

func (m *mailbox) at(s step, c *smtp.Conn) error {
	m.mu.Lock()
	f := m.trouble[s]
	m.mu.Unlock()
	if f == nil {
		return nil
	}
	return f(c)
}

func (m *mailbox) got() []letter {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.letters)
}

// mailSession is one connection to a mailbox.
type mailSession struct {
	box  *mailbox
	conn *smtp.Conn
	to   string
}

func (s *mailSession) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *mailSession) Auth(mechanism string) (sasl.Server, error) {
	if mechanism != sasl.Plain {
		return nil, smtp.ErrAuthUnknownMechanism
	}
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != smtpUser || password != smtpPassword {
			return &smtp.SMTPError{Code: 535, Message: "no login for " + user + " " + password}
		}
		return nil
	}), nil
}

func (s *mailSession) Mail(string, *smtp.MailOptions) error { return nil }

func (s *mailSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = to
	return s.box.at(atRecipient, s.conn)
}

func (s *mailSession) Data(r io.Reader) error {
	var whole bytes.Buffer
	if _, err := io.CopyN(&whole, r, 100); err != nil {
		return err
	}
	if err := s.box.at(atHalf, s.conn); err != nil {
		return err
	}
	if _, err := io.Copy(&whole, r); err != nil {
		return err
	}
	l, err := read(whole.Bytes(), s.to)
	if err != nil {
		return err
	}
	s.box.mu.Lock()
	s.box.seen = append(s.box.seen, l)
	s.box.mu.Unlock()
	if err := s.box.at(atEnd, s.conn); err != nil {
		return err
	}
	s.box.mu.Lock()
	s.box.letters = append(s.box.letters, l)
	s.box.mu.Unlock()
	return s.box.at(atAnswer, s.conn)
}

func (s *mailSession) Reset() {}

func (s *mailSession) Logout() error { return nil }

// read takes a message apart.
func read(data []byte, to string) (letter, error) {
	message, err := netmail.ReadMessage(bytes.NewReader(data))
	if err != nil {
		return letter{}, err
	}
	_, params, err := mime.ParseMediaType(message.Header.Get("Content-Type"))
	if err != nil {
		return letter{}, err
	}
	part, err := multipart.NewReader(message.Body, params["boundary"]).NextPart()
	if err != nil {
		return letter{}, err
	}
	text, err := io.ReadAll(part)
	return letter{message.Header.Get("Message-ID"), to, message.Header.Get("Subject"), string(text)}, err
}

// refuses answers with a code, and quotes what a mail server might.
func refuses(code int, quotes func() string) func(*smtp.Conn) error {
	return func(*smtp.Conn) error {
		return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{code / 100, 7, 1}, Message: "no " + quotes()}
	}
}

// hangsUp closes the connection without an answer.
func hangsUp(c *smtp.Conn) error {
	_ = c.Conn().Close()
	return net.ErrClosed
}

// sender is the stores and the settings of servers that send mail to a mailbox.
type sender struct {
	t       *testing.T
	box     *mailbox
	redis   storetest.Redis
	mongo   string
	environ []string
}

func newSender(t *testing.T, more ...string) *sender {
	t.Helper()
	s := &sender{t: t, box: newMailbox(t), redis: storetest.NewRedis(t), mongo: storetest.Mongo(t)}
	s.environ = append([]string{
		"APP_ENV=test", "BCRYPT_COST=4", "LOG_LEVEL=debug", "HOST=127.0.0.1", "PORT=0", "SESSION_SECRET=" + secret, "RATE_LIMIT=off",
		"MONGODB_URI=" + s.mongo, fmt.Sprintf("REDIS_URI=redis://%s/%d", s.redis.Addr, s.redis.DB),
		"SMTP_URL=smtp://" + smtpUser + ":" + smtpPassword + "@" + s.box.Addr,
		"MAIL_FROM=Latchkey <no-reply@example.com>", "PUBLIC_URL=https://app.example.com",
	}, more...)
	return s
}

// waiting is how many letters there are in the queue, also those in hand.
func (s *sender) waiting(conn redis.Conn) int {
	s.t.Helper()
	n, err := redis.Int(conn.Do("ZCARD", "mail:{queue}"))
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// eventually waits for something, for as long as a retry may take.
func (s *sender) eventually(what string, done func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(aRetry); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("in vain waited until %s; got %d letters", what, len(s.box.got()))
		}
	}
}

// send is one request; the answers of all are kept for whoever looks for secrets.
func send(t *testing.T, base, path, cookie, body string) (status int, cookies []*http.Cookie, text string) {
	t.Helper()
	method := "POST"
	if body == "" {
		method = "GET"
	}
	req, err := http.NewRequest(method, base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if cookie != "" {
		req.Header.Set("Cookie", cookie)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Cookies(), string(answer)
}

// asking has one test at a time ask: they share a MongoDB, and their times are compared.
var asking sync.Mutex

// lettersOf is how many letters ask is about for each user.
const lettersOf = 3

// ask has users register, login and forget their passwords: what sends mail. It
// returns how long the answers took.
func (s *sender) ask(base string, users []string) (took []time.Duration) {
	s.t.Helper()
	asking.Lock()
	defer asking.Unlock()
	// MongoDB makes the collections, which is not what is measured.
	s.eventually("the server knows that there is no such user", func() bool {
		status, _, _ := send(s.t, base, "/auth/login", "", `{"email":"nobody@example.com","password":"a long password"}`)
		return status == http.StatusUnauthorized
	})
	for _, user := range users {
		for _, r := range []struct {
			path, body string
			want       int
		}{
			{"/auth/register", `{"name":"U","email":"%s@example.com","password":"a long password"}`, 201},
			{"/auth/login", `{"email":"%s@example.com","password":"a long password"}`, 200},
			{"/auth/password/forgot", `{"email":"%s@example.com"}`, 202},
		} {
			begun := time.Now()
			status, _, text := send(s.t, base, r.path, "", fmt.Sprintf(r.body, user))
			took = append(took, time.Since(begun))
			if status != r.want {
				s.t.Errorf("%s: %d %s", r.path, status, text)
			}
		}
	}
	slices.Sort(took)
	return took
}

func users(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("u%d", i)
	}
	return names
}

// wantAll waits for the letters of ask, and fails unless each came once. As often as
// the answer to one was lost it may have come again.
func (s *sender) wantAll(users []string) {
	s.t.Helper()
	conn := s.redis.Conn(s.t)
	s.eventually("all letters are sent", func() bool {
		return s.waiting(conn) == 0 && len(s.box.got()) >= lettersOf*len(users)
	})
	letters := s.box.got()
	ids, kinds, different := map[string]bool{}, map[string]map[string]bool{}, 0
	for _, l := range letters {
		ids[l.id] = true
		if kinds[l.to] == nil {
			kinds[l.to] = map[string]bool{}
		}
		if !kinds[l.to][l.subject] {
			different++
		}
		kinds[l.to][l.subject] = true
	}
	if len(ids) < different {
		s.t.Errorf("%d different letters have %d Message-IDs", different, len(ids))
	}
	again, lost := len(letters)-different, len(letters)-int(s.box.answered.Load())
	if s.t.Logf("%d letters came again, the answers to %d were lost", again, lost); again > lost {
		s.t.Error("more than SMTP makes necessary")
	}
	for _, user := range users {
		if got := slices.Sorted(maps.Keys(kinds[user+"@example.com"])); len(got) != lettersOf {
			s.t.Errorf("%s got %q", user, got)
		}
	}
	if len(kinds) != len(users) {
		s.t.Errorf("letters to %v", slices.Sorted(maps.Keys(kinds)))
	}
}

const triedAgain = "mail was not sent and will be tried again"

// What is wrong with the mail server is not felt by who asks, and no letter is lost:
// each comes once. All of this at the same time, because it takes as long as a retry.
func TestMailTrouble(t *testing.T) {
	t.Parallel()
	all := users(3)
	failed := func(s *sender, out *output, times int) {
		s.t.Helper()
		s.eventually("the letters were tried in vain", func() bool { return strings.Count(out.String(), triedAgain) >= times })
	}
	refused := func(at step) func(*sender, string, *output) []time.Duration {
		return func(s *sender, base string, out *output) []time.Duration {
			s.box.when(at, refuses(451, func() string { return "luck" }))
			took := s.ask(base, all)
			failed(s, out, lettersOf*len(all))
			return took
		}
	}
	var mu sync.Mutex
	medians := map[string]time.Duration{}
	var tests sync.WaitGroup
	for name, trouble := range map[string]func(*sender, string, *output) []time.Duration{
		"none": func(s *sender, base string, _ *output) []time.Duration { return s.ask(base, all) },
		"dead": func(s *sender, base string, out *output) []time.Duration {
			s.box.Refuse()
			took := s.ask(base, all)
			failed(s, out, lettersOf*len(all))
			s.box.Restore(s.t)
			return took
		},
		"hangs": func(s *sender, base string, out *output) []time.Duration {
			var hanging atomic.Int32
			s.box.Set(storetest.Faults{Accept: func(net.Conn) bool { hanging.Add(1); return true }})
			took := s.ask(base, all)
			s.eventually("an attempt hangs", func() bool { return hanging.Load() > 0 })
			s.box.restart(s.t)
			failed(s, out, 1)
			return took
		},
		"slow": func(s *sender, base string, _ *output) []time.Duration {
			s.box.slow(200 * time.Millisecond)
			return s.ask(base, all)
		},
		"refuses the recipient for a while": refused(atRecipient),
		"refuses the letter for a while":    refused(atEnd),
		"hangs up in the letter": func(s *sender, base string, out *output) []time.Duration {
			s.box.when(atHalf, hangsUp)
			took := s.ask(base, all)
			failed(s, out, lettersOf*len(all))
			return took
		},
		"restarts all the time": func(s *sender, base string, out *output) []time.Duration {
			s.box.slow(20 * time.Millisecond)
			took := s.ask(base, all)
			s.eventually("some letters were cut off", func() bool {
				s.box.restart(s.t)
				s.box.slow(20 * time.Millisecond)
				return strings.Count(out.String(), triedAgain) > 2
			})
			return took
		},
	} {
		tests.Go(func() {
			t.Run(name, func(t *testing.T) {
				s := newSender(t)
				addr, out, _ := start(t, s.environ)
				took := trouble(s, "http://"+addr, out)
				if name != "slow" {
					s.box.well(t)
				}
				s.wantAll(all)
				if strings.Contains(out.String(), "mail was dropped") {
					t.Error("a letter was dropped")
				}
				mu.Lock()
				defer mu.Unlock()
				medians[name] = took[len(took)/2]
			})
		})
	}
	tests.Wait()
	for name, median := range medians {
		t.Logf("%s: the median answer takes %v, %.2f of that without trouble", name, median, float64(median)/float64(medians["none"]))
	}
}

// A letter that is refused for good is not tried again. The log says so, and does not
// quote the mail server, which quotes the address and the letter.
func TestMailRefused(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]step{"the recipient": atRecipient, "the letter": atEnd} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSender(t)
			s.box.when(at, refuses(550, func() string {
				s.box.mu.Lock()
				defer s.box.mu.Unlock()
				quoted := "u0@example.com"
				for _, l := range s.box.seen {
					quoted += " " + l.token()
				}
				return quoted
			}))
			addr, out, _ := start(t, s.environ)
			s.ask("http://"+addr, users(1))
			conn := s.redis.Conn(t)
			s.eventually("all were dropped", func() bool {
				return strings.Count(out.String(), "mail was dropped") == lettersOf && s.waiting(conn) == 0
			})
			if n := len(s.box.got()); n > 0 || strings.Contains(out.String(), triedAgain) {
				t.Errorf("%d letters came; the log:\n%s", n, out)
			}
			text := out.String()
			if strings.Contains(text, "u0@example.com") {
				t.Errorf("the log holds the address:\n%s", text)
			}
			for _, l := range s.box.seen {
				if l.token() != "" && strings.Contains(text, l.token()) {
					t.Errorf("the log holds a token:\n%s", text)
				}
			}
		})
	}
}

// A letter of which the server's answer was lost comes again. With another link it is
// another letter: a mail server that took the two for one would keep the first, of which
// the second has made the link void.
func TestMailAnswerLost(t *testing.T) {
	t.Parallel()
	s := newSender(t)
	addr, _, _ := start(t, s.environ)
	base := "http://" + addr
	if status, _, text := send(t, base, "/auth/register", "", `{"name":"U","email":"u0@example.com","password":"a long password"}`); status != 201 {
		t.Fatal(status, text)
	}
	s.eventually("the first letter is there", func() bool { return len(s.box.got()) == 1 })
	var once sync.Once
	s.box.when(atAnswer, func(c *smtp.Conn) (err error) {
		once.Do(func() { err = hangsUp(c) })
		return err
	})
	if status, _, text := send(t, base, "/auth/password/forgot", "", `{"email":"u0@example.com"}`); status != 202 {
		t.Fatal(status, text)
	}
	conn := s.redis.Conn(t)
	s.eventually("the second came twice", func() bool { return len(s.box.got()) == 3 && s.waiting(conn) == 0 })
	both := s.box.got()[1:]
	if both[0].subject != both[1].subject || both[0].token() == both[1].token() || both[0].id == both[1].id {
		t.Errorf("got %q and %q, with links that differ: %v", both[0].id, both[1].id, both[0].token() != both[1].token())
	}
	status, _, text := send(t, base, "/auth/password/reset", "", `{"token":"`+both[1].token()+`","password":"another long password"}`)
	if status != 200 {
		t.Errorf("the link in the last that came: %d %s", status, text)
	}
}

// Letters that wait outlive the server that was to send them, also those that it had in
// hand when it was killed.
func TestMailKilled(t *testing.T) {
	t.Parallel()
	file, all := build(t), users(3)
	t.Run("between two attempts", func(t *testing.T) {
		t.Parallel()
		s := newSender(t)
		s.box.Refuse()
		p := startProcess(t, file, s.environ)
		s.ask("http://"+p.addr, all)
		s.eventually("the letters were tried in vain", func() bool { return strings.Count(p.out.String(), triedAgain) >= lettersOf*len(all) })
		p.kill()
		s.box.restart(t)
		startProcess(t, file, s.environ)
		s.wantAll(all)
	})
	t.Run("in an attempt", func(t *testing.T) {
		t.Parallel()
		s := newSender(t)
		var attempts atomic.Int32
		s.box.Set(storetest.Faults{Accept: func(net.Conn) bool { attempts.Add(1); return true }})
		p := startProcess(t, file, s.environ)
		s.ask("http://"+p.addr, all)
		const workers = 2
		s.eventually("all workers have a letter in hand", func() bool { return attempts.Load() == workers })
		p.kill()
		s.box.restart(t)
		startProcess(t, file, s.environ)
		conn := s.redis.Conn(t)
		s.eventually("the others are sent", func() bool { return s.waiting(conn) == workers })
		// Nobody has the rest, but the queue does not know it for the two minutes of a
		// lease: let them be over.
		ids, err := redis.Strings(conn.Do("ZRANGE", "mail:{queue}", 0, -1))
		if err != nil || len(ids) != workers {
			t.Fatal(ids, err)
		}
		for _, id := range ids {
			if _, err := conn.Do("ZADD", "mail:{queue}", "XX", 1, id); err != nil {
				t.Fatal(err)
			}
		}
		s.wantAll(all)
	})
}

// Several servers share the queue, and send each letter once between them.
func TestMailTwoServers(t *testing.T) {
	t.Parallel()
	s := newSender(t)
	all := users(8)
	one, oneOut, _ := start(t, s.environ)
	two, twoOut, _ := start(t, s.environ)
	s.ask("http://"+one, all[:4])
	s.ask("http://"+two, all[4:])
	s.wantAll(all)
	if strings.Contains(oneOut.String()+twoOut.String(), triedAgain) {
		t.Error("a letter was tried again")
	}
}

// No secret is where others read: in the log, the answers, Redis or MongoDB.
func TestSecretsStaySecret(t *testing.T) {
	t.Parallel()
	const first, second, third, wrong = "c4nary-first-password", "c4nary-second-password", "c4nary-third-password", "c4nary-wrong-password"
	s := newSender(t, "APP_ENV=production", "BCRYPT_COST=10", "TRUSTED_PROXIES=127.0.0.1", "RATE_LIMIT=1000/60s", "MAIL_INTERVAL=1s")
	secrets := map[string]string{
		secret: "SESSION_SECRET", smtpPassword: "the password of the mail server",
		first: "a password", second: "the password after a reset", third: "the password after a change", wrong: "a wrong password",
	}
	addr, out, stop := start(t, s.environ)
	base := "http://" + addr
	var answers strings.Builder
	cookie := map[string]string{}
	do := func(want int, path, body string) {
		t.Helper()
		var header []string
		for name, value := range cookie {
			header = append(header, name+"="+value)
		}
		status, set, text := send(t, base, path, strings.Join(header, "; "), body)
		if status != want {
			t.Errorf("%s: %d, want %d: %s", path, status, want, text)
		}
		fmt.Fprintln(&answers, path, text)
		for _, c := range set {
			if c.Value != "" {
				cookie[c.Name], secrets[c.Value] = c.Value, "the cookie "+c.Name
			}
		}
	}
	look := func(when string) {
		t.Helper()
		for name, text := range map[string]string{"the log": out.String(), "an answer": answers.String(), "Redis": dumpRedis(t, s.redis.Conn(t)), "MongoDB": dumpMongo(t, s.mongo)} {
			if len(text) < 200 {
				t.Errorf("%s: %s is next to empty: %s", when, name, text)
			}
			for value, what := range secrets {
				for _, form := range formsOf(value) {
					if strings.Contains(text, form) {
						t.Errorf("%s: %s holds %s as %s", when, name, what, form)
					}
				}
			}
		}
	}
	login := func(want int, password string) {
		t.Helper()
		do(want, "/auth/login", `{"email":"ann@example.com","password":"`+password+`"}`)
	}

	s.box.Refuse() // the letters wait
	do(201, "/auth/register", `{"name":"Ann","email":"ann@example.com","password":"`+first+`"}`)
	do(409, "/auth/register", `{"name":"Ann","email":"ann@example.com","password":"`+first+`"}`)
	login(401, wrong)
	login(200, first)
	do(400, "/auth/login", `{"email":"ann@example.com","password":"`+first+`","x":"`+first+`"}`)
	do(400, "/auth/login", `{"email":"ann@example.com","password":"`+first)
	do(400, "/auth/login", `{"email":"`+first+`","password":["`+first+`"]}`)
	for _, path := range []string{"/auth/me", "/auth/session", "/auth/sessions", "/auth/activity", "/auth/verify", "/profile"} {
		do(200, path, "")
	}
	do(401, "/auth/step-up", `{"password":"`+wrong+`"}`)
	do(200, "/auth/step-up", `{"password":"`+first+`"}`)
	do(202, "/auth/password/forgot", `{"email":"ann@example.com"}`)
	do(202, "/auth/email/change", `{"email":"ann2@example.com"}`)
	s.eventually("a letter was tried in vain", func() bool { return strings.Contains(out.String(), triedAgain) })
	look("while letters wait")

	s.box.restart(t)
	conn := s.redis.Conn(t)
	s.eventually("the letters are there", func() bool { return s.waiting(conn) == 0 })
	use := func(want int, page, path, more string) {
		t.Helper()
		var token string
		for _, l := range s.box.got() {
			if strings.Contains(l.text, page+"#token=") {
				token = l.token()
				secrets[token] = "the token for " + page
			}
		}
		if token == "" {
			t.Fatalf("no letter leads to %s", page)
		}
		do(want, path, `{"token":"`+token+`"`+more+`}`)
	}
	use(200, "/reset-password", "/auth/password/reset", `,"password":"`+second+`"`)
	use(400, "/reset-password", "/auth/password/reset", `,"password":"`+second+`"`)
	use(400, "/verify-email", "/auth/email/verify", "") // void since the reset
	login(200, second)
	do(202, "/auth/email/change", `{"email":"ann3@example.com"}`)
	seen := len(s.box.got())
	s.eventually("the letters of the change are there", func() bool { return s.waiting(conn) == 0 && len(s.box.got()) > seen })
	look("before the last link is used")
	use(200, "/verify-email", "/auth/email/verify", "")
	do(200, "/auth/password/change", `{"currentPassword":"`+second+`","newPassword":"`+third+`"}`)
	do(200, "/auth/rotate-session", "{}")
	s.eventually("the letters about it are there", func() bool { return s.waiting(conn) == 0 })
	look("in the end")
	if err := stop(); err != nil {
		t.Error(err)
	}
	look("after the end")
	var tokens int
	for _, what := range secrets {
		if strings.HasPrefix(what, "the token for") {
			tokens++
		}
	}
	if tokens < 3 {
		t.Errorf("only %d tokens came by mail", tokens)
	}
}

// A mail server that does not take the password, and says which, is not quoted.
func TestMailLoginRefused(t *testing.T) {
	t.Parallel()
	s := newSender(t)
	for i, setting := range s.environ {
		s.environ[i] = strings.Replace(setting, smtpPassword, "wr0ng-canary", 1)
	}
	addr, out, _ := start(t, s.environ)
	s.ask("http://"+addr, users(1))
	s.eventually("the letters were tried in vain", func() bool { return strings.Count(out.String(), triedAgain) >= lettersOf })
	for _, form := range append(formsOf("wr0ng-canary"), formsOf("\x00"+smtpUser+"\x00wr0ng-canary")...) {
		if strings.Contains(out.String(), form) {
			t.Errorf("the log holds the password as %s:\n%s", form, out)
		}
	}
	if n := len(s.box.got()); n > 0 {
		t.Errorf("%d letters came", n)
	}
}

// formsOf are ways to write a secret in which it is one still.
func formsOf(value string) []string {
	b := []byte(value)
	forms := []string{value, base64.RawStdEncoding.EncodeToString(b), base64.RawURLEncoding.EncodeToString(b), hex.EncodeToString(b), url.QueryEscape(value)}
	if quoted, err := json.Marshal(value); err == nil {
		forms = append(forms, strings.Trim(string(quoted), `"`))
	}
	slices.Sort(forms)
	return slices.Compact(forms)
}

// dumpRedis is all keys and values.
func dumpRedis(t *testing.T, conn redis.Conn) string {
	t.Helper()
	keys, err := redis.Strings(conn.Do("KEYS", "*"))
	if err != nil {
		t.Fatal(err)
	}
	read := map[string][]any{"string": {"GET"}, "hash": {"HGETALL"}, "set": {"SMEMBERS"}, "zset": {"ZRANGE", 0, -1, "WITHSCORES"}, "list": {"LRANGE", 0, -1}}
	var b strings.Builder
	for _, key := range keys {
		kind, err := redis.String(conn.Do("TYPE", key))
		if err != nil {
			t.Fatal(err)
		}
		if kind == "none" {
			continue // it has expired
		}
		how, ok := read[kind]
		if !ok {
			t.Fatalf("%s is a %s", key, kind)
		}
		value, err := conn.Do(how[0].(string), append([]any{key}, how[1:]...)...)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %s\n", key, value)
	}
	return b.String()
}

// dumpMongo is all documents.
func dumpMongo(t *testing.T, uri string) string {
	t.Helper()
	ctx := context.Background()
	db := storetest.Database(t, uri)
	names, err := db.ListCollectionNames(ctx, bson.D{})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, name := range names {
		cursor, err := db.Collection(name).Find(ctx, bson.D{})
		if err != nil {
			t.Fatal(err)
		}
		var all []bson.Raw
		if err := cursor.All(ctx, &all); err != nil {
			t.Fatal(err)
		}
		for _, document := range all {
			fmt.Fprintln(&b, name, document)
		}
	}
	return b.String()
}
