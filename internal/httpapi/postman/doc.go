// Command postman writes docs/postman.json, the Postman collection that the API serves at
// GET /postman.json.
//
// The collection is a test as much as a tour: it runs from top to bottom against a fresh
// server and checks every response. collection.go lists its folders in order, and the
// files that it names hold the requests. checks.go has the scripts that the requests
// share, and format.go the JSON format of Postman.
//
// After a change run
//
//	go generate ./internal/httpapi/postman
//
// A test fails while the committed file differs. A test of the package httpapi fails when
// the collection lacks a route. `make check-postman` runs the collection.
package main

//go:generate go run . ../docs/postman.json
