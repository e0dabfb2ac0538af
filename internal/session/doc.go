// Package session owns login sessions: it begins, loads, rotates, lists and ends them. It is
// the only package that uses scs, and the only one that names session keys in Redis.
//
// Every change is a single Lua script that updates the session's record, its tombstone and
// the user's index together, so they never need to be repaired: see scripts.go. All keys of
// a user share a shard, which is part of the token, so the scripts also work on a Redis
// Cluster: see token.go.
//
// A record is human-readable text that ends in a MAC keyed with SESSION_SECRET. Write access
// to Redis is therefore not enough to impersonate a user: see record.go and mac.go.
//
// scs is the session middleware: it loads the session for a request's token and keeps it in
// the request's context. store.go explains what scs must not do here, and why. memory.go keeps
// sessions in the memory of the server, with package coherence.
//
// The package knows nothing about HTTP (cookies belong to package httpapi) or accounts (a
// user is just an ID). Package redisconn sends its commands and scripts.
//
// Start reading at Manager.Load in manager.go, then scripts.go.
package session
