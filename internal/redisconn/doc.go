// Package redisconn owns the connections to Redis: how they are made, how long
// anything may take, which server is asked, and what happens when one fails.
//
// redigo leaves all of it to its user, and its defaults wait for ever, fail when
// the pool is full and hand out connections that a restart of Redis has killed.
// Here every command has one time limit that covers waiting for a connection,
// dialling and the command itself, every request has a budget for all of its
// commands (budget.go), and a command that meets a dead connection is sent again
// on a live one. That is why every command given to Client must be safe to run
// twice. Reads that come at once share a connection (together.go). Which server has a
// key is asked of Sentinels (sentinel.go) or of a cluster (cluster.go) beside the
// requests (layout.go), and a change that must outlive a server waits for its replicas
// (replicate.go).
//
// The package knows no key and no meaning: package session names the session
// keys. Start reading at Client.Do.
package redisconn
