// Package devstore runs Redis and MongoDB inside the process: miniredis, and FerretDB on
// SQLite, which speaks the MongoDB wire protocol. With it, `go run ./cmd/dev` and `make test`
// work on a machine that has only Go.
//
// cmd/dev keeps Redis in a snapshot, so that sessions survive a restart: see snapshot.go. Tests do not.
//
// FerretDB is behind a proxy that sends it one request at a time: see serialize.go.
//
// Only cmd/dev and tests may import this package. A test in package app fails if the
// production program links it. The subpackage storetest gives tests either these stores or
// real servers.
//
// Start reading at StartRedis and StartMongo.
package devstore
