package mail

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/textproto"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/wneessen/go-mail/smtp"

	"latchkey/internal/loopback"
)

// The steps of an SMTP session, as they appear in errors.
const (
	stepConnect  = "connect"
	stepHello    = "EHLO"
	stepStartTLS = "STARTTLS"
	stepAuth     = "AUTH"
	stepFrom     = "MAIL FROM"
	stepTo       = "RCPT TO"
	stepData     = "DATA"
	stepMessage  = "end of DATA"
	stepNoop     = "NOOP"
)

// quitTimeout is how long we wait for the reply to QUIT.
const quitTimeout = time.Second

// withSession connects, logs in and calls f. We do not use go-mail's Client because it has a
// separate timeout for each step, leaves connections open after early failures, and reports a
// failed delivery if an error occurs after the server has accepted the message.
func (s *SMTP) withSession(ctx context.Context, f func(*smtp.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(s.Timeout, 30*time.Second))
	defer cancel()

	conn, err := s.dial(ctx, "tcp", net.JoinHostPort(s.host, s.port))
	if err != nil {
		return stepError(stepConnect, err)
	}
	defer func() { _ = conn.Close() }()

	// End all reads and writes with ctx.
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()

	c, err := s.login(conn)
	if err != nil {
		return err
	}

	err = f(c)
	var reply *replyError
	if err == nil || errors.As(err, &reply) {
		// The reply to QUIT does not matter: the message is already accepted or rejected.
		_ = conn.SetDeadline(time.Now().Add(quitTimeout))
		_ = c.Quit()
	}

	return err
}

// login starts a session on a new connection: greeting, EHLO, STARTTLS and AUTH.
func (s *SMTP) login(conn net.Conn) (*smtp.Client, error) {
	name := s.heloName(conn.LocalAddr())

	config := &tls.Config{ServerName: s.host, RootCAs: s.RootCAs, MinVersion: tls.VersionTLS12}
	if s.encryption == implicitTLS {
		conn = tls.Client(conn, config)
	}

	c, err := smtp.NewClient(conn, s.host)
	if err != nil {
		return nil, stepError(stepConnect, err)
	}

	c.SkipSMTPUTF8(true) // our envelopes are always ASCII
	if err := c.Hello(name); err != nil {
		return nil, fmt.Errorf("%w (as %s)", stepError(stepHello, err), name)
	}

	hasStartTLS, _ := c.Extension("STARTTLS")
	if !hasStartTLS && s.encryption == startTLS {
		return nil, errors.New("mail server does not offer STARTTLS")
	}
	if hasStartTLS && (s.encryption == startTLS || s.encryption == startTLSIfOffered) {
		if err := c.StartTLS(config); err != nil {
			return nil, stepError(stepStartTLS, err)
		}
	}

	if s.username == "" {
		return c, nil
	}

	auth, err := s.authMechanism(c)
	if err != nil {
		return nil, err
	}
	if err := c.Auth(auth); err != nil {
		return nil, stepError(stepAuth, err)
	}

	return c, nil
}

// authMechanism returns the most secure authentication mechanism that the server offers. PLAIN
// and LOGIN send the password itself; go-mail refuses them without TLS, except on loopback.
func (s *SMTP) authMechanism(c *smtp.Client) (smtp.Auth, error) {
	allowUnencrypted := loopback.Host(s.host)
	_, params := c.Extension("AUTH")
	offered := strings.Fields(strings.ToUpper(params))

	for _, mechanism := range []struct {
		name string
		auth smtp.Auth
	}{
		{"SCRAM-SHA-256", smtp.ScramSHA256Auth(s.username, s.password)},
		{"SCRAM-SHA-1", smtp.ScramSHA1Auth(s.username, s.password)},
		{"PLAIN", smtp.PlainAuth("", s.username, s.password, s.host, allowUnencrypted)},
		{"LOGIN", smtp.LoginAuth(s.username, s.password, s.host, allowUnencrypted)},
	} {
		if slices.Contains(offered, mechanism.name) {
			return mechanism.auth, nil
		}
	}

	return nil, errors.New("mail server offers none of SCRAM, PLAIN and LOGIN")
}

// fullName matches fully qualified host names. Unlike in an IP, the last label is not a number.
var fullName = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)

// heloName returns our name for EHLO: HeloName if it is set, otherwise the name of this machine if
// that is fully qualified, otherwise our IP on the connection. RFC 5321 section 4.1.1.1 requires a
// fully qualified name or an IP, and strict servers reject other names, such as a container's. The
// domain of the sender would be wrong: mail servers of that domain reject strangers who claim its
// name.
func (s *SMTP) heloName(local net.Addr) string {
	if s.HeloName != "" {
		return s.HeloName
	}

	if name, err := s.hostname(); err == nil && fullName.MatchString(name) {
		return name
	}

	return ipLiteral(local)
}

// ipLiteral returns our IP on a connection in the form that EHLO takes instead of a name, such as
// [192.0.2.1] or [IPv6:2001:db8::1] (RFC 5321 section 4.1.3).
func ipLiteral(local net.Addr) string {
	hostPort, err := netip.ParseAddrPort(local.String())
	if err != nil {
		return "[127.0.0.1]" // not a TCP connection
	}

	ip := hostPort.Addr().Unmap().WithZone("")
	if ip.Is4() {
		return "[" + ip.String() + "]"
	}

	return "[IPv6:" + ip.String() + "]"
}

// enhancedCode matches an enhanced status code (RFC 3463) at the start of a reply.
var enhancedCode = regexp.MustCompile(`^[245]\.\d{1,3}\.\d{1,3}\b`)

// replyError is a negative reply from a mail server.
type replyError struct {
	text  string
	cause error // ErrRejected or nil
}

func (e *replyError) Error() string { return e.text }
func (e *replyError) Unwrap() error { return e.cause }

// stepError adds the step to an error. It returns nil for nil. It drops the text of negative
// replies and, after STARTTLS, of malformed replies: they may quote the recipient or the
// password.
func stepError(step string, err error) error {
	if err == nil {
		return nil
	}

	var reply *textproto.Error
	if errors.As(err, &reply) {
		code := strings.TrimSpace(fmt.Sprintf("%d %s", reply.Code, enhancedCode.FindString(reply.Msg)))
		e := &replyError{text: fmt.Sprintf("mail server replied %s to %s", code, step)}
		if isRejection(step, reply.Code) {
			e.cause = ErrRejected
		}

		return e
	}

	var network net.Error
	var certificate *tls.CertificateVerificationError
	beforeLogin := step == stepConnect || step == stepHello || step == stepStartTLS
	isConnectionError := errors.As(err, &network) || errors.As(err, &certificate) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	if beforeLogin || isConnectionError {
		return fmt.Errorf("mail server: %s: %w", step, err)
	}

	return fmt.Errorf("mail server: %s: unexpected reply", step)
}

// isRejection reports whether a reply permanently rejects the recipient or the message. It
// returns false for replies about the sender, the login or a command: an operator can fix
// those, so the email is retried.
func isRejection(step string, code int) bool {
	concernsMessage := step == stepTo || step == stepData || step == stepMessage
	isPermanent := code >= 500 && code < 600
	fixableCodes := []int{500, 502, 503, 504, 521, 530, 534, 535, 538}

	return concernsMessage && isPermanent && !slices.Contains(fixableCodes, code)
}
