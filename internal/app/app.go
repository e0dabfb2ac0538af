package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"latchkey/internal/config"
	"latchkey/internal/httpapi"
	"latchkey/internal/mail"
	"latchkey/internal/origin"
	"latchkey/internal/ratelimit"
	"latchkey/internal/telemetry"
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

	metrics          *telemetry.Metrics // nil without OPS_ADDR
	unverifiedMaxAge time.Duration      // 0 keeps unverified accounts
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

	p, err := newParts(c, sender, metrics, log, log)
	if err != nil {
		return nil, err
	}

	a := &App{
		parts:        p,
		drainTime:    c.DrainTime,
		inspectRedis: c.AppEnv != config.Development,
		heapBallast:  newHeapBallast(),

		metrics:          metrics,
		unverifiedMaxAge: c.Registration.UnverifiedMaxAge,
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
		Origins:        trustedOrigins(c),
		TrustedProxies: c.TrustedProxies,
		SignInPage:     signInPage(c.Accounts.PublicURL),
		Limits:         limits(c.Limits),
		Limiter:        a.limiter,
		Secrets:        secrets(c.Session.Secrets),
		MinPassword:    c.Accounts.PasswordMinLength,
		Languages:      a.languages,
		CheckRedis:     a.redisCheck.Ready,
		CheckMongo:     a.users.Ready,
		Activity:       a.activity,
		Providers:      a.providers,
		Pages:          a.pages(c),
		StepUpMaxAge:   c.Accounts.StepUpMaxAge,
		RedisBudget:    c.Redis.RequestBudget(),
		Metrics:        metrics,
		Tracing:        a.tracing,
		Log:            a.log,

		Brand:                brandOf(c.Brand),
		RequireVerifiedEmail: c.Registration.RequireVerifiedEmail,
	})
}

// pages returns the settings of the built-in pages, or nil if they are off.
func (a *App) pages(c config.Config) *httpapi.Pages {
	if !c.Accounts.Pages {
		return nil
	}

	return &httpapi.Pages{
		PublicURL:     c.Accounts.PublicURL,
		DefaultLocale: c.Brand.DefaultLocale,
	}
}

// trustedOrigins returns the origins whose pages may call the API. During development, dev servers
// choose their ports themselves, so every local page may call it.
func trustedOrigins(c config.Config) origin.Trusted {
	return origin.Trusted{
		Listed:   c.FrontendURL,
		Loopback: c.AppEnv == config.Development,
	}
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

// signInPage returns the URL of the sign-in page. It has the same base URL as the links in emails.
func signInPage(publicURL string) string {
	if publicURL == "" {
		return ""
	}

	return publicURL + "/signin"
}
