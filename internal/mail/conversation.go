package mail

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/wneessen/go-mail/smtp"
)

// The steps of a conversation with a mail server, as errors name them.
const (
	stepConnect  = "the connection"
	stepHello    = "EHLO"
	stepStartTLS = "STARTTLS"
	stepAuth     = "AUTH"
	stepFrom     = "MAIL FROM"
	stepTo       = "RCPT TO"
	stepData     = "DATA"
	stepMessage  = "the message"
	stepNoop     = "NOOP"
)

// byeTimeout is how long the server has to say goodbye.
const byeTimeout = time.Second

// converse connects, and calls talk when everything is ready for a message. It is
// done here and not by go-mail's Client, which gives each part of a conversation its
// own time, leaves a connection open where it fails early, and takes a failure after
// the message was accepted for one of the message.
func (s *SMTP) converse(ctx context.Context, talk func(*smtp.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(s.Timeout, 30*time.Second))
	defer cancel()
	conn, err := s.dial(ctx, "tcp", net.JoinHostPort(s.host, s.port))
	if err != nil {
		return failed(stepConnect, err)
	}
	defer func() { _ = conn.Close() }()
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()

	c, err := s.open(conn)
	if err != nil {
		return err
	}
	err = talk(c)
	var refused *refusal
	if err == nil || errors.As(err, &refused) {
		// What it says to that changes nothing.
		_ = conn.SetDeadline(time.Now().Add(byeTimeout))
		_ = c.Quit()
	}
	return err
}

// open brings a new connection to where a message can be sent.
func (s *SMTP) open(conn net.Conn) (*smtp.Client, error) {
	config := &tls.Config{ServerName: s.host, RootCAs: s.RootCAs, MinVersion: tls.VersionTLS12}
	if s.encryption == implicitTLS {
		conn = tls.Client(conn, config)
	}
	c, err := smtp.NewClient(conn, s.host)
	if err != nil {
		return nil, failed(stepConnect, err)
	}
	c.SkipSMTPUTF8(true) // nothing that we send needs it
	if err := c.Hello(ownName()); err != nil {
		return nil, failed(stepHello, err)
	}
	if s.encryption == startTLS || s.encryption == startTLSIfOffered {
		offered, _ := c.Extension("STARTTLS")
		if !offered && s.encryption == startTLS {
			return nil, errors.New("the mail server does not offer STARTTLS, without which nothing is said to it")
		}
		if offered {
			if err := c.StartTLS(config); err != nil {
				return nil, failed(stepStartTLS, err)
			}
		}
	}
	if s.username == "" {
		return c, nil
	}
	auth, err := s.login(c)
	if err != nil {
		return nil, err
	}
	if err := c.Auth(auth); err != nil {
		return nil, failed(stepAuth, err)
	}
	return c, nil
}

// login returns the best way to log in that the server offers. go-mail refuses the
// two that show the password where there is no TLS; the loopback may have it.
func (s *SMTP) login(c *smtp.Client) (smtp.Auth, error) {
	_, offered := c.Extension("AUTH")
	inClear := isLoopback(s.host)
	ways := map[string]smtp.Auth{
		"SCRAM-SHA-256": smtp.ScramSHA256Auth(s.username, s.password),
		"SCRAM-SHA-1":   smtp.ScramSHA1Auth(s.username, s.password),
		"PLAIN":         smtp.PlainAuth("", s.username, s.password, s.host, inClear),
		"LOGIN":         smtp.LoginAuth(s.username, s.password, s.host, inClear),
	}
	names := strings.Fields(strings.ToUpper(offered))
	for _, way := range []string{"SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN"} {
		for _, name := range names {
			if name == way {
				return ways[way], nil
			}
		}
	}
	return nil, errors.New("the mail server offers no login of PLAIN, LOGIN and SCRAM")
}

// ownName is what we call ourselves. It is not the domain of the sender: mail
// servers of that domain refuse who claims to be them.
func ownName() string {
	name, err := os.Hostname()
	if err != nil || !hostName.MatchString(name) {
		return "localhost"
	}
	return name
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]*$`)

// enhancedCode is that of RFC 3463, at the start of an answer.
var enhancedCode = regexp.MustCompile(`^[245]\.\d{1,3}\.\d{1,3}\b`)

// refusal is an answer of a mail server that is no yes.
type refusal struct {
	text  string
	cause error // ErrRejected or nil
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return r.cause }

// failed says what went wrong at a step; nil is nothing. From the login on nothing is
// quoted that the server has said: it may quote the recipient or the password.
func failed(step string, err error) error {
	var answer *textproto.Error
	var network net.Error
	var certificate *tls.CertificateVerificationError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &answer):
		code := strings.TrimSpace(fmt.Sprintf("%d %s", answer.Code, enhancedCode.FindString(answer.Msg)))
		r := &refusal{text: fmt.Sprintf("the mail server answered %s to %s", code, step)}
		if isRejection(step, answer.Code) {
			r.cause = ErrRejected
		}
		return r
	case step == stepConnect, step == stepHello, step == stepStartTLS,
		errors.As(err, &network), errors.As(err, &certificate), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the mail server, at %s: %w", step, err)
	}
	return fmt.Errorf("the mail server, at %s: it answered something strange", step)
}

// isRejection tells a verdict about the recipient or the message, which will be the
// same tomorrow, from one about us or the server: a sender that it does not know, a
// command that it does not, a login that it misses. These an operator mends.
func isRejection(step string, code int) bool {
	switch step {
	case stepTo, stepData, stepMessage:
	default:
		return false
	}
	switch code {
	case 500, 502, 503, 504, 521, 530, 534, 535, 538:
		return false
	}
	return code >= 500 && code < 600
}
