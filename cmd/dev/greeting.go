package main

import (
	"fmt"
	"io"
)

// greet prints the URLs and the first commands to try.
func greet(w io.Writer, api string, page demoPage, hasPages, hasOutbox bool) {
	const outboxPath = "/mail"

	demo := fmt.Sprintf("%-*s   example page on another origin", len(page.origin)+len(outboxPath), page.origin)
	if page.listener == nil {
		demo = "not available: " + page.origin + " is in use"
	}

	var pages string
	if hasPages {
		pages = "  Pages    " + api + "/account\n"
	}

	var outbox string
	switch {
	case !hasOutbox:
		outbox = "not available: emails go to SMTP_URL"
	case page.listener == nil:
		outbox = "emails are printed here"
	default:
		outbox = page.origin + outboxPath + "   emails that the API has sent"
	}

	_, _ = fmt.Fprintf(w, `
  Latchkey is running with Redis and MongoDB inside the process. For development only.
  Accounts and sessions are kept in %s. Your pages on http://localhost may call the API.

  Demo     %s
%s  Outbox   %s
  Docs     %s/docs
  API      %s

  Try it in another terminal:

    curl -X POST %s/auth/register \
      -H "Content-Type: application/json" \
      -d '{"name": "John Doe", "email": "john@example.com", "password": "correct horse battery"}' \
      -c cookies.txt

    curl %s/auth/me -b cookies.txt

  Press Ctrl+C to stop.

`, dataDir, demo, pages, outbox, api, api, api, api)
}
