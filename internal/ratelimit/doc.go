// Package ratelimit owns the rate limits: how many events are allowed under a key in a
// given time, counted in Redis and shared by all server processes.
//
// The algorithm is GCRA (ITU-T I.371), a leaky bucket that stores a single number per key.
// Unlike fixed windows, it does not let twice the limit pass around the edge of a window.
// One script both checks and counts an event, so that two processes cannot both take the
// last one.
//
// This is the only package that names the keys of rate limits in Redis. Package httpapi
// decides what is limited, by how much, and what the client is told; package redisconn owns
// the connections.
//
// Start reading at Limiter.Take, then redisKey.
package ratelimit
