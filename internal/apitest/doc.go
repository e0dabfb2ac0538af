// Package apitest runs the whole API in a test: a Server on real stores, a Client that
// keeps cookies as a browser does, and an Outbox for the emails that the server sends.
//
// Every response is compared with the OpenAPI document, and so is the request if it
// succeeded. No response, log line, metric or stored record may contain a password, a
// token or another secret; the server checks this when its test ends.
//
// Start with New and Client.Do. Package model plays random histories against such a
// server. Helpers that know nothing about the API are in testkit and devstore/storetest.
package apitest
