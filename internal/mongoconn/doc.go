// Package mongoconn owns the connections to MongoDB: the connection string, the time limits
// of operations, and the error for all failures.
//
// It knows no collections: those belong to packages user and activity. The commands and
// connections are counted by package telemetry.
//
// Start reading at Open.
package mongoconn
