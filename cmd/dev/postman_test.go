package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The Postman collection runs from top to bottom against a fresh server, as a
// user of Postman would run it. NEWMAN is the command that runs collections.
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
	base, _, _ := startDev(t)
	command = append(command, "run", collection, "--env-var", "baseUrl="+base, "--bail", "--color", "off")
	out, err := exec.CommandContext(context.Background(), command[0], command[1:]...).CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}
