// Package devstore runs Redis and MongoDB inside the process: miniredis, and
// FerretDB on SQLite, which speaks the MongoDB wire protocol. It lets
// `go run ./cmd/dev` and `make test` work where nothing but Go is installed.
//
// FerretDB sits behind a queue of one, see serialize: without it, changes to one
// document at the same time would be lost, which MongoDB does not do.
//
// It is for cmd/dev and for tests only; a test in package app fails if the
// production program links it. Its neighbour storetest chooses between these
// stores and real ones for a test.
package devstore
