package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"go.mongodb.org/mongo-driver/mongo"

	"latchkey/internal/activity"
	"latchkey/internal/auth"
	"latchkey/internal/config"
	"latchkey/internal/httpapi"
	"latchkey/internal/mail"
	"latchkey/internal/mongoconn"
	"latchkey/internal/oauth"
	"latchkey/internal/ratelimit"
	"latchkey/internal/redisconn"
	"latchkey/internal/session"
	"latchkey/internal/telemetry"
	"latchkey/internal/user"
)

// App is the whole server, listening.
type App struct {
	parts
	listener net.Listener
	server   *http.Server
	api      *httpapi.Server
	ops      *ops // nil where there is none
	drain    time.Duration
	inspect  bool   // what Redis keeps matters
	heap     []byte // see heapFloor
}

// parts are what the server and an operator's commands both work with.
type parts struct {
	redis     *redisconn.Client
	mongo     *mongo.Database
	users     *user.Store
	sessions  *session.Manager
	limiter   *ratelimit.Limiter
	activity  *activity.Recorder
	letters   *mail.Queue
	passwords *auth.Service
	providers *oauth.Service
	smtp      *mail.SMTP         // nil where mail goes elsewhere, or nowhere
	tracing   *telemetry.Tracing // nil where nobody asked for it
	log       *slog.Logger
}

// New puts the server together and opens its port, so that an address in use is
// an error here. The stores may come later: they are asked when they are needed.
// Mail goes to sender; where that is nil, to what SMTP_URL names. The log goes to logTo.
func New(ctx context.Context, c config.Config, sender mail.Sender, logTo io.Writer) (*App, error) {
	log := newLogger(c, logTo)
	for _, warning := range c.Warnings {
		log.Warn(warning)
	}
	// Without a listener there is nobody who could read them.
	var metrics *telemetry.Metrics
	if c.OpsAddr != "" {
		metrics = telemetry.NewMetrics()
	}
	p, err := newParts(c, sender, metrics, log)
	if err != nil {
		return nil, err
	}
	if p.tracing, err = telemetry.NewTracing(ctx, openTelemetry(c), log); err != nil {
		p.close()
		return nil, err
	}
	api, err := httpapi.New(p.users, p.passwords, p.sessions, httpapi.Options{
		Cookie: httpapi.Cookie{
			Name: c.Cookie.Name, Domain: c.Cookie.Domain, Secure: c.Cookie.Secure, SameSite: c.Cookie.SameSite,
		},
		Origins: c.FrontendURL, TrustedProxies: c.TrustedProxies,
		Limits: limits(c.Limits), Limiter: p.limiter, Secrets: secrets(c.Session.Secrets),
		Activity: p.activity, Providers: p.providers, StepUpMaxAge: time.Duration(c.Accounts.StepUpMaxAge),
		Metrics: metrics, Tracing: p.tracing, Log: log,
	})
	if err != nil {
		p.close()
		return nil, fmt.Errorf("FRONTEND_URL: %w", err)
	}

	a := &App{parts: p, inspect: c.AppEnv != config.Development, api: api, drain: time.Duration(c.DrainTime), heap: newHeapFloor()}
	if a.server, err = newServer(c, api, log); err != nil {
		a.close()
		return nil, err
	}
	if a.listener, err = listen(ctx, c.Addr()); err != nil {
		a.close()
		return nil, fmt.Errorf("listen: %w", err)
	}
	if c.OpsAddr != "" {
		if a.ops, err = a.newOps(ctx, c.OpsAddr, metrics); err != nil {
			_ = a.listener.Close()
			a.close()
			return nil, fmt.Errorf("OPS_ADDR: %w", err)
		}
	}
	return a, nil
}

