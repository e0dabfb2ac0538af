package app

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"latchkey/internal/activity"
	"latchkey/internal/auth"
	"latchkey/internal/brand"
	"latchkey/internal/coherence"
	"latchkey/internal/config"
	"latchkey/internal/datakey"
	"latchkey/internal/hashpool"
	"latchkey/internal/locale"
	"latchkey/internal/mail"
	"latchkey/internal/mongoconn"
	"latchkey/internal/oauth"
	"latchkey/internal/pending"
	"latchkey/internal/ratelimit"
	"latchkey/internal/redischeck"
	"latchkey/internal/redisconn"
	"latchkey/internal/session"
	"latchkey/internal/telemetry"
	"latchkey/internal/user"
)

// parts is shared by the server and the operator's commands.
type parts struct {
	redis      *redisconn.Client
	redisCheck *redischeck.Checker
	mongo      *mongoconn.Database
	users      *user.Store
	sessions   *session.Manager
	cache      *coherence.Cache // of sessions and accounts; nil if SESSION_CACHE is off
	limiter    *ratelimit.Limiter
	activity   *activity.Recorder
	mailQueue  *mail.Queue
	hasher     *hashpool.Pool
	auth       *auth.Service
	providers  *oauth.Service
	languages  *locale.Set        // that emails are written in
	smtp       *mail.SMTP         // nil if another sender was given, or if SMTP_URL is not set
	tracing    *telemetry.Tracing // nil if traces are off
	log        *slog.Logger
}

// newParts builds everything that does not depend on HTTP. The stores are connected when they are
// first used. Messages about sessions in memory go to cacheLog.
func newParts(c config.Config, sender mail.Sender, metrics *telemetry.Metrics, log, cacheLog *slog.Logger) (parts, error) {
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

	composer, err := newComposer(c.Brand)
	if err != nil {
		return parts{}, err
	}

	db, err := mongoconn.Open(mongoconn.Options{
		URI:     string(c.MongoURI),
		Timeout: c.MongoTimeout,
		Metrics: metrics,
	})
	if err != nil {
		return parts{}, err
	}

	p := parts{mongo: db, smtp: smtp, languages: composer.Languages(), log: log}
	p.users = user.New(db, time.Now)
	p.activity = activity.New(db, activity.Options{Retention: c.Accounts.ActivityRetention, Log: log})

	p.redis = redisconn.New(redisOptions(c.Redis, metrics, log))
	p.redisCheck = redischeck.New(p.redis, redisPrefixes(c, sender != nil))
	p.limiter = ratelimit.New(p.redis)
	p.mailQueue = mail.NewQueue(p.redis, mail.QueueOptions{Metrics: metrics, Log: log})
	p.providers = oauth.New(p.redis, secrets(c.Session.Secrets), oauthProviders(c.Providers), oauth.Options{Log: log})
	p.cache = newSessionCache(c.Session, p.redis, cacheLog)
	if p.cache != nil {
		p.users.UseCache(p.cache, c.Accounts.CacheMaxAge)
	}
	p.sessions = session.New(p.redis, session.Options{
		Secrets:       secrets(c.Session.Secrets),
		Idle:          c.Session.MaxAge,
		Absolute:      c.Session.AbsoluteMaxAge,
		TouchInterval: c.Session.TouchInterval,
		MaxPerUser:    c.Session.MaxPerUser,
		Cache:         p.cache,
		Now:           time.Now,
		Metrics:       metrics,
		Log:           log,
	})

	p.hasher = hashpool.New(c.BcryptCost, metrics)
	rules := auth.NewRules(bool(c.Accounts.RefuseCommon), c.Accounts.BreachURL, log)
	rules.MinLength = c.Accounts.PasswordMinLength
	rules.AppName = c.Brand.Name
	p.auth = auth.New(p.users, p.sessions, p.hasher, auth.Options{
		Rules:        rules,
		Registration: registrationPolicy(c.Registration),
		Sender:       sender,
		Queue:        p.mailQueue,
		Composer:     composer,
		MailInterval: c.Mail.Interval,
		BaseURL:      c.Accounts.PublicURL,
		ResetMaxAge:  c.Accounts.ResetMaxAge,
		VerifyMaxAge: c.Accounts.VerifyMaxAge,

		InvitationMaxAge: c.Registration.InvitationMaxAge,

		MFA:      auth.MFAMode(c.Factors.Require),
		DataKeys: datakey.New(secrets(c.Factors.DataKeys)),
		Pending:  pending.New(p.redis, secrets(c.Session.Secrets), time.Now),
		Issuer:   brandOf(c.Brand).WithDefaults().Name,

		Providers: authProviders(c.Providers),
		Limiter:   p.limiter,
		Log:       log,
	})

	return p, nil
}

func registrationPolicy(c config.Registration) auth.RegistrationPolicy {
	return auth.RegistrationPolicy{
		Mode:    auth.RegistrationMode(c.Mode),
		Domains: c.Domains,
	}
}

// newSessionCache returns the memory for sessions, or nil if SESSION_CACHE is off.
func newSessionCache(c config.Session, redis *redisconn.Client, log *slog.Logger) *coherence.Cache {
	if c.Cache == 0 {
		return nil
	}

	return coherence.New(redis, coherence.Options{
		Prefixes: session.CachedPrefixes(),
		MaxBytes: int(c.Cache),
		Log:      log,
	})
}

// newComposer returns the Composer for emails. An error lists all faults of the files in MAIL_TEXTS.
func newComposer(c config.Brand) (*mail.Composer, error) {
	composer, err := mail.NewComposer(mail.ComposerOptions{
		Brand:         brandOf(c),
		DefaultLocale: c.DefaultLocale,
		TextsDir:      c.MailTexts,
	})
	if err != nil {
		return nil, fmt.Errorf("MAIL_TEXTS, DEFAULT_LOCALE: %w", err)
	}

	return composer, nil
}

func brandOf(c config.Brand) brand.Brand {
	return brand.Brand{Name: c.Name, URL: c.URL, Color: c.Color, LogoURL: c.LogoURL}
}

// redisPrefixes returns the prefixes of the Redis keys that the server needs.
func redisPrefixes(c config.Config, sendsEmails bool) []string {
	prefixes := session.KeyPrefixes()
	if len(c.Factors.DataKeys) > 0 && c.Factors.Require != config.MFAOff {
		prefixes = append(prefixes, pending.KeyPrefix)
	}
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
	if p.cache != nil {
		p.cache.Close()
	}
	p.redis.Close()

	// Shutdown has its own timeout.
	if err := p.tracing.Shutdown(context.Background()); err != nil {
		p.log.Warn("cannot send buffered traces", "error", err)
	}
	_ = p.mongo.Client().Disconnect(ctx)
}
