// Package mongoconn owns the connections to MongoDB: the connection string, the time limits
// of operations, and the error that wraps all failures.
//
// It does not know the collections, which belong to packages user and activity. Package
// telemetry counts the commands and connections.
//
// Start reading at Open.
package mongoconn
