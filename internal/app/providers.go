package app

import (
	"context"

	"latchkey/internal/auth"
	"latchkey/internal/config"
	"latchkey/internal/oauth"
)

// oauthProviders translates the configured providers for package oauth.
func oauthProviders(configured []config.Provider) []oauth.Settings {
	var settings []oauth.Settings
	for _, p := range configured {
		settings = append(settings, oauth.Settings{
			Kind:         oauth.Kind(p.Kind),
			Name:         p.Name,
			Title:        p.Title,
			Issuer:       p.Issuer,
			APIURL:       p.APIURL,
			ClientID:     p.ClientID,
			ClientSecret: string(p.ClientSecret),
			Scopes:       p.Scopes,
			CallbackURL:  p.CallbackURL,
		})
	}

	return settings
}

// authProviders translates the configured providers for package auth.
func authProviders(configured []config.Provider) []auth.Provider {
	var all []auth.Provider
	for _, p := range configured {
		all = append(all, auth.Provider{
			Name:   p.Name,
			Title:  p.Title,
			Issuer: p.Issuer,
		})
	}

	return all
}

// checkProvidersAtStart logs providers that cannot be used. The server starts without them.
func (a *App) checkProvidersAtStart(ctx context.Context) {
	for _, p := range a.providers.Providers() {
		_, err := a.providers.Check(ctx, p.Name)
		if err != nil && ctx.Err() == nil {
			a.log.Error("sign-in provider unavailable; run latchkey doctor for details", "provider", p.Name, "error", err)
		}
	}
}
