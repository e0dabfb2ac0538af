package mailtest

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"regexp"
)

// Message is an email as the server received it.
type Message struct {
	Helo       string // the client's name in EHLO
	From       string
	To         string
	UTF8       bool   // sent with SMTPUTF8
	TLSVersion uint16 // 0 without TLS
	LoggedIn   bool
	Data       []byte
}

// parse returns the parsed email, or an empty one if parsing fails.
func (m Message) parse() *mail.Message {
	parsed, err := mail.ReadMessage(bytes.NewReader(m.Data))
	if err != nil {
		return &mail.Message{}
	}

	return parsed
}

// Header returns a header, or "" if the email cannot be parsed.
func (m Message) Header(name string) string { return m.parse().Header.Get(name) }

// Subject returns the decoded subject, or "" if the email cannot be parsed.
func (m Message) Subject() string {
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header("Subject"))
	if err != nil {
		return ""
	}

	return subject
}

// Text returns the plain text part, or "" if the email cannot be parsed.
func (m Message) Text() string { return m.part(0) }

// HTML returns the HTML part, or "" if the email cannot be parsed.
func (m Message) HTML() string { return m.part(1) }

// part returns a decoded part, or "" if the email cannot be parsed.
func (m Message) part(index int) string {
	parsed := m.parse()
	_, params, err := mime.ParseMediaType(parsed.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}

	parts := multipart.NewReader(parsed.Body, params["boundary"])
	for ; index > 0; index-- {
		if _, err := parts.NextPart(); err != nil {
			return ""
		}
	}

	part, err := parts.NextPart()
	if err != nil {
		return ""
	}
	text, _ := io.ReadAll(part)

	return string(text)
}

var tokenPattern = regexp.MustCompile(`#token=([\w-]+)`)

// Token returns the one-time token in the email's link, or "" if there is none.
func (m Message) Token() string {
	match := tokenPattern.FindStringSubmatch(m.Text())
	if match == nil {
		return ""
	}

	return match[1]
}
