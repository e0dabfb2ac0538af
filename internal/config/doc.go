// Package config owns the settings: one struct, and one Load that reports every problem at
// once.
//
// It reads environment variables and a .env file. The names are those of the NestJS guides, so
// that a .env file written for them works unchanged. The package knows nothing about the code
// that uses the values: only package app reads a Config, and passes each package the few values
// that it needs.
//
// Start reading at Config in config.go, then Load in load.go. The .env file is parsed in
// dotenv.go, values in values.go, URLs in url.go; the validation rules are in server.go,
// stores.go, session.go, accounts.go, proxies.go and providers.go. weak_table.go lists values that
// are valid but weaker than the default. reference_table.go describes every setting for people;
// "go generate" turns both tables into deployments/SETTINGS.md and .env.example.
package config
