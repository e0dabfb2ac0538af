// Package coherence keeps values from Redis and MongoDB in the memory of each server, and removes
// them everywhere before a change is reported as done. Session checks then need no command to Redis,
// and a logout still holds on every server as soon as it has been answered.
//
// # What is guaranteed
//
// If Invalidate has returned on one server, no Load that starts later on any server returns the old
// value. This holds whichever servers, connections or replies are slow, lost or stopped, as long as
// their clocks run at the same speed to within a few percent.
//
// A change that nobody passes to Invalidate, such as DEL in redis-cli, is noticed when Redis reports
// it, usually within a millisecond. If Redis cannot report it, the old value is used for at most the
// lease. After a failover without a quorum, or with a demoted master that still accepts commands, the
// guarantee is the same as without a cache: see package redisconn.
//
// # How it works
//
// Each rule is followed by what goes wrong without it.
//
// 1. Stream (follower.go). Each server has a connection to each Redis server that serves keys, on which
// Redis reports all changes to the tracked keys (CLIENT TRACKING with BCAST), and which subscribes to
// a few channels. One connection does both. With the usual pair, the one that tracks could be closed
// without the other noticing, and values would never be removed again.
//
// 2. Placeholder (cache.go, entries.go). Load leaves a placeholder in the cache before it reads, and
// stores the value only if the placeholder is still there. A report removes it. Otherwise, a reply that
// its own report has overtaken would be stored and never removed. Several readers share a placeholder:
// with one each, a steady stream of readers would keep each other from storing anything. No Load waits
// for the read of another one, which may have started before a change that was already reported as done.
//
// 3. Lease (stream.go). A server sends itself a beat through Redis every beatInterval: with its
// ordinary connections, to a channel that its stream subscribes to. A beat that has arrived proves
// that the stream follows the server to which commands go, and that everything that was reported
// before has arrived. The values of a stream may be used while the last beat that has arrived was
// sent less than lease ago. Otherwise, a server with a broken or slow stream would use old values.
//
// 4. Registration (members.go). The beat to the coordinator, which is the Redis server with the key
// membersKey, also registers the server there. No value may be used without a lease from the
// coordinator. The subscribers that PUBLISH counts are no substitute: a server whose connection has
// just been lost is not among them, but may still have a lease.
//
// 5. Acknowledgement (members.go). Invalidate publishes the keys at the coordinator and reads the
// registered servers in one step. Then it waits until each of them has acknowledged, or for one
// lease. A server that registers later sends its beat after the keys were published, so that they
// arrive first. A server that does not acknowledge has no lease by then, because its next beat could
// only arrive after the keys. It is removed, so that a dead server delays one change, not all.
//
// The registrations may be lost: a new master after a failover need not have them, and FLUSHALL
// deletes them. A server that has a new stream, or whose own registration was missing, knows that
// others may still be missing. For settleTime, its changes wait for a whole lease. A registration
// has the number of the attempt that made it: from a new number, a server knows that registrations were
// lost, even before it gets the reply to that attempt.
//
// Without a stream, a server does not know whether all others are registered. If Redis refuses streams,
// because it lacks CLIENT TRACKING or does not permit it, every change waits for a whole lease.
//
// 6. A new stream starts without values. The connection may have missed reports, so whatever was
// stored with the old stream, and whatever is still being read, is lost with it. The same happens if
// a beat is missing: a faulty proxy may have dropped messages. With the stream of the coordinator, the
// values of all streams are lost, because its messages name the keys of all Redis servers.
//
// 7. Nothing depends on the time of day, neither ours nor that of Redis. A lease ends early if the
// time of day jumps forward, because the machine may have been suspended, and the monotonic clock does
// not count that on all systems.
//
// Values carry deadlines of their own, which the caller checks: Redis reports an expired key only when
// it deletes it. There are no entries for missing values. The size is bounded, and the least recently
// used values are removed first.
package coherence
