package mail

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	netmail "net/mail"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"
	"golang.org/x/net/idna"

	"latchkey/internal/loopback"
	"latchkey/internal/token"
)

// SMTP sends messages through a mail server. Each message uses its own connection. The
// exported fields must not change after the first use.
type SMTP struct {
	// Timeout limits each call to Send or Check, even if the server hangs. The default is 30 s.
	Timeout time.Duration

	// RootCAs are the authorities that are trusted to sign the server's certificate. The default
	// is the system's authorities.
	RootCAs *x509.CertPool

	// HeloName is our host name for EHLO. The default is the name of this machine if that is
	// fully qualified, and otherwise our IP.
	HeloName string

	host       string
	port       string
	username   string
	password   string
	from       netmail.Address
	encryption encryption
	dial       func(ctx context.Context, network, addr string) (net.Conn, error)
	hostname   func() (string, error)
}

// encryption is how a connection is encrypted.
type encryption int

const (
	// startTLS requires the server to offer STARTTLS. Otherwise an attacker on the network
	// could remove the offer to get an unencrypted connection.
	startTLS encryption = iota
	// startTLSIfOffered uses STARTTLS if it is offered. It is only for loopback.
	startTLSIfOffered
	// implicitTLS uses TLS from the first byte (RFC 8314).
	implicitTLS
	// noTLS never encrypts. It is only for loopback.
	noTLS
)

// NewSMTP returns an SMTP for the mail server at rawURL, without connecting. from is the sender
// of all emails, for example "Latchkey <no-reply@example.com>".
//
//	smtp://user:password@host:587   STARTTLS; optional on loopback
//	smtps://user:password@host:465  implicit TLS
//	smtp://localhost:1025?tls=none  no TLS; only on loopback
//
// The port and the credentials are optional. Errors do not quote the URL, because it may
// contain a password.
func NewSMTP(rawURL, from string) (*SMTP, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, errors.New("not a valid URL")
	}

	s := &SMTP{
		Timeout:  30 * time.Second,
		host:     u.Hostname(),
		port:     u.Port(),
		username: u.User.Username(),
		dial:     (&net.Dialer{}).DialContext,
		hostname: os.Hostname,
	}
	s.password, _ = u.User.Password()

	switch {
	case u.Scheme != "smtp" && u.Scheme != "smtps":
		return nil, errors.New("URL must start with smtp:// or smtps://")
	case s.host == "":
		return nil, errors.New("URL has no host")
	case strings.Trim(u.Path, "/") != "" || u.Fragment != "":
		return nil, errors.New("URL must end after the port; percent-encode special characters in the password")
	case (s.username == "") != (s.password == ""):
		return nil, errors.New("URL must have both a username and a password, or neither")
	}

	if n, err := strconv.Atoi(cmp.Or(s.port, "1")); err != nil || n < 1 || n > 65535 {
		return nil, errors.New("URL has an invalid port")
	}
	s.port = cmp.Or(s.port, map[string]string{"smtp": "587", "smtps": "465"}[u.Scheme])

	s.encryption, err = encryptionOf(u)
	if err != nil {
		return nil, err
	}

	sender, err := netmail.ParseAddress(from)
	if err != nil {
		return nil, errors.New("sender must look like: Latchkey <no-reply@example.com>")
	}
	s.from.Name = printable(sender.Name)

	s.from.Address, err = asciiAddress(sender.Address)
	if err != nil {
		return nil, errors.New("sender has an invalid email address")
	}

	return s, nil
}

// encryptionOf returns the encryption that the scheme, the host and the query of a URL
// select.
func encryptionOf(u *url.URL) (encryption, error) {
	isLoopback := loopback.Host(u.Hostname())

	switch {
	case u.RawQuery != "" && u.RawQuery != "tls=none":
		return 0, errors.New("URL must have no query except ?tls=none")
	case u.RawQuery != "" && u.Scheme == "smtps":
		return 0, errors.New("URL must not combine smtps:// with ?tls=none")
	case u.RawQuery != "" && !isLoopback:
		return 0, errors.New("?tls=none is only allowed for loopback: others on the network could read passwords and links")
	case u.RawQuery != "":
		return noTLS, nil
	case u.Scheme == "smtps":
		return implicitTLS, nil
	case isLoopback:
		return startTLSIfOffered, nil
	}

	return startTLS, nil
}

