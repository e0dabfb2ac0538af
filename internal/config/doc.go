// Package config owns the settings: one struct, one Load, one validate that
// reports every fault at once.
//
// It reads the environment (and a .env file beside it) under the names that the
// NestJS guides use, so that their .env works as it is. It knows nothing of the
// parts that the values are for: only package app reads a Config and hands each
// part the few values it needs.
//
// Start reading at Config in config.go; the rules that a setting must keep are
// in validate.go, those of the providers of accounts elsewhere in providers.go, and
// where values come from is in source.go.
package config
