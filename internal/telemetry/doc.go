// Package telemetry owns what operators see of a running server: metrics (Metrics), traces
// (Tracing), the access log (HTTP), the trace IDs in log lines (LogHandler) and the private
// ops listener that serves the metrics (Ops).
//
// It contains no personal data: no metric and no span has a user, a session, an email, a client
// IP, a cookie, a store key, a query or the value of a path parameter. Security events, which
// do concern users, belong to package activity.
//
// Clients can neither create series nor choose the name of a span: all label values come from
// sets that are fixed before the first request, and any other value is counted as "other".
//
// A nil *Metrics and a nil *Tracing do nothing, so other packages work without them. Of Latchkey's
// other packages, this one imports only buildinfo and webguard.
//
// Start reading at Metrics in metrics.go, then HTTP in http.go.
package telemetry
