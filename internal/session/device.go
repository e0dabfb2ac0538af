package session

import "github.com/mileusna/useragent"

// Device says in words what a client is by its User-Agent: a browser and a system, for
// example "Firefox on Linux". It is what the client claims.
func Device(userAgent string) string {
	parsed := useragent.Parse(userAgent)
	switch {
	case parsed.Name == "":
		return "Unknown device"
	case parsed.OS == "":
		return parsed.Name
	}
	return parsed.Name + " on " + parsed.OS
}
