// Package redischeck checks that Redis does what the server needs. PING does not show that: a replica, a
// full Redis, and a Redis whose user lacks permissions reply to it, too.
//
// Checker.Ready is cheap and writes nothing, for GET /readyz. Checker.Probe writes, for latchkey doctor and
// the start of the server. The package knows the commands that the server uses. It gets the key prefixes
// from the packages that own them. Package doctor explains the failures.
package redischeck
