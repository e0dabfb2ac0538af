// Package doctor explains what browsers will do with the settings: whether the
// session cookie is stored and sent between a page and the API, what CORS and the
// protection against other origins will answer, and what to change where it cannot
// work. Most trouble with cookie sessions is of this kind, and a browser says little
// about it.
//
// It knows the rules of browsers (RFC 6265bis, the Fetch standard, and what Chrome,
// Firefox and Safari do beyond them) and asks nobody. What the stores say of
// themselves is judged here too (stores.go), and what the providers do that people may
// sign in with (providers.go); package app asks them. Start reading at Browser.
package doctor
