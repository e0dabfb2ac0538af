package main

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"testing"

	"latchkey/internal/testkit"
)

var (
	// passwordInExample matches a password in the JSON of an example.
	passwordInExample = regexp.MustCompile(`"(?:password|newPassword)": *"([^"]+)"`)

	// passwordVariable matches a password of the Postman collection, which also has examples that fail.
	passwordVariable = regexp.MustCompile(`"key": *"(?:password|newPassword)",\s*"value": *"([^"]+)"`)
)

// Readers copy passwords from the documents. Production, which refuses common passwords, accepts them.
func TestDocumentedPasswordsWorkInProduction(t *testing.T) {
	t.Parallel()
	o := newOperator(t)

	var found [][]string
	find := func(document, text string, password *regexp.Regexp) {
		matches := password.FindAllStringSubmatch(text, -1)
		if matches == nil {
			t.Errorf("%s: got no password, want at least one", document)
		}
		for _, match := range matches {
			found = append(found, []string{document, match[1]})
		}
	}

	find("/openapi.json", send(t, "GET", o.base+"/openapi.json", "").text, passwordInExample)
	find("/postman.json", send(t, "GET", o.base+"/postman.json", "").text, passwordVariable)
	for _, path := range []string{"../../README.md", "../dev/greeting.go"} {
		text, err := os.ReadFile(path)
		testkit.NoError(t, err)
		find(path, string(text), passwordInExample)
	}

	for i, f := range found {
		document := f[0]
		password := f[1]
		body := fmt.Sprintf(`{"name":"John Doe","email":"john%d@example.com","password":%q}`, i, password)
		if res := send(t, "POST", o.base+"/auth/register", body); res.StatusCode != http.StatusCreated {
			t.Errorf("%s: register with the password %q: got %d %s, want 201", document, password, res.StatusCode, res.text)
		}
	}
}
