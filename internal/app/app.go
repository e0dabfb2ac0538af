package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"latchkey/internal/activity"
	"latchkey/internal/auth"
	"latchkey/internal/config"
	"latchkey/internal/hashpool"
	"latchkey/internal/httpapi"
	"latchkey/internal/mail"
	"latchkey/internal/mongoconn"
	"latchkey/internal/oauth"
	"latchkey/internal/ratelimit"
	"latchkey/internal/redischeck"
	"latchkey/internal/redisconn"
	"latchkey/internal/session"
	"latchkey/internal/telemetry"
	"latchkey/internal/user"
)

// App is the server. Its port is open as soon as New has returned.
type App struct {
	parts
	listener     net.Listener
	server       *http.Server
	api          *httpapi.Server
	ops          *opsServer // nil without OPS_ADDR
	drainTime    time.Duration
	inspectRedis bool   // warn if Redis does not persist sessions
	heapBallast  []byte // see heapBallastSize
}

// parts is shared by the server and the operator's commands.
type parts struct {
	redis      *redisconn.Client
	redisCheck *redischeck.Checker
	mongo      *mongoconn.Database
	users      *user.Store
	sessions   *session.Manager
	limiter    *ratelimit.Limiter
	activity   *activity.Recorder
	mailQueue  *mail.Queue
	hasher     *hashpool.Pool
	auth       *auth.Service
	providers  *oauth.Service
	smtp       *mail.SMTP         // nil if another sender was given, or if SMTP_URL is not set
	tracing    *telemetry.Tracing // nil if traces are off
	log        *slog.Logger
}

// New builds the server and opens its port, so that a port in use is an error here. It does not
// wait for the stores, which may start later. Emails go to sender or, if that is nil, to the
// server in SMTP_URL. The log goes to logTo.
func New(ctx context.Context, c config.Config, sender mail.Sender, logTo io.Writer) (*App, error) {
	logSettings(c, logTo)
	log := newLogger(c, logTo)

	// Without the ops listener nobody could read the metrics.
	var metrics *telemetry.Metrics
	if c.OpsAddr != "" {
		metrics = telemetry.NewMetrics()
	}

	p, err := newParts(c, sender, metrics, log)
	if err != nil {
		return nil, err
	}

	a := &App{
		parts:        p,
		drainTime:    c.DrainTime,
		inspectRedis: c.AppEnv != config.Development,
		heapBallast:  newHeapBallast(),
	}
	if err := a.open(ctx, c, metrics); err != nil {
		if a.listener != nil {
			_ = a.listener.Close()
		}
		a.close()

		return nil, err
	}

	return a, nil
}

// open adds what only the server needs to the parts, and opens the listeners.
func (a *App) open(ctx context.Context, c config.Config, metrics *telemetry.Metrics) error {
	var err error

	a.tracing, err = telemetry.NewTracing(ctx, otelVariables(c), a.log)
	if err != nil {
		return err
	}

	a.users.RequirePreparation() // see prepareMongo
	a.api, err = a.newAPI(c, metrics)
	if err != nil {
		return fmt.Errorf("FRONTEND_URL: %w", err)
	}

	a.server, err = newAPIServer(c, a.api, a.log)
	if err != nil {
		return err
	}

	a.listener, err = listen(ctx, c.Addr())
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}

	if c.OpsAddr != "" {
		a.ops, err = a.newOpsServer(ctx, c, metrics)
		if err != nil {
			return fmt.Errorf("OPS_ADDR: %w", err)
		}
	}

	return nil
}

func (a *App) newAPI(c config.Config, metrics *telemetry.Metrics) (*httpapi.Server, error) {
	return httpapi.New(a.users, a.auth, a.sessions, httpapi.Options{
		Cookie: httpapi.Cookie{
			Name:     c.Cookie.Name,
			Domain:   c.Cookie.Domain,
			Secure:   c.Cookie.Secure,
			SameSite: c.Cookie.SameSite,
		},
		Origins:        c.FrontendURL,
		TrustedProxies: c.TrustedProxies,
		Limits:         limits(c.Limits),
		Limiter:        a.limiter,
		Secrets:        secrets(c.Session.Secrets),
		MinPassword:    c.Accounts.PasswordMinLength,
		CheckRedis:     a.redisCheck.Ready,
		CheckMongo:     a.users.Ready,
		Activity:       a.activity,
		Providers:      a.providers,
		StepUpMaxAge:   c.Accounts.StepUpMaxAge,
		RedisBudget:    c.Redis.RequestBudget(),
		Metrics:        metrics,
		Tracing:        a.tracing,
		Log:            a.log,
	})
}

