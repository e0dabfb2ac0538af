// Package activity owns the record of what matters to the security of an account:
// who signed in, failed to, changed a password, ended a session. Every event has a
// fixed name and goes to two places: one line of the log, at once, and one document
// of the collection activity, where a user can read it and from where it is removed
// when its time is over.
//
// A request never waits for the collection and never fails because of it: events go
// through a buffer that a writer empties beside the requests. The log line is the
// record that does not depend on MongoDB.
//
// No event holds a secret: no token, no password, no address of a person, no body.
// What happened and when to say so is decided by packages auth and httpapi; the
// connection is package mongoconn's. Start reading at Event, then Recorder.Record.
package activity
