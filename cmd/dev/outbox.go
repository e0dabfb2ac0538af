package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"latchkey/internal/mail"
)

// keptMails is how many mails the outbox keeps.
const keptMails = 50

// outbox is where mails go that have no mail server: to the terminal, and to a page
// beside the demo. It is a mail.Sender.
type outbox struct {
	stdout io.Writer

	mu    sync.Mutex
	mails []sentMail // the newest first
}

// sentMail is a mail as /mail.json shows it.
type sentMail struct {
	ID      string    `json:"id"`
	At      time.Time `json:"at"`
	To      string    `json:"to"`
	Subject string    `json:"subject"`
	Text    string    `json:"text"`
	HTML    string    `json:"html"`
}

// Send implements mail.Sender. One that comes again takes the place of the first: its
// link is the one that is good.
func (o *outbox) Send(_ context.Context, m mail.Message) error {
	o.mu.Lock()
	o.mails = slices.DeleteFunc(o.mails, func(kept sentMail) bool { return kept.ID == m.ID })
	o.mails = slices.Insert(o.mails, 0, sentMail{m.ID, time.Now().UTC(), m.To, m.Subject, m.Text, m.HTML})
	o.mails = o.mails[:min(len(o.mails), keptMails)]
	o.mu.Unlock()

	var b strings.Builder // one write: the log goes to the same place
	fmt.Fprintf(&b, "\n  ┌─ Mail to %s\n  │  %s\n  │\n", m.To, m.Subject)
	for line := range strings.Lines(strings.TrimSpace(m.Text)) {
		b.WriteString("  " + strings.TrimRight("│  "+line, " \r\n") + "\n")
	}
	b.WriteString("  └─\n\n")
	_, _ = io.WriteString(o.stdout, b.String()) // where that fails, there is still the page
	return nil
}

// kept returns the mails, the newest first.
func (o *outbox) kept() []sentMail {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]sentMail{}, o.mails...)
}

func (o *outbox) byID(id string) *sentMail {
	for _, m := range o.kept() {
		if m.ID == id {
			return &m
		}
	}
	return nil
}

const (
	mailPagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	// letterPolicy goes with a mail itself. Nothing of it runs and nothing is fetched,
	// also where it is opened without the frame.
	letterPolicy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; sandbox allow-top-navigation-by-user-activation"
)

// routes adds the pages of the outbox to those of the demo. host is what the server is
// called.
func (o *outbox) routes(mux *http.ServeMux, host string) error {
	text, err := demoFiles.ReadFile("demo/mail.html")
	if err != nil {
		return err
	}
	page, err := template.New("mail").Parse(string(text))
	if err != nil {
		return err
	}
	handle := func(pattern, contentType, policy string, body func(r *http.Request) ([]byte, bool)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if !isOurs(r.Host, host) {
				http.Error(w, "This is not the name of this server.", http.StatusMisdirectedRequest)
				return
			}
			text, ok := body(r)
			if !ok {
				http.NotFound(w, r)
				return
			}
			h := w.Header()
			h.Set("Content-Type", contentType)
			h.Set("Content-Security-Policy", policy)
			h.Set("Cross-Origin-Resource-Policy", "same-origin")
			h.Set("Cache-Control", "no-store")
			h.Set("Referrer-Policy", "no-referrer")
			h.Set("X-Content-Type-Options", "nosniff")
			_, _ = w.Write(text)
		})
	}
	handle("GET /mail", "text/html; charset=utf-8", mailPagePolicy, func(r *http.Request) ([]byte, bool) {
		return o.page(page, r.URL.Query().Get("id"))
	})
	handle("GET /mail.json", "application/json", "default-src 'none'; frame-ancestors 'none'", func(*http.Request) ([]byte, bool) {
		list, err := json.Marshal(o.kept())
		return list, err == nil
	})
	handle("GET /mail/{file}", "text/html; charset=utf-8", letterPolicy, func(r *http.Request) ([]byte, bool) {
		id, ok := strings.CutSuffix(r.PathValue("file"), ".html")
		m := o.byID(id)
		if !ok || m == nil {
			return nil, false
		}
		// A link leaves the frame, in which no page of the demo would open.
		return []byte(strings.Replace(m.HTML, "<head>", `<head><base target="_top">`, 1)), true
	})
	return nil
}

// page writes the page, with the mail of an id open, or without one the newest.
func (o *outbox) page(page *template.Template, id string) ([]byte, bool) {
	mails := o.kept()
	var open *sentMail
	for i := range mails {
		if mails[i].ID == id || id == "" {
			open = &mails[i]
			break
		}
	}
	var b bytes.Buffer
	err := page.Execute(&b, struct {
		Mails []sentMail
		Open  *sentMail
		Gone  bool
	}{mails, open, id != "" && open == nil})
	return b.Bytes(), err == nil
}

// isOurs tells whether the Host of a request is a name of this server. A page may have
// its own name lead to this machine (DNS rebinding); then it would be of one origin with
// these pages, and could read the links in the mails.
func isOurs(requested, host string) bool {
	name, _, err := net.SplitHostPort(requested)
	if err != nil {
		name = requested
	}
	name = strings.Trim(name, "[]")
	return name == "localhost" || strings.EqualFold(name, host) || net.ParseIP(name) != nil
}
