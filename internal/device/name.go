package device

import (
	"strings"
	"unicode"

	"github.com/mileusna/useragent"
)

// maxName is the maximum length of a device name in bytes.
const maxName = 64

// Name returns the name of the device that a User-Agent describes: browser, major version and
// operating system, for example "Firefox 142 on Linux". Clients can send any User-Agent, so
// the name is only a hint for users.
func Name(userAgent string) string {
	parsed := useragent.Parse(userAgent)
	if parsed.Name == "" {
		return "Unknown device"
	}

	name := parsed.Name
	if major, _, _ := strings.Cut(parsed.Version, "."); major != "" {
		name += " " + major
	}
	if parsed.OS != "" {
		name += " on " + parsed.OS
	}

	name = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}

		return r
	}, name)

	return strings.ToValidUTF8(name[:min(len(name), maxName)], "")
}
