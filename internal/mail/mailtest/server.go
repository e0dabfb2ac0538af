package mailtest

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
)

// Step is a point in an SMTP conversation at which the server can fail.
type Step string

// The steps in the order of a conversation.
const (
	Hello  Step = "EHLO"
	Auth   Step = "AUTH"
	Mail   Step = "MAIL"
	Rcpt   Step = "RCPT"
	Half   Step = "half of DATA" // a part of the email has arrived
	Data   Step = "DATA"         // the whole email has arrived
	Stored Step = "stored"       // the email is stored, and the reply is due
)

// Options are the settings of a Server. The zero value is a server without TLS that offers
// PLAIN and LOGIN.
type Options struct {
	StartTLS    bool
	ImplicitTLS bool
	Mechanisms  []string
}

// Server is an SMTP server on a free port of the loopback interface.
type Server struct {
	Addr  string
	Roots *x509.CertPool // trusts the server's certificate; nil without TLS

	mechanisms []string

	mu       sync.Mutex
	messages []Message
	attempts []Message
	logins   []string
	failures map[Step]func(*smtp.Conn) error
}

// New starts a server that runs until the test ends.
func New(t testing.TB, o Options) *Server {
	t.Helper()

	s := &Server{mechanisms: o.Mechanisms, failures: map[Step]func(*smtp.Conn) error{}}
	if s.mechanisms == nil {
		s.mechanisms = []string{sasl.Plain, sasl.Login}
	}

	server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		session := &conversation{server: s, conn: c, message: Message{Helo: c.Hostname()}}

		return session, session.reach(Hello)
	}))
	server.Domain = "mail.test"
	server.AllowInsecureAuth = true
	server.EnableSMTPUTF8 = true
	server.ErrorLog = log.New(io.Discard, "", 0)

	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	testkit.NoError(t, err)
	s.Addr = listener.Addr().String()

	if o.StartTLS || o.ImplicitTLS {
		config := s.createCertificate(t)
		if o.ImplicitTLS {
			listener = tls.NewListener(listener, config)
		} else {
			server.TLSConfig = config
		}
	}

	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })

	return s
}

func (s *Server) createCertificate(t testing.TB) *tls.Config {
	t.Helper()

	certFile, keyFile := storetest.Certificate(t, t.TempDir())
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	testkit.NoError(t, err)
	certPEM, err := os.ReadFile(certFile)
	testkit.NoError(t, err)

	s.Roots = x509.NewCertPool()
	s.Roots.AppendCertsFromPEM(certPEM)

	return &tls.Config{Certificates: []tls.Certificate{pair}}
}

// FailAt makes every conversation call fail when it reaches a step, from now on, and send the
// error that fail returns to the client. If fail is nil, the step works again.
func (s *Server) FailAt(step Step, fail func(*smtp.Conn) error) {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.failures[step] = fail
}

// Reply returns a failure with an SMTP reply.
func Reply(code int, text string) func(*smtp.Conn) error {
	return func(*smtp.Conn) error {
		return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{code / 100, 1, 1}, Message: text}
	}
}

// HangUp is a failure that closes the connection without a reply.
func HangUp(c *smtp.Conn) error {
	_ = c.Conn().Close()

	return net.ErrClosed
}

// Messages returns the emails that the server has stored.
func (s *Server) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()

	return slices.Clone(s.messages)
}

// Attempts returns the emails that arrived completely, including the rejected ones.
func (s *Server) Attempts() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()

	return slices.Clone(s.attempts)
}

// Logins returns the mechanisms of all login attempts.
func (s *Server) Logins() []string {
	s.mu.Lock()
	defer s.mu.Unlock()

	return slices.Clone(s.logins)
}

// RefuseBareNames is a failure at Hello for clients without a fully qualified name, like
// reject_non_fqdn_helo_hostname in Postfix. It accepts IPs in brackets.
func RefuseBareNames(c *smtp.Conn) error {
	name := c.Hostname()
	if strings.Contains(name, ".") || strings.HasPrefix(name, "[") {
		return nil
	}

	return &smtp.SMTPError{Code: 504, EnhancedCode: smtp.EnhancedCode{5, 5, 2}, Message: "<" + name + ">: need fully-qualified hostname"}
}

// conversation is one connection to the server.
type conversation struct {
	server *Server
	conn   *smtp.Conn
	// message is the email that is being received.
	message Message
}

// reach returns the error that the test has set for a step with FailAt, if any.
func (c *conversation) reach(step Step) error {
	c.server.mu.Lock()
	fail := c.server.failures[step]
	c.server.mu.Unlock()

	if fail == nil {
		return nil
	}

	return fail(c.conn)
}

func (c *conversation) Mail(from string, o *smtp.MailOptions) error {
	c.message.From = from
	c.message.UTF8 = o.UTF8

	return c.reach(Mail)
}

func (c *conversation) Rcpt(to string, _ *smtp.RcptOptions) error {
	c.message.To = to

	return c.reach(Rcpt)
}

func (c *conversation) Data(r io.Reader) error {
	var data bytes.Buffer
	if _, err := io.CopyN(&data, r, 100); err != nil {
		return err
	}
	if err := c.reach(Half); err != nil {
		return err
	}
	if _, err := io.Copy(&data, r); err != nil {
		return err
	}

	c.message.Data = data.Bytes()
	if state, ok := c.conn.TLSConnectionState(); ok {
		c.message.TLSVersion = state.Version
	}

	c.server.mu.Lock()
	c.server.attempts = append(c.server.attempts, c.message)
	c.server.mu.Unlock()
	if err := c.reach(Data); err != nil {
		return err
	}

	c.server.mu.Lock()
	c.server.messages = append(c.server.messages, c.message)
	c.server.mu.Unlock()

	return c.reach(Stored)
}

func (c *conversation) Reset() {}

func (c *conversation) Logout() error { return nil }