// Send implements Sender.
func (s *SMTP) Send(ctx context.Context, m Message) error {
	to, err := asciiAddress(m.To)
	if err != nil {
		return fmt.Errorf("%w: invalid email address of the recipient", ErrRejected)
	}

	// Encode the complete message before sending anything, so that the server never gets half
	// of it.
	var encoded bytes.Buffer
	if err := s.encode(&encoded, m, to); err != nil {
		return err
	}

	return s.withSession(ctx, func(c *smtp.Client) error {
		if err := c.Mail("<" + s.from.Address + ">"); err != nil {
			return stepError(stepFrom, err)
		}
		if err := c.Rcpt("<" + to + ">"); err != nil {
			return stepError(stepTo, err)
		}

		body, err := c.Data()
		if err != nil {
			return stepError(stepData, err)
		}
		if _, err := body.Write(encoded.Bytes()); err != nil {
			return stepError(stepMessage, err) // without Close, which would end the message
		}

		return stepError(stepMessage, body.Close())
	})
}

// Check connects to the mail server, logs in and sends NOOP. It fails if Send would fail for
// every message.
func (s *SMTP) Check(ctx context.Context) error {
	return s.withSession(ctx, func(c *smtp.Client) error { return stepError(stepNoop, c.Noop()) })
}

// encode writes a message in the format of RFC 5322.
func (s *SMTP) encode(out *bytes.Buffer, m Message, to string) error {
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent(), gomail.WithEncoding(gomail.EncodingQP), gomail.WithCharset(gomail.CharsetUTF8))
	msg.FromMailAddress(&s.from)
	msg.ToMailAddress(&netmail.Address{Address: to}) // without a name, which a user would choose
	msg.Subject(printable(m.Subject))
	msg.SetDate()

	_, host, _ := strings.Cut(s.from.Address, "@")
	msg.SetMessageIDWithValue(messageID(m.ID) + "@" + host)

	// Suppress out-of-office replies (RFC 3834).
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetGenHeader(gomail.HeaderXAutoResponseSuppress, "All")

	msg.SetBodyString(gomail.TypeTextPlain, m.Text)
	msg.AddAlternativeString(gomail.TypeTextHTML, m.HTML)

	if _, err := msg.WriteTo(out); err != nil {
		return errors.New("mail: cannot encode a message") // err may quote it
	}

	return nil
}

// validID matches job IDs that can be part of a header.
var validID = regexp.MustCompile(`^[\w-]+$`)

// messageID returns the local part of the Message-ID for a message's ID. Equal IDs give equal
// results, except that the empty ID gives a random one.
func messageID(id string) string {
	if validID.MatchString(id) {
		return id
	}

	return token.Hash(cmp.Or(id, rand.Text()))
}

// plainAddress matches printable ASCII without the characters that are special in a header.
var plainAddress = regexp.MustCompile(`^[^<>"(),:;\\\x00-\x20\x7f-\x{10ffff}]+$`)

// asciiAddress returns an email address in a form that every mail server accepts: with
// its domain in ASCII (IDNA). The local part must already be ASCII.
func asciiAddress(address string) (string, error) {
	local, domain, _ := strings.Cut(address, "@")

	ascii, err := idna.Lookup.ToASCII(domain)
	if err == nil {
		_, err = idna.Lookup.ToUnicode(ascii) // rejects invalid Punycode
	}
	if err != nil {
		return "", err
	}

	// Parse the result. If that changes it, it contains more than an email address, such as a
	// name or a second recipient.
	plain := local + "@" + ascii
	parsed, err := netmail.ParseAddress(plain)
	if err != nil || parsed.Address != plain || parsed.Name != "" || !plainAddress.MatchString(plain) {
		return "", errors.New("invalid email address")
	}

	return plain, nil
}
