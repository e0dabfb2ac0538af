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

// Text returns the plain text part, or "" if the email cannot be parsed.
func (m Message) Text() string {
	parsed := m.parse()
	_, params, err := mime.ParseMediaType(parsed.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}

	part, err := multipart.NewReader(parsed.Body, params["boundary"]).NextPart()
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
