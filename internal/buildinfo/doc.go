// Package buildinfo owns the version of the running program. Everything that shows a version reads it
// here: "latchkey version", the OpenAPI document, the metrics and the traces.
//
// It imports no other package of Latchkey. Start reading at Version.
package buildinfo
