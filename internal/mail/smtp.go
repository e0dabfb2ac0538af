package mail

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	netmail "net/mail"
	"net/url"
	"strconv"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"
	"golang.org/x/net/idna"
)

// SMTP hands messages to a mail server, on a connection of its own for each. Its
// fields may be set before it is used.
type SMTP struct {
	// Timeout bounds one Send or Check as a whole, also where the server hangs.
	Timeout time.Duration // 30 s

	// RootCAs vouch for the certificate of the server; nil are those of the system.
	RootCAs *x509.CertPool

	host, port         string
	username, password string
	from               netmail.Address
	encryption         encryption
	dial               func(ctx context.Context, network, addr string) (net.Conn, error)
}

// encryption is how a connection becomes secret.
type encryption int

const (
	// startTLS is begun in clear, and ended where the server has no STARTTLS: who is in
	// between could take it out.
	startTLS encryption = iota
	// startTLSIfOffered is for a mail server on this machine.
	startTLSIfOffered
	// implicitTLS is TLS from the first byte, RFC 8314.
	implicitTLS
	// inClear is for a mail server on this machine.
	inClear
)

// NewSMTP returns the mail server that a URL names, and has all mail come from an
// address like "Latchkey <no-reply@example.com>". It does not connect.
//
//	smtp://user:password@host:587   with STARTTLS; on the loopback where it is offered
//	smtps://user:password@host:465  with TLS from the start
//	smtp://localhost:1025?tls=none  in clear, on the loopback only
//
// Ports and user may be left out. Errors quote nothing of the URL, which has a
// password in it.
func NewSMTP(rawURL, from string) (*SMTP, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, errors.New("the URL of the mail server is not a URL")
	}
	s := &SMTP{Timeout: 30 * time.Second, host: u.Hostname(), port: u.Port(), dial: (&net.Dialer{}).DialContext}
	s.username = u.User.Username()
	s.password, _ = u.User.Password()
	switch {
	case u.Scheme != "smtp" && u.Scheme != "smtps":
		return nil, errors.New("the URL of the mail server must begin with smtp:// or smtps://")
	case s.host == "":
		return nil, errors.New("the URL of the mail server has no host")
	case strings.Trim(u.Path, "/") != "" || u.Fragment != "":
		return nil, errors.New("the URL of the mail server ends with the port; what is special in a password must be percent-encoded")
	case (s.username == "") != (s.password == ""):
		return nil, errors.New("the URL of the mail server has a user without a password, or a password without a user")
	}
	if n, err := strconv.Atoi(cmp.Or(s.port, "1")); err != nil || n < 1 || n > 65535 {
		return nil, errors.New("the URL of the mail server has a port that does not exist")
	}
	if s.encryption, err = encryptionOf(u); err != nil {
		return nil, err
	}
	s.port = cmp.Or(s.port, map[string]string{"smtp": "587", "smtps": "465"}[u.Scheme])

	sender, err := netmail.ParseAddress(from)
	if err != nil {
		return nil, errors.New("the sender of mail must be like Latchkey <no-reply@example.com>")
	}
	if s.from.Address, err = asciiAddress(sender.Address); err != nil {
		return nil, errors.New("the sender of mail has no address that is one")
	}
	s.from.Name = printable(sender.Name)
	return s, nil
}

