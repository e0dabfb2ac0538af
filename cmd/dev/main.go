// Command dev is the server to try: the same as cmd/latchkey, on a Redis and a
// MongoDB inside the process, so that nothing else has to be installed.
//
//	go run ./cmd/dev
//
// Accounts stay in .latchkey-dev across restarts; sessions do not. Mails are printed and
// shown on a page, see outbox.go, unless SMTP_URL says where to send them.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"latchkey/internal/app"
	"latchkey/internal/config"
	"latchkey/internal/devstore"
	"latchkey/internal/mail"
)

// dataDir keeps the accounts. It is in .gitignore.
const dataDir = ".latchkey-dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	err := run(ctx, os.Environ(), os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "dev:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, environ []string, stdout io.Writer) error {
	vars, err := config.Environ(environ, ".env")
	if err != nil {
		return err
	}
	stop, err := useDevStores(vars)
	if err != nil {
		return err
	}
	defer stop()

	port := config.DefaultPort
	if p, err := strconv.Atoi(vars["PORT"]); err == nil {
		port = p
	}
	host := vars["HOST"]
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	page, pageOrigin := listenForPage(ctx, vars, host, port)
	if page != nil {
		defer func() { _ = page.Close() }()
	}
	mails := &outbox{stdout: stdout}
	var sender mail.Sender = mails
	if vars["SMTP_URL"] != "" || vars["SMTP_URL_FILE"] != "" {
		mails, sender = nil, nil // the settings name one
	}

	c, err := config.Load(vars)
	if err != nil {
		return err
	}
	a, err := app.New(ctx, c, sender, stdout)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("port %d is taken; try another: PORT=%d go run ./cmd/dev", port, port+100)
	}
	if err != nil {
		return err
	}
	api := "http://" + net.JoinHostPort(host, strconv.Itoa(a.Addr().(*net.TCPAddr).Port))
	if page != nil {
		server, err := demo(api, host, mails)
		if err != nil {
			return err
		}
		go func() { _ = server.Serve(page) }()
		defer func() { _ = server.Close() }()
	}
	greet(stdout, api, pageOrigin, page != nil, mails != nil)
	return a.Serve(ctx)
}

// listenForPage opens the port of the demo and makes its origin one of those that may call
// the API. The listener is nil where a page of one's own is there already: it is the
// default of FRONTEND_URL.
func listenForPage(ctx context.Context, vars map[string]string, host string, apiPort int) (net.Listener, string) {
	port := "0" // any, as that of the API
	if apiPort != 0 {
		port = strconv.Itoa(apiPort + 1)
	}
	at := "http://" + net.JoinHostPort(host, port)
	page, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(vars["HOST"], port))
	if err == nil {
		at = origin(host, page)
		setDefault(vars, "PUBLIC_URL", at) // the demo has the pages for the links in mails
	}
	vars["FRONTEND_URL"] = strings.TrimPrefix(vars["FRONTEND_URL"]+","+at, ",")
	return page, at
}

// setDefault sets what is unset; an empty value counts as unset.
func setDefault(vars map[string]string, name, value string) {
	if vars[name] == "" {
		vars[name] = value
	}
}

// useDevStores starts the stores and points the settings at them. What else a
// .env sets, a guide's for example, stays as it is.
func useDevStores(vars map[string]string) (stop func(), err error) {
	redis, stopRedis, err := devstore.StartRedis()
	if err != nil {
		return nil, err
	}
	// FerretDB tells a lot at the start that is not about this server.
	mongo, stopMongo, err := devstore.StartMongo(dataDir, slog.New(slog.DiscardHandler))
	if err != nil {
		stopRedis()
		return nil, err
	}
	for name := range vars {
		switch name {
		case "REDIS_URI_FILE", "REDIS_USERNAME", "REDIS_PASSWORD", "REDIS_PASSWORD_FILE", "REDIS_DB", "REDIS_TLS",
			"REDIS_SENTINELS", "REDIS_SENTINEL_MASTER", "REDIS_SENTINEL_USERNAME", "REDIS_SENTINEL_PASSWORD", "REDIS_SENTINEL_PASSWORD_FILE",
			"REDIS_CLUSTER", "MONGODB_URI_FILE", "NODE_ENV", "TLS_CERT_FILE", "TLS_KEY_FILE":
			delete(vars, name)
		}
	}
	vars["APP_ENV"] = config.Development
	vars["REDIS_URI"] = "redis://" + redis
	vars["MONGODB_URI"] = mongo + "latchkey"
	setDefault(vars, "HOST", "localhost")
	// Someone who tries things out is no attacker: with the limits of production they
	// would soon wait for a minute, to log in or for the next mail.
	setDefault(vars, "RATE_LIMIT", "100/60s")
	setDefault(vars, "MAIL_INTERVAL", "1s")
	setDefault(vars, "DRAIN_TIME", "0")
	if vars["SESSION_SECRET"] == "" && vars["SESSION_SECRET_FILE"] == "" {
		// The sessions of this process end with it, so its secret may, too.
		vars["SESSION_SECRET"] = rand.Text() + rand.Text()
	}
	return func() { stopMongo(); stopRedis() }, nil
}

// greet says what there is to try. hasDemo is whether the demo has got its port, and
// hasMail whether mails go to the outbox.
func greet(w io.Writer, api, page string, hasDemo, hasMail bool) {
	const path = "/mail"
	column := len(page) + len(path)
	demo := fmt.Sprintf("%-*s   a page of another origin, for a browser", column, page)
	if !hasDemo {
		demo = page + "   has a page already, which may call the API; the demo is not there"
	}
	mails := page + path + "   what the server would have sent"
	switch {
	case !hasMail:
		mails = "goes to SMTP_URL"
	case !hasDemo:
		mails = "is printed here"
	}
	_, _ = fmt.Fprintf(w, `
  Latchkey, to try: the server itself, on a Redis and a MongoDB inside this process.
  Accounts stay in %s, sessions end with the process. Not for production.

  Demo   %s
  Mail   %s
  Docs   %s/docs
  API    %s

  Try it in another terminal:

    curl -X POST %s/auth/register \
      -H "Content-Type: application/json" \
      -d '{"name": "John Doe", "email": "john@example.com", "password": "password123"}' \
      -c cookies.txt

    curl %s/auth/me -b cookies.txt

  Ctrl+C stops it.

`, dataDir, demo, mails, api, api, api, api)
}
