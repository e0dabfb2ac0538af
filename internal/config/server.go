package config

import (
	"net"
	"strconv"
	"strings"
	"time"
)

// Limits of the bcrypt cost. A cost below 10 is not an approved password hash (OWASP ASVS 5.0
// 11.4.2). A hash with cost 14 takes over a second; with more, logins time out.
const (
	minBcryptCost           = 4
	minBcryptCostProduction = 10
	maxBcryptCost           = 14
)

// checkServer checks the settings of the process itself.
func (l *loader) checkServer() {
	l.Host = strings.Trim(l.Host, "[]")
	if l.Host != "" && !isHost(l.Host) {
		l.report("HOST", "must be a host name or IP, without a scheme or port")
	}
	l.between("PORT", l.HTTPPort, 0, 65535)

	if l.LogFormat != "json" && l.LogFormat != "text" {
		l.report("LOG_FORMAT", "must be json or text")
	}

	if l.OpsAddr != "" {
		_, port, err := net.SplitHostPort(l.OpsAddr)
		_, portErr := strconv.ParseUint(port, 10, 16)
		if err != nil || portErr != nil {
			l.report("OPS_ADDR", "must be a listen address like 127.0.0.1:9090 or :9090")
		}
	}

	l.OpsHosts = entries(l.OpsHosts)
	for _, host := range l.OpsHosts {
		if !isHost(host) {
			l.reportItem("OPS_HOSTS", host, "must be host names, without a scheme or port, separated by commas")
		}
	}

	if l.DrainTime < 0 || l.DrainTime > time.Minute {
		l.report("DRAIN_TIME", "must be from 0s to 1m")
	}

	minCost := minBcryptCost
	if l.AppEnv == Production {
		minCost = minBcryptCostProduction
	}

	l.between("BCRYPT_COST", l.BcryptCost, minCost, maxBcryptCost)
}

// checkEdge checks where TLS ends: at trusted proxies or at this server.
func (l *loader) checkEdge() {
	l.checkProxies()

	if (l.TLSCertFile == "") != (l.TLSKeyFile == "") {
		l.report("TLS_CERT_FILE", "set both TLS_CERT_FILE and TLS_KEY_FILE, or neither")
	}
	if l.AppEnv == Production && l.TLSCertFile == "" && len(l.TrustedProxies) == 0 {
		l.report("TRUSTED_PROXIES", "required unless TLS_CERT_FILE and TLS_KEY_FILE are set: "+
			"the IP of the TLS proxy in front of this server, such as 127.0.0.1")
	}
}
