package app

import (
	"context"
	"errors"
	"io"
	"slices"
	"strconv"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/mongo"

	"latchkey/internal/coherence"
	"latchkey/internal/config"
	"latchkey/internal/doctor"
	"latchkey/internal/redisconn"
	"latchkey/internal/session"
	"latchkey/internal/user"
)

// Diagnose reports which settings are weak, whether the stores, the SMTP server and the sign-in
// providers work, and whether a page at the URL spa can use the API at the URL api. It sends a request
// to the API. If both URLs are empty, it skips these checks.
func Diagnose(ctx context.Context, c config.Config, spa, api string) ([]doctor.Finding, error) {
	log := newLogger(c, io.Discard)
	p, err := newParts(c, nil, nil, log, log)
	if err != nil {
		return nil, err
	}
	defer p.close()

	var findings []doctor.Finding
	if spa != "" || api != "" {
		findings = DiagnoseBrowser(ctx, c, spa, api)
	}
	findings = append(findings, checkSettings(c)...)
	findings = append(findings, p.checkRedis(ctx)...)
	findings = append(findings, p.checkMongo(ctx)...)
	findings = append(findings, p.checkMail(ctx)...)
	findings = append(findings, p.checkProviders(ctx, c, api)...)

	return findings, nil
}

// DiagnoseBrowser reports whether a page at the URL spa can use the API at the URL api, and whether
// the API is running there.
func DiagnoseBrowser(ctx context.Context, c config.Config, spa, api string) []doctor.Finding {
	setup := browserSetup(c)

	return append(doctor.Browser(setup, spa, api), setup.Check(askAPI(ctx, spa, api))...)
}

func browserSetup(c config.Config) doctor.Setup {
	return doctor.Setup{
		Production:     c.AppEnv == config.Production,
		Port:           c.HTTPPort,
		TLS:            c.TLSCertFile != "",
		TrustedProxies: c.TrustedProxies,
		Origins:        trustedOrigins(c),
		CookieName:     c.Cookie.Name,
		CookieDomain:   c.Cookie.Domain,
		Secure:         c.Cookie.Secure,
		SameSite:       c.Cookie.SameSite,
		MaxAge:         int(c.Session.AbsoluteMaxAge / time.Second),
	}
}

// checkSettings reports the settings that are weaker than the default.
func checkSettings(c config.Config) []doctor.Finding {
	var weak []doctor.Setting
	for _, w := range c.Weaknesses {
		weak = append(weak, doctor.Setting(w))
	}

	return doctor.WeakSettings(weak)
}

func (p parts) checkMongo(ctx context.Context) []doctor.Finding {
	if err := p.users.Ping(ctx); err != nil {
		return doctor.MongoDown(err)
	}

	var found []doctor.Finding
	emailIndexErr := p.users.EnsureEmailIndex(ctx)
	for _, index := range []doctor.Index{
		{Name: "on emails", Without: "nobody can register", Err: emailIndexErr},
		{Name: "on linked accounts", Without: "nobody can link a provider", Err: p.users.EnsureIdentityIndexes(ctx)},
	} {
		index.Fix = mongoFix(index.Err)
		found = append(found, index.Check()...)
	}

	if emailIndexErr == nil { // CheckWrites needs the index
		err := p.users.CheckWrites(ctx)
		found = append(found, doctor.MongoWrites(err, mongoFix(err))...)
	}

	emails, err := p.users.CheckEmails(ctx)

	found = append(found, doctor.Emails{
		Err:     err,
		Strays:  emails.Strays,
		Invalid: emails.Invalid,
	}.Check()...)

	return append(found, p.checkFactors(ctx)...)
}

// mongoFix returns what an operator can do about an error from MongoDB.
func mongoFix(err error) string {
	const (
		unauthorized       = 13
		duplicateKey       = 11000
		failedValidation   = 121
		notWritablePrimary = 10107
	)

	var missingIndex *user.IndexError
	var refused mongo.ServerError
	switch {
	case errors.As(err, &missingIndex):
		return missingIndex.Fix
	case !errors.As(err, &refused):
		return "check MONGODB_URI"
	case refused.HasErrorCode(unauthorized):
		return "give the user in MONGODB_URI the role readWrite on the database"
	case refused.HasErrorCode(notWritablePrimary):
		return "name the members of the replica set in MONGODB_URI, with replicaSet and without directConnection"
	case refused.HasErrorCode(failedValidation):
		return "remove the validator that another application has set on the collection users (collMod)"
	case refused.HasErrorCode(duplicateKey):
		return "drop the unique index of users that another application created"
	}

	return "check MongoDB"
}

