package app

import (
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"

	"latchkey/internal/testkit"
)

// TestComposeTrustsItsGateway checks that docker-compose.yml trusts only the gateway of its own
// network, through which a proxy on this machine connects. A client with any other trusted IP could
// forge the IP that the rate limits apply to.
func TestComposeTrustsItsGateway(t *testing.T) {
	t.Parallel()

	text, err := os.ReadFile("../../docker-compose.yml")
	testkit.NoError(t, err)
	value := func(name string) string {
		t.Helper()

		match := regexp.MustCompile(`(?m)^[ -]+`+name+`: *(\S.*?)$`).FindAllSubmatch(text, -1)
		if len(match) != 1 {
			t.Fatalf("%s: got %d lines in docker-compose.yml, want 1", name, len(match))
		}

		return string(match[0][1])
	}

	subnet, err := netip.ParsePrefix(value("subnet"))
	testkit.NoError(t, err)
	gateway, err := netip.ParseAddr(value("gateway"))
	testkit.NoError(t, err)

	if trusted := value("TRUSTED_PROXIES"); trusted != gateway.String() || !subnet.Contains(gateway) {
		t.Errorf("TRUSTED_PROXIES: got %s, want the gateway %s of %s", trusted, gateway, subnet)
	}
	if !strings.Contains(string(text), `- "127.0.0.1:${PORT:-3000}:3000"`) {
		t.Error("ports: want the port published on 127.0.0.1 only, because the gateway is trusted")
	}
}
