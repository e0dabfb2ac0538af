package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The Postman collection runs from top to bottom against a fresh server, as a
// user of Postman would run it, and once more with the cookies and variables that
// this leaves. NEWMAN is the command that runs collections.
func TestPostmanCollection(t *testing.T) {
	command := strings.Fields(os.Getenv("NEWMAN"))
	if len(command) == 0 {
		t.Skip("needs NEWMAN; make check runs this test")
	}
	collection, err := filepath.Abs("../../internal/httpapi/docs/postman.json")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	base, said, _ := startDev(t)
	mails := regexp.MustCompile(`Mail +(http://\S+/mail) `).FindStringSubmatch(said)
	if mails == nil {
		t.Fatalf("it does not say where the mails are\n%s", said)
	}
	command = append(command, "run", collection, "--env-var", "baseUrl="+base, "--env-var", "mailUrl="+mails[1]+".json",
		"--iteration-count", "2", "--bail", "--color", "off")
	out, err := exec.CommandContext(context.Background(), command[0], command[1:]...).CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}