func (p parts) checkMail(ctx context.Context) []doctor.Finding {
	if p.smtp == nil {
		return doctor.Mail(false, nil)
	}

	return doctor.Mail(true, p.smtp.Check(ctx))
}

// checkProviders checks all providers in parallel, because each one that is down takes its whole
// timeout.
func (p parts) checkProviders(ctx context.Context, c config.Config, api string) []doctor.Finding {
	findings := make([][]doctor.Finding, len(c.Providers))

	var checks sync.WaitGroup
	for i, provider := range c.Providers {
		checks.Go(func() {
			health, err := p.providers.Check(ctx, provider.Name)
			findings[i] = doctor.Provider{
				Kind:          provider.Kind,
				Name:          provider.Name,
				Prefix:        provider.Prefix,
				Issuer:        provider.Issuer,
				Callback:      provider.CallbackURL,
				Production:    c.AppEnv == config.Production,
				API:           api,
				Skew:          health.Skew,
				MalformedKeys: health.MalformedKeys,
				Err:           err,
			}.Check()
		})
	}
	checks.Wait()

	return slices.Concat(findings...)
}

// checkRedis checks that the server can use its keys in Redis, and how each Redis server is
// configured.
func (p parts) checkRedis(ctx context.Context) []doctor.Finding {
	if err := p.redis.Ping(ctx); err != nil {
		return doctor.Redis{Err: err, Code: redisconn.Code(err)}.Check()
	}

	return slices.Concat(p.checkRedisKeys(ctx), p.checkSessionCache(ctx), p.checkRedisServers(ctx))
}

// checkRedisKeys writes, reads and deletes keys in Redis.
func (p parts) checkRedisKeys(ctx context.Context) []doctor.Finding {
	failures := p.redisCheck.Probe(ctx)
	if len(failures) == 0 {
		return doctor.RedisKeys{}.Check()
	}

	var findings []doctor.Finding
	for _, failure := range failures {
		findings = append(findings, doctor.RedisKeys(failure).Check()...)
	}

	return findings
}

// checkSessionCache checks whether each Redis server supports sessions in memory, unless SESSION_CACHE
// is off.
func (p parts) checkSessionCache(ctx context.Context) []doctor.Finding {
	if p.cache == nil {
		return nil
	}

	results, err := coherence.Check(ctx, p.redis, session.CachedPrefixes())
	if err != nil {
		return doctor.Redis{Err: err, Code: redisconn.Code(err)}.Check()
	}

	var findings []doctor.Finding
	for _, r := range results {
		findings = append(findings, doctor.SessionCache{
			Addr: r.Server,
			Err:  r.Err,
			Code: redisconn.Code(r.Err),
		}.Check()...)
	}

	return findings
}

// checkRedisServers checks the persistence, the eviction policy and the clock of each Redis server.
func (p parts) checkRedisServers(ctx context.Context) []doctor.Finding {
	var findings []doctor.Finding
	err := p.redis.EachServer(ctx, func(addr string, do redisconn.Sender) error {
		// A user with minimal privileges may not run these.
		info, _ := redisconn.String(do("INFO"))
		save, _ := redisconn.Strings(do("CONFIG", "GET", "save"))

		snapshots := !slices.Contains(save, "")
		findings = append(findings, doctor.NewRedis(addr, info, snapshots).Check()...)
		findings = append(findings, checkClock(addr, do)...)

		return nil
	})
	if err != nil {
		return doctor.Redis{Err: err, Code: redisconn.Code(err)}.Check()
	}

	return findings
}

// checkClock compares the clock of a Redis server with ours.
func checkClock(addr string, do redisconn.Sender) []doctor.Finding {
	sent := time.Now()
	reply, err := redisconn.Strings(do("TIME"))
	if err != nil || len(reply) == 0 {
		return nil // the user may not run it
	}
	received := time.Now()

	seconds, err := strconv.ParseInt(reply[0], 10, 64)
	if err != nil {
		return nil
	}
	halfway := sent.Add(received.Sub(sent) / 2)

	return doctor.Clock{Addr: addr, Skew: time.Unix(seconds, 0).Sub(halfway)}.Check()
}
