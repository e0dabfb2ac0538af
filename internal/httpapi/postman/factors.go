package main

import "fmt"

// computeCode stores the code of the authenticator app (RFC 6238) in a variable. offset is the number of time
// steps from now. Each code works once, so later requests need a greater one.
func computeCode(offset int) script {
	return script(fmt.Sprintf(`const hashes = require('crypto-js');
const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
const bits = [...pm.variables.get('totpSecret')].map(c => alphabet.indexOf(c).toString(2).padStart(5, '0')).join('');
const key = bits.match(/.{8}/g).map(b => parseInt(b, 2).toString(16).padStart(2, '0')).join('');
const step = (Math.floor(Date.now() / 30000) + %d).toString(16).padStart(16, '0');
const mac = hashes.HmacSHA1(hashes.enc.Hex.parse(step), hashes.enc.Hex.parse(key)).toString();
const at = parseInt(mac.slice(-1), 16) * 2;
const number = parseInt(mac.slice(at, at + 8), 16) & 0x7fffffff;
pm.collectionVariables.set('code', String(number %% 1000000).padStart(6, '0'));`, offset))
}

// takeRecoveryCode stores an unused recovery code in a variable.
const takeRecoveryCode = script(`const codes = pm.variables.get('recoveryCodes').split(' ');
pm.collectionVariables.set('recoveryCode', codes.shift());
pm.collectionVariables.set('recoveryCodes', codes.join(' '));`)

var (
	saveRecoveryCodes = save("recoveryCodes", "pm.response.json().recoveryCodes.join(' ')")
	hasRecoveryCodes  = check("has ten recovery codes", "pm.expect(new Set(pm.response.json().recoveryCodes).size).to.eql(10)")
	needsFactor       = check("asks for a second factor", "pm.expect(pm.response.json()).to.deep.include({factorRequired: true, factors: ['totp', 'recovery_code']})")
	hasNoUser         = check("does not reveal the account", "pm.expect(pm.response.json()).to.not.have.property('user')")
)

// logInWithPassword returns a request for a login that needs a second factor.
func logInWithPassword(name string) request {
	return request{
		name:        name,
		route:       "POST /auth/login",
		description: "The password is right, but the account needs a second factor. The cookie `mfa` identifies the login that waits for it, for five minutes.",
		body: []field{
			{"email", "{{email}}"},
			{"password", "{{currentPassword}}"},
		},
		checks: []script{
			status(200),
			message("Second factor required"),
			needsFactor,
			hasNoUser,
			check("there is no session", "pm.expect("+sessionCookie+").to.be.undefined"),
		},
	}
}

var logOut = request{
	name:   "Log out",
	route:  "POST /auth/logout",
	checks: []script{status(200), message("Logout successful")},
}

// named returns a request under another name.
func (r request) named(name string) request {
	r.name = name

	return r
}

var secondFactors = folder{
	name: "Second factors",
	description: "An authenticator app, and recovery codes for users who have lost it. Needs a server with `DATA_KEY`. " +
		"The scripts before the requests compute the codes of the app.",
	requests: append(append(enrolment, factorLogin...), factorChanges...),
}

var enrolment = []request{
	{
		name:        "List my second factors",
		route:       "GET /auth/factors",
		description: "Authenticator apps, and the number of recovery codes left.",
		checks: []script{
			status(200),
			check("there are none", "pm.expect(pm.response.json()).to.eql({factors: [], recoveryCodes: 0})"),
		},
	},
	{
		name:        "Add an authenticator app",
		route:       "POST /auth/totp",
		description: "Returns the secret as text, as an `otpauth:` URI and as a QR code. It takes effect when a code confirms it within ten minutes. Needs a login or a step-up within the last ten minutes.",
		body:        []field{},
		checks: []script{
			status(200),
			"const begun = pm.response.json();",
			check("has a QR code", "pm.expect(begun.qrCode).to.match(/^<svg /)"),
			check("the URI has the secret", "pm.expect(begun.uri).to.include('secret=' + begun.secret)"),
			save("factorId", "begun.id"),
			save("totpSecret", "begun.secret"),
		},
	},
	{
		name:        "Confirm the app with a wrong code",
		route:       "POST /auth/totp/{{factorId}}/confirm",
		description: "If the code is right for another time, the field error is `wrong_clock`.",
		body:        []field{{"code", "not a code"}},
		checks: []script{
			status(400),
			problem("wrong_code"),
			invalidField("code", "wrong_code"),
		},
	},
	{
		name:        "Confirm the app",
		route:       "POST /auth/totp/{{factorId}}/confirm",
		description: "All other sessions end, and this one has a new cookie. The response contains recovery codes if the account has none left. They are never shown again.",
		body: []field{
			{"code", "{{code}}"},
			{"name", "Phone"},
		},
		before: []script{computeCode(0)},
		checks: []script{
			status(200),
			message("Authenticator app added"),
			hasRecoveryCodes,
			saveRecoveryCodes,
			saveSession,
			renewsCookie,
			saveCookie,
		},
	},
	{
		name:  "Rename the app",
		route: "PUT /auth/factors/{{factorId}}",
		body:  []field{{"name", "Old phone"}},
		checks: []script{
			status(200),
			check("has the new name", "pm.expect(pm.response.json().factor).to.include({id: pm.variables.get('factorId'), type: 'totp', name: 'Old phone'})"),
		},
	},
}

