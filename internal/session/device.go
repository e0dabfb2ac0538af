package session

import "github.com/mileusna/useragent"

// Device says in words what the client is that the session began with: a browser
// and a system, for example "Firefox on Linux". It is what the client claims.
func (s *Session) Device() string {
	parsed := useragent.Parse(s.UserAgent)
	switch {
	case parsed.Name == "":
		return "Unknown device"
	case parsed.OS == "":
		return parsed.Name
	}
	return parsed.Name + " on " + parsed.OS
}
