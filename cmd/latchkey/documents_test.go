package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"latchkey/internal/testkit"
	"latchkey/internal/testkit/suite"
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

// The session of the README works in production as it does in development, and prints what the README
// shows.
func TestReadmeSession(t *testing.T) {
	t.Parallel()
	suite.Program(t, "curl")
	o := newOperator(t)

	text, err := os.ReadFile("../../README.md")
	testkit.NoError(t, err)
	block := regexp.MustCompile("(?s)```sh\n(curl .*?)```\n\n```text\n(.*?)```").FindSubmatch(text)
	if block == nil {
		t.Fatal("README.md: got no session with its output")
	}
	_, port, _ := strings.Cut(strings.TrimPrefix(o.base, "http://"), ":")
	session := exec.Command("sh", "-c", strings.ReplaceAll(string(block[1]), "http://localhost:3000", "http://localhost:"+port))
	session.Dir = t.TempDir()

	out, err := session.Output()
	testkit.NoError(t, err)

	// Values differ from run to run, and the README leaves some out.
	value := regexp.MustCompile(`("(?:id|sessionId)":)"[^"]+"`)
	got := strings.Split(strings.TrimSpace(value.ReplaceAllString(string(out), `$1"?"`)), "\n")
	want := strings.Split(strings.TrimSpace(value.ReplaceAllString(string(block[2]), `$1"?"`)), "\n")
	if len(got) != len(want) {
		t.Fatalf("got %d lines, want %d:\n%s", len(got), len(want), out)
	}
	for i, line := range want {
		begin, end, _ := strings.Cut(line, "...")
		if !strings.HasPrefix(got[i], begin) || !strings.HasSuffix(got[i], end) {
			t.Errorf("line %d: got %s, want %s", i+1, got[i], line)
		}
	}
}
