package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/internal/testkit"
	"latchkey/internal/testkit/suite"
)

// TestPostmanCollection runs the collection twice against a fresh server. The second run
// starts with the cookies and variables of the first, as in Postman. NEWMAN is the command
// that runs collections.
func TestPostmanCollection(t *testing.T) {
	suite.Require(t, suite.Postman)

	command := strings.Fields(os.Getenv("NEWMAN"))
	if len(command) == 0 {
		t.Fatal("set NEWMAN to the command that runs newman")
	}
	collection, err := filepath.Abs("../../internal/httpapi/docs/postman.json")
	testkit.NoError(t, err)

	t.Chdir(t.TempDir())
	server := startDev(t)
	command = append(command, "run", collection,
		"--env-var", "baseUrl="+server.api,
		"--env-var", "mailUrl="+server.outbox+".json",
		"--iteration-count", "2", "--bail", "--color", "off")

	out, err := exec.Command(command[0], command[1:]...).CombinedOutput()
	t.Logf("%s", out)
	testkit.NoError(t, err)
}
