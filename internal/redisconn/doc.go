// Package redisconn owns the connections to Redis: time limits, retries, finding the server for a key,
// and waiting for replicas. It knows no keys; the packages that use it define their own. Start reading
// at Client.Do, then Client.run.
//
// The redigo library dials, pools connections and speaks the protocol. The sections below describe
// what this package adds, and what would go wrong without it.
//
// Time limits (node.go). A command ends within Options.Timeout, including the wait for a connection,
// dialing and retries. A durable script may run twice, so it ends within twice that time. A request
// that needs several commands has a budget for all of them, because it must be answered within a
// second. Only the time spent on Redis counts, because hashing a password takes long by design. A
// command is not cancelled when the client disconnects, which would cost a connection and could leave
// a change half done.
//
// Retries (Client.run). If a connection turns out to be dead, the command is sent again, so that a
// restart of Redis fails no requests. Redis may have executed it the first time, so every command and
// script must be safe to run twice. A timeout is not retried, because that would only make a slow
// server slower. The exception is a durable script, which runs once more within the request's budget:
// if only the reply was lost, the browser would otherwise never get the token of a rotated session.
//
// Scripts (script.go). Redis may run a command long after the client has given up on it, for example
// when a suspended server continues. A rotation would then replace a token although the browser never
// gets the new one. So every script has a deadline on Redis's clock. After the deadline it returns the
// error LATE with Redis's time, from which the client learns how far that clock is ahead.
//
// Pipelining (pipeline.go). Most requests need a single GET. Most of its cost is one packet in each
// direction and the resulting system calls and wake-ups. So GETs that arrive while maxPipelines pipelines
// are running wait for the next one. Only GETs are pipelined, because they can be repeated one by one if a
// pipeline fails or takes too long. Replies are handed out only when all of them have arrived and each can
// be the reply to a GET: if one were missing, users would get each other's sessions.
//
// Topology (topology.go, sentinel.go). A goroutine looks up the servers every second and after each failure,
// so that requests do not have to wait for it. With Sentinel, it uses the server that the Sentinels name,
// and only while its ROLE is master: a demoted master lags behind, and ended sessions would be live there.
// It asks all Sentinels and believes the one that knows of the latest failover, because a Sentinel that is
// cut off still names the old master. If no Sentinel replies, it keeps the current server as long as that is
// a master.
//
// After a failover, the host:port of a single server may lead to another server, for example with a
// managed service, a Kubernetes Service or a proxy. Open connections would stay with the demoted
// server. So connections are closed after maxConnAge, and also when the server refuses a command
// because it was demoted. In that case the command is sent once more. New connections must lead to a
// master.
//
// Durable writes (script.go). Redis replies before its replicas have received a write, so a failover
// could bring back a session that has ended. Eval of a durable script therefore:
//
//  1. Runs the script.
//  2. Waits until all replicas have acknowledged it, because Sentinel may promote any of them. After
//     replicaTimeout it continues without the replicas that lag, and logs this: one slow replica must
//     not prevent all logins.
//  3. Asks the Sentinels whether they are replacing the master. In that case the old master would still
//     accept writes for seconds, and then lose them. The query must start after step 2: otherwise a
//     promotion could begin between the two. So concurrent callers may share a query that has not started
//     yet, but never join a running one. A Sentinel that does not reply may be the one that leads a
//     failover. It counts as replacing the master until sentinelGrace is over: one dead machine must not
//     prevent all logins either. If all Sentinels are down, nothing can be promoted, and the write is safe.
//
// A durable write that fails in step 2 or 3 is not retried: on a new connection WAIT has nothing to
// wait for, so the write would seem to be confirmed. On a cluster there is no step 3: a master that is
// cut off soon rejects writes, and a planned failover waits for the replica.
package redisconn
