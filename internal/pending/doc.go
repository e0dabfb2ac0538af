// Package pending owns pending logins: logins whose first factor is proved, and that wait for the second.
//
// A pending login is not a session. It has its own key in Redis, its own cookie and a record of its own
// form, so that no release of the server can mistake it for one. Each login allows MaxAttempts wrong codes,
// counted in one script, so that several servers together allow no more.
//
// The package knows neither accounts nor codes: package auth begins and completes the logins. It knows
// nothing about HTTP: the cookie and the routes belong to package httpapi.
//
// Start reading at Store.
package pending
