// Package redisconn owns the connections to Redis: how they are made, how long
// anything may take, and what happens when one of them turns out to be dead.
//
// redigo leaves all three to its user, and its defaults wait for ever, fail
// when the pool is full and hand out connections that a restart of Redis has
// killed. Here every command has one time limit that covers waiting for a
// connection, dialling and the command itself, and a command that meets a dead
// connection is sent again on a live one. That is why every command given to
// Client must be safe to run twice.
//
// The package knows no key and no meaning: package session names the session
// keys. Start reading at Client.Do.
package redisconn
