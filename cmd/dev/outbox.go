package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"latchkey/internal/mail"
	"latchkey/internal/pages"
	"latchkey/internal/webguard"
)

// maxEmails is the number of emails that the outbox keeps.
const maxEmails = 50

// outbox is a mail.Sender that prints emails and shows them on a page instead of delivering
// them.
type outbox struct {
	stdout io.Writer

	mu     sync.Mutex
	emails []email // newest first
}

// email is an email as /mail.json shows it.
type email struct {
	ID      string    `json:"id"`
	At      time.Time `json:"at"`
	To      string    `json:"to"`
	Subject string    `json:"subject"`
	Text    string    `json:"text"`
	HTML    string    `json:"html"`
}

// Send implements mail.Sender. A retry replaces the email with the same ID, because only the
// link in the last one works.
func (o *outbox) Send(_ context.Context, m mail.Message) error {
	sent := email{
		ID:      m.ID,
		At:      time.Now().UTC(),
		To:      m.To,
		Subject: m.Subject,
		Text:    m.Text,
		HTML:    m.HTML,
	}

	o.mu.Lock()
	o.emails = slices.DeleteFunc(o.emails, func(e email) bool { return e.ID == m.ID })
	o.emails = slices.Insert(o.emails, 0, sent)
	o.emails = o.emails[:min(len(o.emails), maxEmails)]
	o.mu.Unlock()

	o.print(sent)

	return nil
}

// print writes the text of an email. It writes once, because the log uses the same stream.
// It ignores errors, since the page shows the email, too.
func (o *outbox) print(e email) {
	var b strings.Builder
	fmt.Fprintf(&b, "\n  ┌─ Email to %s\n  │  %s\n  │\n", e.To, e.Subject)
	for line := range strings.Lines(strings.TrimSpace(e.Text)) {
		b.WriteString("  " + strings.TrimRight("│  "+line, " \r\n") + "\n")
	}
	b.WriteString("  └─\n\n")

	_, _ = io.WriteString(o.stdout, b.String())
}

// all returns the emails, newest first.
func (o *outbox) all() []email {
	o.mu.Lock()
	defer o.mu.Unlock()

	return append([]email{}, o.emails...)
}

// byID returns the email with the given ID, or nil if there is none.
func (o *outbox) byID(id string) *email {
	for _, e := range o.all() {
		if e.ID == id {
			return &e
		}
	}

	return nil
}

const (
	outboxPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	// emailPolicy is for the HTML of an email. It runs no scripts and loads nothing, even if
	// it is opened outside of the frame. The page around it may read its height.
	emailPolicy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; sandbox allow-same-origin allow-top-navigation-by-user-activation"
	jsonPolicy  = "default-src 'none'; frame-ancestors 'none'"
)

// addRoutes adds the outbox to the server of the demo.
func (o *outbox) addRoutes(mux *http.ServeMux, host string, site *pages.Site) {
	handle := func(pattern, contentType, policy string, body func(r *http.Request) ([]byte, bool)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			// Otherwise a page could read the links in the emails by DNS rebinding.
			if !webguard.OwnHost(r, host) {
				http.Error(w, "This server has a different name.", http.StatusMisdirectedRequest)
				return
			}

			text, ok := body(r)
			if !ok {
				http.NotFound(w, r)
				return
			}

			setHeaders(w.Header(), policy)
			w.Header().Set("Content-Type", contentType)
			_, _ = w.Write(text)
		})
	}

	handle("GET /mail", "text/html; charset=utf-8", outboxPolicy, func(r *http.Request) ([]byte, bool) {
		return o.page(site, r.URL.Query().Get("id"))
	})

	for name, contentType := range map[string]string{"outbox.js": "text/javascript; charset=utf-8", "outbox.css": "text/css; charset=utf-8"} {
		handle("GET /mail/"+name, contentType, outboxPolicy, func(*http.Request) ([]byte, bool) {
			text, err := demoFiles.ReadFile("demo/" + name)
			return text, err == nil
		})
	}

	handle("GET /mail.json", "application/json", jsonPolicy, func(*http.Request) ([]byte, bool) {
		list, err := json.Marshal(o.all())
		return list, err == nil
	})

	handle("GET /mail/{file}", "text/html; charset=utf-8", emailPolicy, func(r *http.Request) ([]byte, bool) {
		id, isHTML := strings.CutSuffix(r.PathValue("file"), ".html")
		e := o.byID(id)
		if !isHTML || e == nil {
			return nil, false
		}

		// The demo cannot be opened inside the frame.
		return []byte(strings.Replace(e.HTML, "<head>", `<head><base target="_top">`, 1)), true
	})
}

// page renders the outbox. It opens the email with the given ID, or the newest one if id is empty.
func (o *outbox) page(site *pages.Site, id string) ([]byte, bool) {
	emails := o.all()
	if id == "" && len(emails) > 0 {
		id = emails[0].ID
	}
	open := o.byID(id)

	var b bytes.Buffer
	err := outboxTemplate.Execute(&b, map[string]any{
		"Site":    site,
		"App":     site.App(),
		"Emails":  emails,
		"Open":    open,
		"Missing": id != "" && open == nil,
	})

	return b.Bytes(), err == nil
}
