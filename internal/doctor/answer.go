package doctor

import "net/url"

const subjectAPI = "API"

// Answer is the response of the API to a request like those of the page.
type Answer struct {
	API  string // URL of the API
	Page string // URL of the page
	// Refused is set if nothing listens at the URL. Err is the reason why there was no response.
	Refused bool
	Err     error
	Status  int
	// IsLatchkey is set if the response has the form of a Latchkey response.
	IsLatchkey bool
	// MayRead is the origin that may read the response (Access-Control-Allow-Origin).
	MayRead string
}

// Check compares the response with what Browser predicts for this setup.
func (s Setup) Check(a Answer) []Finding {
	var f findings

	server, serverOK := parseURL(new(findings), "", a.API)
	page, pageOK := parseURL(new(findings), "", a.Page)
	if !serverOK || !pageOK {
		return nil // Browser reports that
	}

	at := originOf(server)
	switch {
	case a.Refused:
		f.warning(subjectAPI, "start it, and run the doctor again to test it", "not running: nothing listens at %s", at)
	case a.Err != nil:
		f.warning(subjectAPI, "check the URL, and whether this machine can reach it", "no response from %s: %v", at, a.Err)
	case !a.IsLatchkey:
		f.problem(subjectAPI, "pass the URL of the API to --api; a proxy must forward /auth/ unchanged",
			"%s responds with status %d, but is not Latchkey", at, a.Status)
	default:
		f.ok(subjectAPI, "running at %s", at)
		s.checkRunning(&f, a, page, server)
	}

	return f
}

// checkRunning reports whether the running server has other settings for the page than s.
func (s Setup) checkRunning(f *findings, a Answer, page, server *url.URL) {
	origin := originOf(page)
	if relate(page, server) == sameOrigin {
		return
	}

	expected := s.Origins.Contains(origin)
	allowed := a.MayRead == origin
	switch {
	case expected && !allowed:
		f.problem(subjectAPI, "restart the server with these settings",
			"the running server has other settings: it does not allow %s", origin)
	case !expected && allowed:
		f.warning(subjectAPI, "run the doctor with the settings of the server",
			"the running server has other settings: it allows %s", origin)
	}
}
