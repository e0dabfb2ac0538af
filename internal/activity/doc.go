// Package activity owns the record of security events: who signed in, failed to sign in,
// changed a password or ended a session.
//
// Each event has a fixed name and is recorded twice: immediately as a log line, and shortly
// after as a document in the collection "activity", where users can see it until it is older
// than the retention. A request never waits for the collection and never fails because of it:
// events go through a buffer, and a goroutine writes them. The log line does not depend on
// MongoDB.
//
// No event contains a secret: no token, no password, no email address and no request body.
//
// The package does not decide what is recorded: packages httpapi and app do. The connection
// to MongoDB belongs to package mongoconn.
//
// Start reading at Event in event.go, then Recorder.Record in recorder.go.
package activity
