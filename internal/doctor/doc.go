// Package doctor explains why sessions or cookies do not work, and what to change.
//
// Browsers say little about a cookie that they drop or an answer that they hide. This package
// knows their rules (RFC 6265bis, the Fetch standard, and what Chrome, Firefox and Safari do
// beyond them): whether the session cookie is stored and sent between a page and the API, and
// what CORS and the protection against other origins will answer. It also judges what the
// API, the stores and the sign-in providers answered. It makes no requests itself; package app does.
//
// Start reading at Browser in browser.go. The response of the running API is in answer.go, the
// stores in stores.go, the providers in providers.go, weak settings in settings.go.
package doctor
