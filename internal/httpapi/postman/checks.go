package main

import (
	"fmt"
	"strings"
)

// script is JavaScript that runs in Postman's sandbox.
type script string

// check returns an assertion: a name, and an expression that throws if it does not hold.
func check(name, expression string) script {
	return script(fmt.Sprintf("pm.test(%s, () => %s);", quote(name), expression))
}

// save stores the value of an expression in a variable of the collection.
func save(variable, expression string) script {
	return script(fmt.Sprintf("pm.collectionVariables.set('%s', %s);", variable, expression))
}

// quote returns text as a JavaScript string.
func quote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}

func status(code int) script {
	return check(fmt.Sprintf("status is %d", code), fmt.Sprintf("pm.response.to.have.status(%d)", code))
}

// message checks a text that clients may rely on.
func message(text string) script {
	return check(fmt.Sprintf("message is %q", text), "pm.expect(pm.response.json().message).to.eql("+quote(text)+")")
}

// problem checks the machine-readable code of a failure.
func problem(code string) script {
	return check("code is "+code, "pm.expect(pm.response.json().code).to.eql('"+code+"')")
}

// endedBecause checks why a session ended.
func endedBecause(reason string) script {
	return check("reason is "+reason, "pm.expect(pm.response.json().reason).to.eql('"+reason+"')")
}

// invalidField checks the first field error.
func invalidField(name, code string) script {
	return check(fmt.Sprintf("%s is %s", name, code),
		fmt.Sprintf("pm.expect(pm.response.json().errors[0]).to.include({field: '%s', code: '%s'})", name, code))
}

// sessionCookie is the value of the session cookie in the jar.
const sessionCookie = "pm.cookies.get(pm.variables.get('cookieName'))"

const (
	clearCookies = script("pm.cookies.jar().clear(pm.variables.get('baseUrl'), () => {});")

	// skipWithoutMail skips requests that need a link from an email, on servers that do
	// not show the emails that they send.
	skipWithoutMail = script("if (!pm.variables.get('mailUrl')) pm.execution.skipRequest();")
)

var (
	loggedOut      = message("Please login to continue")
	saveCookie     = save("token", sessionCookie)
	saveSession    = save("sessionId", "pm.response.json().sessionId")
	hasCookie      = check("sets the session cookie", "pm.expect(pm.cookies.has(pm.variables.get('cookieName'))).to.be.true")
	clearsCookie   = check("clears the session cookie", "pm.expect(pm.response.headers.get('Set-Cookie')).to.include('Max-Age=0')")
	keepsCookie    = check("keeps the session cookie", "pm.expect("+sessionCookie+").to.eql(pm.variables.get('token'))")
	hidesPassword  = check("does not reveal the password", "pm.expect(pm.response.text()).to.not.include('assword')")
	hidesToken     = check("does not reveal the session token", "pm.expect(pm.response.text()).to.not.include("+sessionCookie+")")
	notSignedIn    = check("authenticated is false", "pm.expect(pm.response.json().authenticated).to.be.false")
	hasMessage     = check("has a message", "pm.expect(pm.response.json().message).to.be.a('string').and.not.empty")
	limitedByIP    = reportsLimits("ip")
	limitedByBoth  = reportsLimits("ip", "account")
	limitedByKnown = script(`pm.test('reports the limit of the device', () => pm.expect(pm.response.headers.get('RateLimit')).to.match(/^"device";r=\d+;t=\d+(, |$)/));
pm.test('reports the policy of the device', () => pm.expect(pm.response.headers.get('RateLimit-Policy')).to.match(/^"device";q=\d+;w=\d+(, |$)/));`)
)

// reportsLimits checks how many requests the rate limits still allow.
func reportsLimits(names ...string) script {
	var limits []string
	for _, name := range names {
		limits = append(limits, `"`+name+`";r=\d+;t=\d+`)
	}

	return check("reports the rate limit", "pm.expect(pm.response.headers.get('RateLimit')).to.match(/^"+strings.Join(limits, ", ")+"$/)")
}

// renewsSession checks that the session moved to a new ID and a new cookie.
func renewsSession() []script {
	return []script{
		"const session = pm.response.json();",
		check("the session has a new ID", "pm.expect(session.sessionId).to.have.lengthOf(45).and.not.eql(pm.variables.get('sessionId'))"),
		check("authenticatedAt is later", "pm.expect(Date.parse(session.authenticatedAt)).to.be.above(Date.parse(pm.variables.get('authenticatedAt')))"),
		saveSession,
		save("authenticatedAt", "session.authenticatedAt"),
		renewsCookie,
		hidesToken,
		saveCookie,
		limitedByBoth,
	}
}

var renewsCookie = check("the session has a new cookie", "pm.expect("+sessionCookie+").to.be.a('string').and.not.eql(pm.variables.get('token'))")

const pollNote = " Emails arrive shortly after the response, so this request repeats itself until the email is there, for 15 seconds at most. If you send it by hand, send it again."

// readMail returns a request for the outbox of the dev server. It repeats itself until
// found, an expression over the variables that find declares, is true.
func readMail(name, description, find, found string, checks ...script) request {
	lines := []script{
		script(find),
		"const tries = Number(pm.variables.get('tries')) + 1;",
		script("if (!(" + found + ") && tries < 75) {"),
		indent(save("tries", "tries")),
		"  pm.execution.setNextRequest(pm.info.requestId);",
		"  setTimeout(() => {}, 200);",
		"} else {",
		indent(save("tries", "0")),
		indent(status(200)),
	}
	for _, c := range checks {
		lines = append(lines, indent(c))
	}

	return request{
		name:           name,
		route:          "GET {{mailUrl}}",
		description:    description + pollNote,
		withoutCookies: true,
		checks:         append(lines, "}"),
	}
}

func indent(s script) script {
	return "  " + script(strings.ReplaceAll(string(s), "\n", "\n  "))
}

// newest declares a variable with the newest email to a recipient, given as the name of a
// variable of the collection.
func newest(variable, recipient, subject string) string {
	return fmt.Sprintf("const %s = pm.response.json().find(m => m.to === pm.variables.get('%s') && m.subject === %s);", variable, recipient, quote(subject))
}

// saveLink checks for a link in an email, and stores its token.
func saveLink(email, variable string) script {
	return check("contains a link", fmt.Sprintf(`pm.collectionVariables.set('%s', %s.text.match(/#token=([\w-]+)/)[1])`, variable, email))
}