// encryptionOf reads the rest of the URL of a mail server.
func encryptionOf(u *url.URL) (encryption, error) {
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil || len(query) > 1 || len(query) == 1 && (len(query["tls"]) != 1 || query.Get("tls") != "none") {
		return 0, errors.New("the URL of the mail server may have ?tls=none behind it and nothing else")
	}
	switch {
	case len(query) > 0 && u.Scheme == "smtps":
		return 0, errors.New("the URL of the mail server begins with smtps:// and has ?tls=none: which one")
	case len(query) > 0 && !isLoopback(u.Hostname()):
		return 0, errors.New("the URL of the mail server has ?tls=none, which is for the loopback only: anybody on the way could read links and passwords")
	case len(query) > 0:
		return inClear, nil
	case u.Scheme == "smtps":
		return implicitTLS, nil
	case isLoopback(u.Hostname()):
		return startTLSIfOffered, nil
	}
	return startTLS, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// Send implements Sender.
func (s *SMTP) Send(ctx context.Context, m Message) error {
	to, err := asciiAddress(m.To)
	if err != nil {
		return fmt.Errorf("%w: the recipient has no address that is one", ErrRejected)
	}
	// All of it before anything is sent: half a message must not be delivered.
	var whole bytes.Buffer
	if err := s.write(&whole, m, to); err != nil {
		return err
	}
	return s.converse(ctx, func(c *smtp.Client) error {
		if err := c.Mail("<" + s.from.Address + ">"); err != nil {
			return failed(stepFrom, err)
		}
		if err := c.Rcpt("<" + to + ">"); err != nil {
			return failed(stepTo, err)
		}
		body, err := c.Data()
		if err != nil {
			return failed(stepData, err)
		}
		if _, err := body.Write(whole.Bytes()); err != nil {
			return failed(stepMessage, err) // not closed, which would say that this was all
		}
		return failed(stepMessage, body.Close())
	})
}

// Check asks the mail server for all that Send needs but for a message: a connection,
// TLS, a login, an answer.
func (s *SMTP) Check(ctx context.Context) error {
	return s.converse(ctx, func(c *smtp.Client) error { return failed(stepNoop, c.Noop()) })
}

// write writes a message as RFC 5322 has it.
func (s *SMTP) write(out *bytes.Buffer, m Message, to string) error {
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent(), gomail.WithEncoding(gomail.EncodingQP), gomail.WithCharset(gomail.CharsetUTF8))
	msg.FromMailAddress(&s.from)
	// No name: it would be one that a user chose.
	msg.ToMailAddress(&netmail.Address{Address: to})
	msg.Subject(printable(m.Subject))
	msg.SetDate()
	_, host, _ := strings.Cut(s.from.Address, "@")
	msg.SetMessageIDWithValue(messageID(m.ID) + "@" + host)
	// RFC 3834: so that nobody's holiday answers.
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetGenHeader(gomail.HeaderXAutoResponseSuppress, "All")
	msg.SetBodyString(gomail.TypeTextPlain, m.Text)
	msg.AddAlternativeString(gomail.TypeTextHTML, m.HTML)
	if _, err := msg.WriteTo(out); err != nil {
		return errors.New("mail: a message cannot be written") // the error may quote it
	}
	return nil
}

// messageID makes the left part of a Message-ID, the same for the same id.
func messageID(id string) string {
	id = cmp.Or(id, rand.Text())
	for _, c := range []byte(id) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			sum := sha256.Sum256([]byte(id))
			return hex.EncodeToString(sum[:])
		}
	}
	return id
}

// asciiAddress returns an address as every mail server takes it: with the host as
// IDNA has it in ASCII. The local part is never anything else.
func asciiAddress(address string) (string, error) {
	local, host, _ := strings.Cut(address, "@")
	ascii, err := idna.Lookup.ToASCII(host)
	if err == nil {
		_, err = idna.Lookup.ToUnicode(ascii) // there is no way back from what was no text
	}
	if err != nil {
		return "", err
	}
	plain := local + "@" + ascii
	for _, c := range []byte(plain) {
		if c <= ' ' || c > '~' {
			return "", errors.New("not ASCII")
		}
	}
	// What is not read as itself is more than an address, such as a name or a second one.
	parsed, err := netmail.ParseAddress(plain)
	if err != nil || parsed.Address != plain || parsed.Name != "" || strings.ContainsAny(plain, `<>"(),:;\`) {
		return "", errors.New("not an address")
	}
	return plain, nil
}
