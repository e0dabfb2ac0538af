package app

import (
	"go/ast"
	"go/token"
	"go/types"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// comparators lists the functions that compare a secret with a value from a client. They use
// hmac.Equal: the time that == takes would reveal how much of the value is correct.
var comparators = map[string]bool{
	"internal/device.Read":         true, // proofs of devices
	"internal/factor.Match":        true, // the codes of authenticator apps
	"internal/factor.MatchesClock": true, // the same, at other times
	"internal/oauth.matchingKeys":  true, // the state of a sign-in
	"internal/oauth.validate":      true, // the nonce in an ID token
	"internal/seal.Open":           true, // the MAC of the record of a sign-in
	"internal/auth.TrustedDevice":  true, // the hash of the secret of a trusted device
	"internal/session.verify":      true, // the MAC of a session record
}

// secretName matches the names of secrets. Tokens and passwords are not included: they are hashed,
// and a store or bcrypt compares the hashes.
var secretName = regexp.MustCompile(`(?i)(mac|nonce|proof|secret|signature|state|verifier)s?$`)

// sameSource lists comparisons of two values that come from the same place, so their timing reveals
// nothing.
var sameSource = map[string]bool{
	"t.Nonce != verified.Nonce": true, // two ways to parse one ID token
}

// TestSecretsAreComparedInConstantTime checks that no secret is compared with ==, and that the table
// lists the functions that use hmac.Equal.
func TestSecretsAreComparedInConstantTime(t *testing.T) {
	t.Parallel()

	found := map[string]bool{}
	eachProductionFile(t, func(dir string, file *ast.File) {
		for _, declaration := range file.Decls {
			f, ok := declaration.(*ast.FuncDecl)
			if !ok {
				continue
			}

			ast.Inspect(f, func(node ast.Node) bool {
				switch node := node.(type) {
				case *ast.SelectorExpr:
					name := types.ExprString(node)
					if name == "hmac.Equal" || name == "subtle.ConstantTimeCompare" {
						found[dir+"."+f.Name.Name] = true
					}
				case *ast.BinaryExpr:
					if text := types.ExprString(node); comparesSecret(node) && !sameSource[text] {
						t.Errorf("%s.%s: %s: use hmac.Equal", dir, f.Name.Name, text)
					}
				}

				return true
			})
		}
	})

	if diff := cmp.Diff(comparators, found); diff != "" {
		t.Errorf("functions that use hmac.Equal differ from the table (-table +code):\n%s", diff)
	}
}

// comparesSecret reports whether an expression compares two values with == or !=, of which at least
// one is named like a secret. Comparisons with a constant, such as "", reveal nothing.
func comparesSecret(e *ast.BinaryExpr) bool {
	if e.Op != token.EQL && e.Op != token.NEQ {
		return false
	}

	named := false
	for _, operand := range []ast.Expr{e.X, e.Y} {
		_, isConstant := operand.(*ast.BasicLit)
		text := types.ExprString(operand)
		if isConstant || text == "nil" {
			return false
		}
		named = named || secretName.MatchString(text)
	}

	return named
}
