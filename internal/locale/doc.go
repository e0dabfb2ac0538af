// Package locale chooses languages. A locale is a BCP 47 tag such as de or pt-BR: a language that a
// person reads, as a browser or an account states it. A Set contains the languages that have texts, and
// finds the best of them for a locale.
//
// The package contains no texts. Package mail and the built-in pages have them, package user stores
// the locale of an account, and package httpapi reads it from requests.
//
// Start reading at Set.Match.
package locale
