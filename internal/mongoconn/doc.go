// Package mongoconn owns the connections to MongoDB: the connection string, the time limits
// of operations, and the error that wraps all failures.
//
// It does not know the collections, which belong to packages user and activity. Package
// telemetry counts the commands and connections.
//
// An operation whose reply was lost is repeated: see Retry. Otherwise nobody would know whether
// a password was changed, and a used one-time token would seem to be invalid.
//
// Start reading at Open.
package mongoconn
