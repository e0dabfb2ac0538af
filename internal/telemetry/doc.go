// Package telemetry owns what operators see of the running server beside its events:
// the metrics (Metrics), the traces (Tracing), the line of the log for each request
// (HTTP, AccessLog), the ids of the trace in every other line (Handler), and the
// private listener where it can be looked at (Ops).
//
// What happened to whose account is package activity's. Here nobody is known: no metric
// and no span has a user, a session, an address of a person or of a client, a cookie, a
// key of a store, a query or the value of a path. And no client can make a series or
// name a span: the values of labels are from sets that are closed before the first
// request, and the rest is "other".
//
// A nil *Metrics and a nil *Tracing do nothing, so that the other packages work without
// them. The package imports nothing of ours. Start reading at Metrics, then HTTP.
package telemetry
