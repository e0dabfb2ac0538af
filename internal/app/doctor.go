package app

import (
	"context"
	"io"
	"slices"
	"sync"
	"time"

	"latchkey/internal/config"
	"latchkey/internal/doctor"
)

// Diagnose says how a page at the address spa and the API at the address api will get on
// with each other, whether the stores keep what they are given, and whether people can
// sign in with the providers. With neither address it says nothing of the first.
func Diagnose(ctx context.Context, c config.Config, spa, api string) ([]doctor.Finding, error) {
	p, err := newParts(c, nil, nil, newLogger(c, io.Discard))
	if err != nil {
		return nil, err
	}
	defer p.close()
	var found []doctor.Finding
	if spa != "" || api != "" {
		found = doctor.Browser(doctor.Setup{
			Production: c.AppEnv == config.Production, Port: c.HTTPPort,
			TLS: c.TLSCertFile != "", TrustedProxies: c.TrustedProxies, Origins: c.FrontendURL,
			CookieName: c.Cookie.Name, CookieDomain: c.Cookie.Domain, Secure: c.Cookie.Secure, SameSite: c.Cookie.SameSite,
			MaxAge: int(time.Duration(c.Session.AbsoluteMaxAge) / time.Second),
		}, spa, api)
	}
	found = append(found, p.checkRedis(ctx)...)
	there, index := p.users.Ping(ctx), error(nil)
	if there == nil {
		index = p.users.EnsureIndexes(ctx)
	}
	found = append(found, doctor.Mongo(there, index)...)
	var taken error
	if p.smtp != nil {
		taken = p.smtp.Check(ctx)
	}
	found = append(found, doctor.Mail(p.smtp != nil, taken)...)
	return append(found, p.checkProviders(ctx, c, api)...), nil
}

// checkProviders judges how those to sign in with are set up and what they answer, all
// of them at once: one that does not takes its time.
func (p parts) checkProviders(ctx context.Context, c config.Config, api string) []doctor.Finding {
	each := make([][]doctor.Finding, len(c.Providers))
	var asking sync.WaitGroup
	for i, at := range c.Providers {
		asking.Go(func() {
			skew, err := p.providers.Check(ctx, at.Name)
			each[i] = doctor.Provider{
				Kind: at.Kind, Name: at.Name, Prefix: at.Prefix, Issuer: at.Issuer, Callback: at.CallbackURL,
				Production: c.AppEnv == config.Production, API: api, Skew: skew, Err: err,
			}.Check()
		})
	}
	asking.Wait()
	return slices.Concat(each...)
}

// checkRedis judges what each server keeps.
func (p parts) checkRedis(ctx context.Context) []doctor.Finding {
	servers, err := p.redis.Durability(ctx)
	if err != nil {
		return doctor.Redis{Err: err}.Check()
	}
	var found []doctor.Finding
	for _, d := range servers {
		found = append(found, doctor.Redis{Addr: d.Addr, Untold: d.Untold, AppendOnly: d.AppendOnly, Snapshots: d.Snapshots, Policy: d.Policy, MaxMemory: d.MaxMemory}.Check()...)
	}
	return found
}
