package mail

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"os"
	"sync"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/xdg-go/scram"

	"latchkey/internal/devstore/storetest"
)

const (
	username = "mailer"
	password = "p/ss:w@rd"
)

// received is a message as a mail server gets it.
type received struct {
	from, to string
	utf8     bool
	tls      uint16 // version; 0 is none
	login    bool
	data     []byte
}

// mailServer is a mail server that keeps what it gets.
type mailServer struct {
	addr  string
	roots *x509.CertPool // trust it

	mu       sync.Mutex
	messages []received
	logins   []string // mechanisms
	refuse   map[string]error
}

// serverOptions are the manner of a mailServer.
type serverOptions struct {
	tls, implicit bool
	mechanisms    []string // PLAIN and LOGIN where nil
}

func newMailServer(t testing.TB, o serverOptions) *mailServer {
	t.Helper()
	m := &mailServer{refuse: map[string]error{}}
	if o.mechanisms == nil {
		o.mechanisms = []string{sasl.Plain, sasl.Login}
	}
	s := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &mailSession{server: m, conn: c, mechanisms: o.mechanisms}, nil
	}))
	s.Domain, s.AllowInsecureAuth, s.EnableSMTPUTF8 = "mail.test", true, true
	s.ErrorLog = log.New(io.Discard, "", 0)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m.addr = l.Addr().String()
	if o.tls || o.implicit {
		certFile, keyFile := storetest.Certificate(t, t.TempDir())
		pair, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			t.Fatal(err)
		}
		authority, err := os.ReadFile(certFile)
		if err != nil {
			t.Fatal(err)
		}
		m.roots = x509.NewCertPool()
		m.roots.AppendCertsFromPEM(authority)
		config := &tls.Config{Certificates: []tls.Certificate{pair}}
		if o.implicit {
			l = tls.NewListener(l, config)
		} else {
			s.TLSConfig = config
		}
	}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return m
}

// at returns an error that the server has for a command from now on.
func (m *mailServer) at(command string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.refuse[command]
}

func (m *mailServer) set(command string, code int, text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.refuse, command)
	if code != 0 {
		m.refuse[command] = &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{code / 100, 1, 1}, Message: text}
	}
}

func (m *mailServer) got() []received {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]received(nil), m.messages...)
}

// mailSession is one connection to a mailServer.
type mailSession struct {
	server     *mailServer
	conn       *smtp.Conn
	mechanisms []string
	now        received
}

func (s *mailSession) AuthMechanisms() []string { return s.mechanisms }

func (s *mailSession) Auth(mechanism string) (sasl.Server, error) {
	s.server.mu.Lock()
	s.server.logins = append(s.server.logins, mechanism)
	s.server.mu.Unlock()
	check := func(u, p string) error {
		if err := s.server.at("AUTH"); err != nil {
			return err
		}
		if s.now.login = u == username && p == password; !s.now.login {
			return smtp.ErrAuthFailed
		}
		return nil
	}
	switch mechanism {
	case scramSHA256:
		server, err := newScramServer(func() { s.now.login = true })
		return server, err
	case sasl.Login:
		return &loginServer{check: check}, nil
	}
	return sasl.NewPlainServer(func(_, u, p string) error { return check(u, p) }), nil
}

// loginServer is the other side of LOGIN, which go-sasl has not.
type loginServer struct {
	check func(username, password string) error
	said  []string
}

func (l *loginServer) Next(response []byte) (challenge []byte, done bool, err error) {
	if response != nil {
		l.said = append(l.said, string(response))
	}
	switch len(l.said) {
	case 0:
		return []byte("Username:"), false, nil
	case 1:
		return []byte("Password:"), false, nil
	}
	return nil, true, l.check(l.said[0], l.said[1])
}

const scramSHA256 = "SCRAM-SHA-256"

// scramServer is the other side of SCRAM, which go-sasl has not either.
type scramServer struct {
	*scram.ServerConversation
	loggedIn func()
}

func newScramServer(loggedIn func()) (*scramServer, error) {
	client, err := scram.SHA256.NewClient(username, password, "")
	if err != nil {
		return nil, err
	}
	stored := client.GetStoredCredentials(scram.KeyFactors{Salt: "salt and pepper", Iters: 4096})
	server, err := scram.SHA256.NewServer(func(string) (scram.StoredCredentials, error) { return stored, nil })
	if err != nil {
		return nil, err
	}
	return &scramServer{server.NewConversation(), loggedIn}, nil
}

func (s *scramServer) Next(response []byte) (challenge []byte, done bool, err error) {
	if response == nil {
		return nil, false, nil
	}
	if s.Done() {
		s.loggedIn()
		return nil, true, nil // the client has the last word, and it is empty
	}
	answer, err := s.Step(string(response))
	return []byte(answer), false, err
}

func (s *mailSession) Mail(from string, o *smtp.MailOptions) error {
	s.now.from, s.now.utf8 = from, o.UTF8
	return s.server.at("MAIL")
}

func (s *mailSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.now.to = to
	return s.server.at("RCPT")
}

func (s *mailSession) Data(r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if err := s.server.at("DATA"); err != nil {
		return err
	}
	if state, ok := s.conn.TLSConnectionState(); ok {
		s.now.tls = state.Version
	}
	s.now.data = data
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	s.server.messages = append(s.server.messages, s.now)
	return nil
}

func (s *mailSession) Reset() {}

func (s *mailSession) Logout() error { return nil }