// newParts makes what does not depend on HTTP. Nothing connects until it is used.
func newParts(c config.Config, sender mail.Sender, metrics *telemetry.Metrics, log *slog.Logger) (parts, error) {
	var smtp *mail.SMTP
	if sender == nil && c.Mail.URL != "" {
		var err error
		if smtp, err = mail.NewSMTP(string(c.Mail.URL), c.Mail.From); err != nil {
			return parts{}, fmt.Errorf("SMTP_URL, MAIL_FROM: %w", err)
		}
		sender = smtp
	}
	db, err := mongoconn.Open(string(c.MongoURI), metrics)
	if err != nil {
		return parts{}, err
	}
	users := user.New(db, time.Now)
	redis := redisconn.New(redisconn.Options{
		Addr: c.Redis.Addr(), Username: c.Redis.Username, Password: string(c.Redis.Password),
		DB: c.Redis.DB, TLS: c.Redis.TLS,
		Sentinels: c.Redis.Sentinels, Master: c.Redis.Master,
		SentinelUsername: c.Redis.SentinelUsername, SentinelPassword: string(c.Redis.SentinelPassword),
		Cluster: c.Redis.Cluster, Metrics: metrics, Log: log,
	})
	sessions := session.New(redis, session.Options{
		Secrets: secrets(c.Session.Secrets), Idle: time.Duration(c.Session.MaxAge),
		Absolute: time.Duration(c.Session.AbsoluteMaxAge), TouchInterval: time.Duration(c.Session.TouchInterval),
		MaxPerUser: c.Session.MaxPerUser,
		Now:        time.Now, Metrics: metrics, Log: log,
	})
	limiter := ratelimit.New(redis)
	letters := mail.NewQueue(redis, mail.QueueOptions{Metrics: metrics, Log: log})
	passwords := auth.New(users, auth.Options{
		Cost:   c.BcryptCost,
		Rules:  auth.NewRules(c.Accounts.RefuseCommon, c.Accounts.BreachURL, log),
		Sender: sender, Queue: letters,
		MailInterval: time.Duration(c.Mail.Interval), Link: c.Accounts.PublicURL,
		ResetMaxAge: time.Duration(c.Accounts.ResetMaxAge), VerifyMaxAge: time.Duration(c.Accounts.VerifyMaxAge),
		Providers: providersOf(c.Providers), Metrics: metrics, Log: log,
	})
	events := activity.New(db, activity.Options{Retention: time.Duration(c.Accounts.ActivityRetention), Log: log})
	elsewhere := oauth.New(redis, providers(c.Providers), oauth.Options{Log: log})
	return parts{redis, db, users, sessions, limiter, events, letters, passwords, elsewhere, smtp, nil, log}, nil
}

func (p parts) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := p.activity.Close(ctx); err != nil {
		p.log.Warn("security events are in the log only", "error", err)
	}
	p.passwords.Close()
	p.redis.Close()
	if err := p.tracing.Shutdown(context.Background()); err != nil { // has a limit of its own
		p.log.Warn("trouble with the traces", "error", err)
	}
	_ = p.mongo.Client().Disconnect(ctx)
}

// newLogger returns the log that the settings ask for.
func newLogger(c config.Config, w io.Writer) *slog.Logger {
	o := &slog.HandlerOptions{Level: c.LogLevel}
	if c.LogFormat == "text" {
		return slog.New(telemetry.Handler(slog.NewTextHandler(w, o)))
	}
	return slog.New(telemetry.Handler(slog.NewJSONHandler(w, o)))
}

func limits(c config.Limits) httpapi.Limits {
	if c.Off {
		return httpapi.Limits{}
	}
	rule := func(r config.Rate) ratelimit.Rule { return ratelimit.Rule{Events: r.Events, Window: r.Window} }
	return httpapi.Limits{
		Register: rule(c.Register), Login: rule(c.Login), Mail: rule(c.Mail), Token: rule(c.Token),
		Password: rule(c.Password), Account: rule(c.Account), Device: rule(c.Device), OAuth: rule(c.OAuth),
	}
}

func secrets(from []config.Secret) [][]byte {
	to := make([][]byte, len(from))
	for i, s := range from {
		to[i] = []byte(s)
	}
	return to
}
