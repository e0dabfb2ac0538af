// Package session owns who is signed in, from when and until when. It is the
// only user of scs and the only place that names a session key in Redis.
//
// scs loads a session and carries it through the request. New sessions are not
// committed through it: the index of a user has to name one before it is made.
// What else scs and its redisstore get wrong is done here, too: a save that
// brings an ended session back, a rotation that forks a session or extends its
// life, a value that cannot be read answering 500 for ever, a token that is
// used as a key unchecked, a command without a time limit. Each such place says
// which. Of redisstore nothing is left but its place in control_test.go.
//
// What is in Redis outlives the release that wrote it. A release reads all that
// earlier ones wrote since the first, writes only what the one before it reads, and
// takes what it cannot read yet for a fault of the store, never for nobody's: see
// format.go, and testdata for what is to be read for ever.
//
// There is no cache: each request asks Redis, so that what has ended is seen to have
// ended by the next one on every server. One would stand in store.FindCtx, the only
// read of a request, around store.value, and would have to hear of every end before
// that is answered.
//
// The package knows nothing of HTTP (cookies are package httpapi's) and nothing
// of accounts (an account is a user id here).
//
// Start reading at Manager in manager.go, then store.go for what is in Redis,
// then session.go and format.go for the value.
package session
