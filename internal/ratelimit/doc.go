// Package ratelimit owns the limits on how often something may be done, shared by
// all server processes: so many events in so long a time, counted in Redis under a
// key of the caller's.
//
// The method is GCRA (ITU-T I.371), which keeps one number for a key: no window has
// an edge at which twice the budget would pass, and no two processes can both see the
// last event free, because one script looks and takes.
//
// It is the only package that names a limit's key in Redis. What is limited, by how
// much and what a client is told is package httpapi's; connections are package
// redisconn's. Start reading at Limiter.Take, then key.go for what a key may be
// made of.
package ratelimit
