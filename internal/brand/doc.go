// Package brand describes what emails and pages show in place of Latchkey: the name, the website,
// the color and the logo of the operator's product. It derives a palette for light and one for dark
// backgrounds from the single color that the operator chooses, so that every text stays readable.
//
// The package knows nothing about settings, emails or pages. Package config validates the settings,
// package mail and the built-in pages use the palettes.
//
// Start reading at Brand.
package brand
