// Package webguard recognizes requests that a web page makes to a server without authentication,
// such as the ops listener. Whoever operates the server can reach it with a browser, so a page
// in that browser could use it on behalf of an attacker.
//
// The package only judges requests. Its callers choose the response.
//
// Start reading at OwnHost, then CrossSite.
package webguard
