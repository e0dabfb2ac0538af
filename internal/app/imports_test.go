package app

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"latchkey/internal/testkit"
)

// mayImport lists which of our packages each package may import. Imports point down only.
var mayImport = map[string][]string{
	"cmd/latchkey":                {"internal/app", "internal/auth", "internal/buildinfo", "internal/config", "internal/doctor", "internal/session", "internal/user"},
	"cmd/dev":                     {"internal/app", "internal/brand", "internal/config", "internal/devstore", "internal/doctor", "internal/mail", "internal/origin", "internal/pages", "internal/returnto", "internal/webguard"},
	"cmd/gensettings":             {"internal/config"},
	"cmd/bench":                   {"internal/config", "internal/devstore", "internal/redisconn", "internal/session", "internal/testkit"},
	"internal/app":                {"internal/activity", "internal/auth", "internal/brand", "internal/coherence", "internal/config", "internal/datakey", "internal/doctor", "internal/hashpool", "internal/httpapi", "internal/locale", "internal/mail", "internal/mongoconn", "internal/oauth", "internal/origin", "internal/pending", "internal/ratelimit", "internal/redischeck", "internal/redisconn", "internal/session", "internal/telemetry", "internal/user"},
	"internal/httpapi":            {"internal/activity", "internal/asset", "internal/auth", "internal/brand", "internal/buildinfo", "internal/device", "internal/factor", "internal/locale", "internal/loopback", "internal/oauth", "internal/origin", "internal/pages", "internal/pending", "internal/ratelimit", "internal/redisconn", "internal/returnto", "internal/session", "internal/telemetry", "internal/token", "internal/user"},
	"internal/httpapi/client":     {"internal/httpapi"},
	"deployments/backend/nethttp": {},
	"internal/httpapi/postman":    {},
	"internal/asset":              {},
	"internal/pages":              {"internal/asset", "internal/brand", "internal/locale"},
	"internal/returnto":           {"internal/origin"},
	"internal/auth":               {"internal/datakey", "internal/device", "internal/factor", "internal/hashpool", "internal/mail", "internal/pending", "internal/ratelimit", "internal/session", "internal/token", "internal/user"},
	"internal/activity":           {"internal/mongoconn"},
	"internal/device":             {"internal/ratelimit", "internal/token"},
	"internal/mail":               {"internal/brand", "internal/locale", "internal/loopback", "internal/redisconn", "internal/telemetry", "internal/token"},
	"internal/mail/mailtest":      {"internal/devstore/storetest", "internal/testkit"},
	"internal/hashpool":           {"internal/telemetry"},
	"internal/oauth":              {"internal/redisconn", "internal/seal", "internal/token", "internal/user"},
	"internal/oauth/oauthtest":    {"internal/testkit"},
	"internal/ratelimit":          {"internal/redisconn", "internal/token"},
	"internal/coherence":          {"internal/redisconn"},
	"internal/session":            {"internal/coherence", "internal/redisconn", "internal/telemetry", "internal/token"},
	"internal/user":               {"internal/coherence", "internal/locale", "internal/mongoconn"},
	"internal/mongoconn":          {"internal/telemetry"},
	"internal/redischeck":         {"internal/redisconn"},
	"internal/redisconn":          {"internal/telemetry"},
	"internal/telemetry":          {"internal/buildinfo", "internal/webguard"},
	"internal/config":             {"internal/brand", "internal/locale", "internal/loopback", "internal/origin"},
	"internal/doctor":             {"internal/loopback", "internal/origin"},
	"internal/brand":              {},
	"internal/locale":             {},
	"internal/buildinfo":          {},
	"internal/loopback":           {},
	"internal/origin":             {},
	"internal/token":              {},
	"internal/seal":               {"internal/token"},
	"internal/pending":            {"internal/redisconn", "internal/seal", "internal/token"},
	"internal/datakey":            {"internal/token"},
	"internal/factor":             {"internal/token"},
	"internal/webguard":           {},
	"internal/devstore":           {},
	"internal/devstore/storetest": {"internal/devstore", "internal/testkit", "internal/testkit/suite"},
	"internal/apitest":            {"internal/activity", "internal/auth", "internal/coherence", "internal/datakey", "internal/device", "internal/devstore/conntest", "internal/devstore/storetest", "internal/factor", "internal/hashpool", "internal/httpapi", "internal/locale", "internal/mail", "internal/mongoconn", "internal/oauth", "internal/origin", "internal/pending", "internal/ratelimit", "internal/redischeck", "internal/redisconn", "internal/session", "internal/telemetry", "internal/testkit", "internal/user"},
	"internal/apitest/model":      {"internal/apitest", "internal/auth", "internal/devstore/storetest", "internal/factor", "internal/session", "internal/testkit", "internal/user"},
	"internal/testkit":            {},
	"internal/testkit/suite":      {},
	"internal/devstore/conntest":  {"internal/devstore/storetest", "internal/mongoconn", "internal/redisconn"},
}

