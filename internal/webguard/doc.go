// Package webguard recognizes requests that a web page makes to a server without authentication,
// such as the ops listener. Operators can reach that server with a browser, so a page in the
// browser could use the server on behalf of an attacker.
//
// The package only classifies requests. Its callers choose the response.
//
// Start reading at OwnHost, then CrossSite.
package webguard
