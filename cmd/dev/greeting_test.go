package main

import (
	"bytes"
	"strings"
	"testing"
)

// The greeting has the URL of the built-in pages if there are any.
func TestGreetingNamesPages(t *testing.T) {
	const account = "http://localhost:3000/account"

	for _, hasPages := range []bool{true, false} {
		var out bytes.Buffer
		greet(&out, "http://localhost:3000", demoPage{origin: "http://localhost:3001"}, hasPages, true)

		if strings.Contains(out.String(), account) != hasPages {
			t.Errorf("greeting with pages %t: got\n%s\nwant it to contain %s: %[1]t", hasPages, out.String(), account)
		}
	}
}
