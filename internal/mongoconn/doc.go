// Package mongoconn owns the connections to MongoDB: the connection string, the time limits
// of operations, and the error that wraps all failures.
//
// It does not know the collections, which belong to packages user and activity. Package
// telemetry counts the commands and connections.
//
// An operation is repeated if its reply was lost: see Retry. Otherwise nobody would know whether a
// password was changed, and a one-time token that has just worked would seem to be invalid.
//
// Start reading at Open.
package mongoconn