// ownedBy lists third-party packages that only some of our packages may import.
var ownedBy = map[string][]string{
	"github.com/alexedwards/scs/v2":                  {"internal/session"},
	"github.com/gomodule/redigo/redis":               {"cmd/bench", "internal/coherence", "internal/redisconn", "internal/session", "internal/devstore/storetest", "internal/apitest", "internal/apitest/model", "internal/devstore"},
	"golang.org/x/text/language":                     {"internal/locale", "internal/mail"},
	"github.com/rs/cors":                             {"internal/httpapi"},
	"github.com/wneessen/go-mail":                    {"internal/mail"},
	"go.mongodb.org/mongo-driver/mongo":              {"internal/activity", "internal/app", "internal/mongoconn", "internal/user", "internal/devstore/storetest", "internal/apitest"},
	"golang.org/x/crypto/bcrypt":                     {"cmd/bench", "internal/hashpool"},
	"go.mongodb.org/mongo-driver/event":              {"internal/telemetry"},
	"net/http/pprof":                                 {"internal/telemetry"},
	"github.com/prometheus/client_golang/prometheus": {"internal/telemetry"},
	"go.opentelemetry.io/otel/trace":                 {"internal/telemetry"},
	"go.opentelemetry.io/otel/sdk/trace":             {"internal/telemetry"},
	"github.com/go-chi/chi/v5":                       {"internal/httpapi"},
	"github.com/spf13/cobra":                         {"cmd/dev", "cmd/latchkey"},
	"github.com/caarlos0/env/v10":                    {"internal/config"},
	"github.com/FerretDB/FerretDB/ferretdb":          {"internal/devstore"},
	"github.com/alicebob/miniredis/v2":               {"internal/devstore"},
	"github.com/coreos/go-oidc/v3/oidc":              {"internal/oauth"},
	"github.com/go-jose/go-jose/v4":                  {"internal/oauth", "internal/oauth/oauthtest"},
	"golang.org/x/oauth2":                            {"internal/oauth"},
	"github.com/go-json-experiment/json":             {"internal/httpapi", "internal/oauth"},
	"github.com/go-playground/validator/v10":         {"internal/httpapi"},
	"rsc.io/qr":                                      {"internal/factor"},
}

type goPackage struct {
	ImportPath string
	Imports    []string
	Deps       []string
	GoFiles    []string
}

func listPackages(t *testing.T) map[string]goPackage {
	t.Helper()

	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,Deps,GoFiles", "latchkey/...").Output()
	testkit.NoError(t, err)
	packages := map[string]goPackage{}
	for decoder := json.NewDecoder(bytes.NewReader(out)); decoder.More(); {
		var p goPackage
		testkit.NoError(t, decoder.Decode(&p))
		packages[strings.TrimPrefix(p.ImportPath, "latchkey/")] = p
	}

	return packages
}

// TestImports compares all imports with the tables, and keeps test doubles out of the
// production program.
func TestImports(t *testing.T) {
	t.Parallel()

	packages := listPackages(t)
	for name, p := range packages {
		allowed, known := mayImport[name]
		if !known {
			t.Errorf("%s is missing in mayImport", name)
		}
		for _, imported := range p.Imports {
			if own, ok := strings.CutPrefix(imported, "latchkey/"); ok && !slices.Contains(allowed, own) {
				t.Errorf("%s imports %s, which mayImport does not allow", name, own)
			}
			if owners, owned := ownedBy[imported]; owned && !slices.Contains(owners, name) {
				t.Errorf("%s imports %s, which only %v may import", name, imported, owners)
			}
		}
		if strings.HasPrefix(name, "internal/") && !slices.Contains(p.GoFiles, "doc.go") {
			t.Errorf("%s has no doc.go", name)
		}
	}

	for name := range mayImport {
		if _, ok := packages[name]; !ok {
			t.Errorf("%s is in mayImport, but does not exist", name)
		}
	}

	forbidden := regexp.MustCompile(`^(latchkey/internal/(apitest|devstore|testkit|oauth/oauthtest)|github\.com/(FerretDB|alicebob)/|modernc\.org/sqlite|testing)`)
	for _, dep := range packages["cmd/latchkey"].Deps {
		if forbidden.MatchString(dep) {
			t.Errorf("cmd/latchkey links %s", dep)
		}
	}
}
