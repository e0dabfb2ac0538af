// Package asset serves public files that are a part of the program or generated when it starts, such
// as scripts and styles. They are compressed once, and clients that have a file already do not get it
// again.
//
// The package does not know the URLs of the files, nor the other headers of the responses: packages
// httpapi and pages do.
//
// Start reading at File.
package asset
