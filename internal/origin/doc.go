// Package origin writes origins as browsers do. The Origin header and the settings can only be
// compared byte by byte if both use the same spelling: in lower case, with an ASCII host, without
// the default port.
//
// The package also decides which origins are trusted, from a list and a switch that it is given:
// package config reads FRONTEND_URL and APP_ENV, package httpapi compares origins with requests,
// and package doctor explains the result.
//
// Start reading at Of in origin.go and Trusted in trusted.go.
package origin
