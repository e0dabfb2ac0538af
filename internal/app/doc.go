// Package app puts the parts together: it starts them, serves, and stops. It is
// the only package that reads a config.Config, and cmd alone imports it.
//
// Start reading at New in app.go: every part and who needs whom, on one screen.
package app
