// Package origin writes origins as browsers do. The Origin header and the settings can only be
// compared byte by byte if both use the same spelling: in lower case, with an ASCII host, without
// the default port.
//
// The package does not decide which origins are trusted. Package config reads FRONTEND_URL,
// package httpapi compares it with requests, and package doctor explains it.
//
// Start reading at Of.
package origin
