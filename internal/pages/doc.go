// Package pages serves the pages with which people sign in, register and manage their accounts. It
// renders them on the server, in the language of the visitor and with the name and the color of the
// operator's product. Their scripts call the API like those of any other page, so a page needs no
// session and knows no secret.
//
// The server mounts the pages beside the API if PAGES is on: see package httpapi. The development
// server shows the same pages on another origin, with a log of the API calls below them.
//
// The package knows the routes of the API only in its scripts, and no store. Templates, scripts and
// styles are in templates/ and assets/, the texts of each language in texts/.
//
// Start reading at Options, then templates/layout.html and assets/api.js.
package pages
