// Command client writes client.js and client.d.ts, the client for pages that the API serves at
// GET /client.js and GET /client.d.ts.
//
// It generates them from the OpenAPI document, so that they have every operation, with the codes of
// the errors that it can return. The code that is the same for all operations is in the templates.
// document.go reads the OpenAPI document, and types.go turns its schemas into TypeScript.
//
// After a change run
//
//	go generate ./internal/httpapi/client
//
// A test fails while a committed file differs. `make check-clients` runs the client in Node and
// compiles a program with its types, and `make check-browser` runs it in a page of another origin.
package main

//go:generate go run . .