// newParts builds everything that does not depend on HTTP. The stores are connected when they are
// first used.
func newParts(c config.Config, sender mail.Sender, metrics *telemetry.Metrics, log *slog.Logger) (parts, error) {
	var smtp *mail.SMTP
	if sender == nil && c.Mail.URL != "" {
		var err error
		smtp, err = mail.NewSMTP(string(c.Mail.URL), c.Mail.From)
		if err != nil {
			return parts{}, fmt.Errorf("SMTP_URL, MAIL_FROM: %w", err)
		}
		smtp.HeloName = c.Mail.HeloName

		sender = smtp
	}

	db, err := mongoconn.Open(mongoconn.Options{
		URI:     string(c.MongoURI),
		Timeout: c.MongoTimeout,
		Metrics: metrics,
	})
	if err != nil {
		return parts{}, err
	}

	p := parts{mongo: db, smtp: smtp, log: log}
	p.users = user.New(db, time.Now)
	p.activity = activity.New(db, activity.Options{Retention: c.Accounts.ActivityRetention, Log: log})

	p.redis = redisconn.New(redisOptions(c.Redis, metrics, log))
	p.redisCheck = redischeck.New(p.redis, redisPrefixes(c, sender != nil))
	p.limiter = ratelimit.New(p.redis)
	p.mailQueue = mail.NewQueue(p.redis, mail.QueueOptions{Metrics: metrics, Log: log})
	p.providers = oauth.New(p.redis, secrets(c.Session.Secrets), oauthProviders(c.Providers), oauth.Options{Log: log})
	p.sessions = session.New(p.redis, session.Options{
		Secrets:       secrets(c.Session.Secrets),
		Idle:          c.Session.MaxAge,
		Absolute:      c.Session.AbsoluteMaxAge,
		TouchInterval: c.Session.TouchInterval,
		MaxPerUser:    c.Session.MaxPerUser,
		Now:           time.Now,
		Metrics:       metrics,
		Log:           log,
	})

	p.hasher = hashpool.New(c.BcryptCost, metrics)
	rules := auth.NewRules(bool(c.Accounts.RefuseCommon), c.Accounts.BreachURL, log)
	rules.MinLength = c.Accounts.PasswordMinLength
	p.auth = auth.New(p.users, p.sessions, p.hasher, auth.Options{
		Rules:        rules,
		Sender:       sender,
		Queue:        p.mailQueue,
		MailInterval: c.Mail.Interval,
		BaseURL:      c.Accounts.PublicURL,
		ResetMaxAge:  c.Accounts.ResetMaxAge,
		VerifyMaxAge: c.Accounts.VerifyMaxAge,
		Providers:    authProviders(c.Providers),
		Limiter:      p.limiter,
		Log:          log,
	})

	return p, nil
}

// redisPrefixes returns the prefixes of the Redis keys that the server uses.
func redisPrefixes(c config.Config, sendsEmails bool) []string {
	prefixes := session.KeyPrefixes()
	if c.Limits != (config.Limits{}) {
		prefixes = append(prefixes, ratelimit.KeyPrefix)
	}
	if sendsEmails {
		prefixes = append(prefixes, mail.KeyPrefix)
	}
	if len(c.Providers) > 0 {
		prefixes = append(prefixes, oauth.KeyPrefix)
	}

	return prefixes
}

func redisOptions(c config.Redis, metrics *telemetry.Metrics, log *slog.Logger) redisconn.Options {
	return redisconn.Options{
		Addr:             c.Addr(),
		Username:         c.Username,
		Password:         string(c.Password),
		DB:               c.DB,
		TLS:              c.TLS,
		Sentinels:        c.Sentinels,
		Master:           c.Master,
		SentinelUsername: c.SentinelUsername,
		SentinelPassword: string(c.SentinelPassword),
		Cluster:          c.Cluster,
		Timeout:          c.Timeout,
		Metrics:          metrics,
		Log:              log,
	}
}

// close writes what is buffered and closes the connections.
func (p parts) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()

	if err := p.activity.Close(ctx); err != nil {
		p.log.Warn("cannot store buffered security events; they are only in the log", "error", err)
	}
	p.hasher.Close()
	p.redis.Close()

	// Shutdown has its own timeout.
	if err := p.tracing.Shutdown(context.Background()); err != nil {
		p.log.Warn("cannot send buffered traces", "error", err)
	}
	_ = p.mongo.Client().Disconnect(ctx)
}

// logSettings logs the warnings about the settings, regardless of LOG_LEVEL.
func logSettings(c config.Config, logTo io.Writer) {
	c.LogLevel = min(c.LogLevel, slog.LevelWarn)
	log := newLogger(c, logTo)

	for _, warning := range c.Warnings {
		log.Warn(warning)
	}
	for _, weak := range c.Weaknesses {
		log.Warn("setting is weaker than the default", "setting", weak.Name, "risk", weak.Risk, "fix", weak.Fix)
	}
}

// newLogger returns a logger with the configured level and format.
func newLogger(c config.Config, w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.LogLevel}
	if c.LogFormat == "text" {
		return slog.New(telemetry.LogHandler(slog.NewTextHandler(w, options)))
	}

	return slog.New(telemetry.LogHandler(slog.NewJSONHandler(w, options)))
}

// limits translates the rate limits for package httpapi. Zero means off in both packages.
func limits(c config.Limits) httpapi.Limits {
	return httpapi.Limits{
		Register: ratelimit.Rule(c.Register),
		Login:    ratelimit.Rule(c.Login),
		Mail:     ratelimit.Rule(c.Mail),
		Token:    ratelimit.Rule(c.Token),
		Password: ratelimit.Rule(c.Password),
		Account:  ratelimit.Rule(c.Account),
		Device:   ratelimit.Rule(c.Device),
		OAuth:    ratelimit.Rule(c.OAuth),
	}
}

func secrets(configured []config.Secret) [][]byte {
	converted := make([][]byte, len(configured))
	for i, s := range configured {
		converted[i] = []byte(s)
	}

	return converted
}
