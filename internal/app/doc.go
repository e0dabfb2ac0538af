// Package app wires everything together: it starts the server, serves, drains and stops. It also
// holds the operator's commands (admin.go) and the checks of latchkey doctor (doctor.go).
//
// Only package app reads a config.Config, and only cmd imports it. Start reading at New in
// app.go: every part and what it depends on, on one screen.
package app
