package app

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"latchkey/internal/testkit"
)

// generators maps every function that generates a random value to the test that checks 10,000 of its
// values (testkit.CheckRandom), or to the reason why it needs no test.
var generators = map[string]string{
	"internal/token.New":                "internal/token TestNew",
	"internal/session.newToken":         "internal/session TestTokensAreRandom",
	"internal/auth.newToken":            "internal/auth TestLinksAreRandom",
	"internal/auth.invitationLink":      "internal/token TestNew",
	"internal/oauth.newKeys":            "internal/oauth TestFlowsAreRandom",
	"internal/device.Add":               "internal/device TestNamesAreRandom",
	"internal/factor.NewSecret":         "internal/factor TestSecretsAreRandom",
	"internal/factor.NewRecoveryCodes":  "internal/factor TestRecoveryCodesAreRandom",
	"internal/coherence.newCache":       "not secret: the ID of a server",
	"internal/httpapi.newRequestID":     "not secret: the ID of a request, in the log and the response",
	"internal/user.newDeviceGeneration": "not secret: distinguishes periods, and grants nothing without SESSION_SECRET",
	"internal/auth.RequestEmailChange":  "not secret: distinguishes requests, and grants nothing",
	"internal/mail.complete":            "not secret: the ID of a job",
	"internal/mail.messageID":           "not secret: the ID of an email",
	"internal/mail.next":                "not secret: distinguishes the claims of workers",
	"internal/auth.newTrust":            "internal/auth TestTrustIsRandom",
	"internal/pending.Begin":            "internal/pending TestTokensAreRandom",
	"internal/auth.EnrolTOTP":           "not secret: the ID of a factor; factor.NewSecret makes its secret",
	"internal/pending.Try":              "not secret: distinguishes a repeated script from another request",
	"internal/pending.Cancel":           "not secret: distinguishes a repeated script from another request",
	"internal/user.UseFactor":           "not secret: distinguishes a repeated update from another use",
	"internal/oauth.take":               "not secret: distinguishes a repeated script from another request",
	"internal/session.RevokeAll":        "not secret: distinguishes a repeated script from another request",
	"internal/session.end":              "not secret: distinguishes a repeated script from another request",
	"cmd/dev.newSecret":                 "development only: rand.Text has 128 bits",
}

// testOnly matches the folders whose code is used only in tests and benchmarks.
var testOnly = regexp.MustCompile(
	`^(cmd/(bench|gensettings)|internal/(apitest|devstore|testkit)|.*/(mailtest|oauthtest))(/|$)`)

// TestRandomValues compares the table with the code, so that the values of a new generator are
// checked, and forbids predictable random numbers.
func TestRandomValues(t *testing.T) {
	t.Parallel()

	found := map[string]bool{}
	eachProductionFile(t, func(dir string, file *ast.File) {
		for _, imported := range file.Imports {
			if path, _ := strconv.Unquote(imported.Path.Value); strings.HasPrefix(path, "math/rand") {
				t.Errorf("%s imports %s, which is predictable; use crypto/rand", dir, path)
			}
		}

		for _, declaration := range file.Decls {
			name := "init"
			if f, ok := declaration.(*ast.FuncDecl); ok {
				name = f.Name.Name
			}
			if usesRandom(file, declaration) {
				found[dir+"."+name] = true
			}
		}
	})

	known := map[string]bool{}
	for generator, check := range generators {
		known[generator] = true
		if dir, test, ok := strings.Cut(check, " Test"); ok && !callsCheckRandom(t, dir, "Test"+test) {
			t.Errorf("%s: %s does not call testkit.CheckRandom", generator, check)
		}
	}
	if diff := cmp.Diff(known, found); diff != "" {
		t.Errorf("functions that generate random values differ from the table (-table +code):\n%s", diff)
	}
}

// eachProductionFile calls f with each Go file of the programs and its folder.
func eachProductionFile(t *testing.T, f func(dir string, file *ast.File)) {
	t.Helper()

	root := os.DirFS("../..")
	err := fs.WalkDir(root, ".", func(path string, entry fs.DirEntry, err error) error {
		switch dir := filepath.Dir(path); {
		case err != nil:
			return err
		case entry.IsDir() && testOnly.MatchString(path):
			return fs.SkipDir
		case !entry.IsDir() && isProduction(path):
			f(dir, parse(t, filepath.Join("../..", path)))
		}

		return nil
	})
	testkit.NoError(t, err)
}

// isProduction reports whether a file is Go code other than tests and test data.
func isProduction(path string) bool {
	return strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") && !strings.Contains(path, "testdata")
}

func parse(t *testing.T, path string) *ast.File {
	t.Helper()

	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	testkit.NoError(t, err)

	return file
}

// usesRandom reports whether a declaration uses crypto/rand or token.New.
func usesRandom(file *ast.File, declaration ast.Decl) bool {
	imports := func(path string) bool {
		for _, imported := range file.Imports {
			if imported.Path.Value == strconv.Quote(path) {
				return true
			}
		}

		return false
	}

	uses := false
	ast.Inspect(declaration, func(node ast.Node) bool {
		selector, ok := node.(*ast.SelectorExpr)
		if !ok {
			return true
		}

		pkg, ok := selector.X.(*ast.Ident)
		isRand := ok && pkg.Name == "rand" && imports("crypto/rand")
		isToken := ok && pkg.Name == "token" && selector.Sel.Name == "New" && imports("latchkey/internal/token")
		uses = uses || isRand || isToken

		return true
	})

	return uses
}

// callsCheckRandom reports whether a test function in a folder calls testkit.CheckRandom.
func callsCheckRandom(t *testing.T, dir, test string) bool {
	t.Helper()

	paths, err := filepath.Glob(filepath.Join("../..", dir, "*_test.go"))
	testkit.NoError(t, err)
	for _, path := range paths {
		for _, declaration := range parse(t, path).Decls {
			f, ok := declaration.(*ast.FuncDecl)
			if !ok || f.Name.Name != test {
				continue
			}

			calls := false
			ast.Inspect(f, func(node ast.Node) bool {
				selector, ok := node.(*ast.SelectorExpr)
				calls = calls || ok && selector.Sel.Name == "CheckRandom"

				return true
			})

			return calls
		}
	}

	return false
}