var factorLogin = []request{
	logOut,
	logInWithPassword("Log in with the password"),
	{
		name:        "Get the pending login",
		route:       "GET /auth/login/factor",
		description: "For a page that asks for the code.",
		checks: []script{
			status(200),
			check("lists the second factors", "pm.expect(pm.response.json().factors).to.eql(['totp', 'recovery_code'])"),
		},
	},
	{
		name:        "Get my account before the second factor",
		route:       "GET /auth/me",
		description: "A login that waits is not a session.",
		checks:      []script{status(401), loggedOut},
	},
	{
		name:   "Cancel the login",
		route:  "DELETE /auth/login/factor",
		checks: []script{status(204)},
	},
	{
		name:   "Get the cancelled login",
		route:  "GET /auth/login/factor",
		checks: []script{status(401), problem("no_pending_login")},
	},
	logInWithPassword("Log in with the password again"),
	{
		name:        "Log in with a wrong code",
		route:       "POST /auth/login/factor",
		description: "The fifth wrong code ends the login. `serverTime` shows whether the clock of the phone is wrong.",
		body:        []field{{"code", "not a code"}},
		checks: []script{
			status(401),
			problem("wrong_code"),
			invalidField("code", "wrong_code"),
			check("has the time of the server", "pm.expect(Date.parse(pm.response.json().serverTime)).to.be.a('number').and.not.NaN"),
		},
	},
	{
		name:        "Log in with a code",
		route:       "POST /auth/login/factor",
		description: "With `trustDevice`, logins on this device need no code for 30 days.",
		body: []field{
			{"code", "{{code}}"},
			{"trustDevice", true},
		},
		before: []script{computeCode(1)},
		checks: []script{
			status(200),
			message("Login successful"),
			hasCookie,
			hidesPassword,
			saveCookie,
		},
	},
	{
		name:        "Verify the session for a reverse proxy",
		route:       "GET /auth/verify?min=aal2",
		description: "With `min=aal2`, a session without a second factor gets 403 `second_factor_required`.",
		checks: []script{
			status(200),
			check("has level aal2", "pm.expect(pm.response.headers.get('X-Auth-Level')).to.eql('aal2')"),
			check("has the methods", "pm.expect(pm.response.headers.get('X-Auth-Methods')).to.eql('pwd,otp')"),
		},
	},
	{
		name:  "List my trusted devices",
		route: "GET /auth/devices",
		checks: []script{
			status(200),
			"const devices = pm.response.json().devices;",
			check("this device is trusted", "pm.expect(devices.map(d => d.current)).to.eql([true])"),
			save("deviceId", "devices[0].id"),
		},
	},
	{
		name:   "Stop trusting this device",
		route:  "DELETE /auth/devices/{{deviceId}}",
		checks: []script{status(204)},
	},
}

var factorChanges = []request{
	logOut.named("Log out again"),
	logInWithPassword("Log in on a device that is no longer trusted"),
	{
		name:        "Log in with a recovery code",
		route:       "POST /auth/login/factor",
		description: "Each code works once, and the owner receives an email.",
		body:        []field{{"recoveryCode", "{{recoveryCode}}"}},
		before:      []script{takeRecoveryCode},
		checks: []script{
			status(200),
			message("Login successful"),
			hasCookie,
			saveCookie,
		},
	},
	{
		name:        "Create new recovery codes",
		route:       "POST /auth/recovery-codes",
		description: "The old ones no longer work.",
		body:        []field{},
		checks:      []script{status(200), hasRecoveryCodes, saveRecoveryCodes},
	},
	{
		name:        "Step up with a recovery code",
		route:       "POST /auth/step-up",
		description: "Changes of the second factors need the password and a second factor within the last ten minutes. `methods` of a 403 `step_up_required` lists what is missing.",
		body: []field{
			{"password", "{{currentPassword}}"},
			{"recoveryCode", "{{recoveryCode}}"},
		},
		before: []script{takeRecoveryCode},
		checks: []script{
			status(200),
			message("Identity confirmed"),
			renewsCookie,
			saveCookie,
		},
	},
	{
		name:        "Remove the app",
		route:       "DELETE /auth/factors/{{factorId}}",
		description: "With the last app, the recovery codes are removed, too. All other sessions end, and this one has a new cookie.",
		checks: []script{
			status(204),
			renewsCookie,
			saveCookie,
		},
	},
	{
		name:  "List my second factors after the removal",
		route: "GET /auth/factors",
		checks: []script{
			status(200),
			check("there are none", "pm.expect(pm.response.json()).to.eql({factors: [], recoveryCodes: 0})"),
		},
	},
}
