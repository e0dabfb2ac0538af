package app

import (
	"context"

	"latchkey/internal/auth"
	"latchkey/internal/config"
	"latchkey/internal/oauth"
)

// providers are those to sign in with, as package oauth wants them.
func providers(configured []config.Provider) []oauth.Settings {
	var settings []oauth.Settings
	for _, p := range configured {
		settings = append(settings, oauth.Settings{
			Kind: oauth.Kind(p.Kind), Name: p.Name, Title: p.Title, Issuer: p.Issuer, APIURL: p.APIURL,
			ClientID: p.ClientID, ClientSecret: string(p.ClientSecret), Scopes: p.Scopes, CallbackURL: p.CallbackURL,
		})
	}
	return settings
}

// providersOf are the same as package auth wants them.
func providersOf(configured []config.Provider) []auth.Provider {
	var all []auth.Provider
	for _, p := range configured {
		all = append(all, auth.Provider{Name: p.Name, Title: p.Title, Issuer: p.Issuer})
	}
	return all
}

// greetProviders asks each provider what it needs to be asked before the first sign-in,
// and tells the operator of one that cannot be used. The server goes on without it.
func (a *App) greetProviders(ctx context.Context) {
	for _, p := range a.providers.Providers() {
		if _, err := a.providers.Check(ctx, p.Name); err != nil && ctx.Err() == nil {
			a.log.Error("nobody can sign in with a provider until this is mended; latchkey doctor says more", "provider", p.Name, "error", err)
		}
	}
}
