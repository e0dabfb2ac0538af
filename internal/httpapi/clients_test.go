package httpapi_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"latchkey/internal/apitest"
	"latchkey/internal/testkit"
	"latchkey/internal/testkit/suite"
)

// Clients generated from the OpenAPI document by popular tools compile and can log in. The programs in
// testdata/clients use them, and pin the versions of the tools.
func TestGeneratedClients(t *testing.T) {
	suite.Require(t, suite.Clients)

	s := apitest.New(t)
	dir := t.TempDir()
	testkit.NoError(t, os.CopyFS(dir, os.DirFS("testdata/clients")))
	run := func(t *testing.T, subdir, name string, args ...string) {
		t.Helper()

		command := exec.CommandContext(t.Context(), name, args...)
		command.Dir = filepath.Join(dir, subdir)
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("%s %q: %v\n%s", name, args, err, out)
		}
	}

	document := s.NewClient().Do("GET", "/openapi.json", nil).Want(200).Raw
	testkit.NoError(t, os.WriteFile(filepath.Join(dir, "openapi.json"), document, 0o600))

	t.Run("oapi-codegen", func(t *testing.T) {
		testkit.NoError(t, os.Mkdir(filepath.Join(dir, "oapicodegen/api"), 0o700))
		run(t, "", "go", "tool", "oapi-codegen", "-generate", "types,client", "-package", "api", "-o", "oapicodegen/api/client.go", "openapi.json")
		wantNoUntyped(t, filepath.Join(dir, "oapicodegen/api/client.go"))
		run(t, "", "go", "run", "./oapicodegen", s.URL)
	})

	t.Run("ogen", func(t *testing.T) {
		run(t, "", "go", "tool", "ogen", "--loglevel", "error", "--target", "ogen/api", "--package", "api", "--clean", "openapi.json")
		wantNoUntyped(t, filepath.Join(dir, "ogen/api/oas_schemas_gen.go"))
		run(t, "", "go", "run", "./ogen", s.URL)
	})

	t.Run("openapi-typescript", func(t *testing.T) {
		run(t, "typescript", "npm", "ci", "--no-audit", "--no-fund")
		run(t, "typescript", "npx", "openapi-typescript", "../openapi.json", "-o", "api.d.ts")
		run(t, "typescript", "npx", "tsc", "--strict", "--target", "es2022", "--module", "nodenext", "--types", "node", "login.ts")
		run(t, "typescript", "node", "login.js", s.URL)
	})

	t.Run("client.js", func(t *testing.T) {
		for _, name := range []string{"client.js", "client.d.ts"} {
			file := s.NewClient().Do("GET", "/"+name, nil).Want(200).Raw
			testkit.NoError(t, os.WriteFile(filepath.Join(dir, "typescript", name), file, 0o600))
		}

		run(t, "typescript", "npm", "ci", "--no-audit", "--no-fund")
		run(t, "typescript", "npx", "tsc", "--strict", "--target", "es2022", "--module", "nodenext", "--types", "node", "page.ts")
		run(t, "typescript", "node", "page.js", s.URL)
	})
}

// untyped matches a member or a variable of any type. The documents themselves, such as
// /openapi.json, are maps of any.
var untyped = regexp.MustCompile(`(?m)^[^/\n]*[^\]/\n](interface\{\}|\bany\b|jx\.Raw\b).*$`)

func wantNoUntyped(t *testing.T, file string) {
	t.Helper()

	source, err := os.ReadFile(file)
	testkit.NoError(t, err)

	for _, line := range untyped.FindAll(source, -1) {
		t.Errorf("%s: got an untyped value: %s", filepath.Base(file), bytes.TrimSpace(line))
	}
}
