// Package redischeck checks that Redis does what the server needs, which PING does not show: a replica, a
// user without permissions and a full server reply to PING as well.
//
// Checker.Ready is cheap and writes nothing, for GET /readyz. Checker.Probe writes, for latchkey doctor and
// the start of the server. The package knows the commands of all scripts, and gets the prefixes of the keys
// from the packages that own them. Package doctor explains what it finds.
package redischeck
