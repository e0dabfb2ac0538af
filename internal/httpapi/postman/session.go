package main

var currentSession = folder{
	name: "Signed in",
	requests: []request{
		{
			name:  "Get my account",
			route: "GET /auth/me",
			checks: []script{
				status(200),
				hidesPassword,
				check("is the registered user", "pm.expect(pm.response.json().user).to.include({id: pm.variables.get('userId'), email: pm.variables.get('email')})"),
			},
		},
		{
			name:  "Get my session",
			route: "GET /auth/session",
			checks: []script{
				status(200),
				check("is authenticated", "pm.expect(pm.response.json()).to.include({authenticated: true, userId: pm.variables.get('userId')})"),
				hidesToken,
				saveSession,
			},
		},
		{
			name:        "Verify the session for a reverse proxy",
			route:       "GET /auth/verify",
			description: "Answers `auth_request` of nginx and similar checks. The headers identify the user.",
			checks: []script{
				status(200),
				check("headers identify the user and the session", "{\n"+
					"  pm.expect(pm.response.headers.get('X-Auth-User-Id')).to.match(/^[0-9a-f]{24}$/);\n"+
					"  pm.expect(pm.response.headers.get('X-Auth-Session-Id')).to.have.lengthOf(45);\n"+
					"}"),
			},
		},
		{
			name:  "Rotate the session",
			route: "POST /auth/rotate-session",
			checks: []script{
				status(200),
				message("Session rotated"),
				"const session = pm.response.json();",
				check("the session has a new ID", "{ pm.expect(session.oldSessionId).to.eql(pm.variables.get('sessionId')); pm.expect(session.sessionId).to.not.eql(session.oldSessionId); }"),
				saveSession,
			},
		},
		{
			name:   "Get my session after the rotation",
			route:  "GET /auth/session",
			checks: []script{status(200), sessionIsCurrent},
		},
		{
			name:  "List my sessions",
			route: "GET /auth/sessions",
			checks: []script{
				status(200),
				"const sessions = pm.response.json().sessions;",
				check("marks the current session", "pm.expect(sessions.filter(s => s.current).map(s => s.id)).to.eql([pm.variables.get('sessionId')])"),
				check("names the device of each session", "sessions.forEach(s => pm.expect(s.device).to.be.a('string').and.not.empty)"),
			},
		},
		{
			name:   "End a session that is not mine",
			route:  "DELETE /auth/sessions/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
			checks: []script{status(404), problem("not_found")},
		},
		{
			name:  "End my other sessions",
			route: "DELETE /auth/sessions",
			checks: []script{
				status(200),
				check("there were none", "pm.expect(pm.response.json().revoked).to.eql(0)"),
			},
		},
		{
			name:   "Get my profile",
			route:  "GET /profile",
			checks: []script{status(200), hidesPassword},
		},
		{
			name:  "Change my name",
			route: "PUT /profile",
			body:  []field{{"name", "John D."}},
			checks: []script{
				status(200),
				message("Profile updated"),
				check("has the new name", "pm.expect(pm.response.json().user.name).to.eql('John D.')"),
			},
		},
		{
			name:  "Change the language of my emails",
			route: "PUT /profile",
			body:  []field{{"locale", "de-at"}},
			checks: []script{
				status(200),
				message("Profile updated"),
				check("has the language in its canonical form", "pm.expect(pm.response.json().user.locale).to.eql('de-AT')"),
			},
		},
		{
			name:   "Change my language to one that is not available",
			route:  "PUT /profile",
			body:   []field{{"locale", "tlh"}},
			checks: []script{status(400), problem("validation_failed")},
		},
		{
			name:  "Change my language back",
			route: "PUT /profile",
			body:  []field{{"locale", "en"}},
			checks: []script{
				status(200),
				check("has the language", "pm.expect(pm.response.json().user.locale).to.eql('en')"),
			},
		},
		{
			name:  "Change a field that is read-only",
			route: "PUT /profile",
			body: []field{
				{"name", "John D."},
				{"isActive", true},
			},
			checks: []script{status(400), problem("validation_failed")},
		},
	},
}

var sessionIsCurrent = check("is the new session", "pm.expect(pm.response.json().sessionId).to.eql(pm.variables.get('sessionId'))")

var stepUp = folder{
	name: "Step up",
	description: "Someone who finds an unlocked browser must not be able to take over the account. " +
		"Changing the email and deleting the account therefore require a login or a step-up within the last ten minutes (`STEP_UP_MAX_AGE`). " +
		"Otherwise the response is 403 `step_up_required`.",
	requests: []request{
		{
			name:        "Get my session before the step-up",
			route:       "GET /auth/session",
			description: "`authenticatedAt` is the time of the last login or step-up.",
			checks: []script{
				status(200),
				"const session = pm.response.json();",
				check("reports when and how the user authenticated", "{ pm.expect(Date.parse(session.authenticatedAt)).to.be.a('number').and.not.NaN; pm.expect(session.methods.map(m => m.method)).to.eql(['pwd']); }"),
				saveSession,
				save("authenticatedAt", "session.authenticatedAt"),
			},
		},
		{
			name:        "Step up with a wrong password",
			route:       "POST /auth/step-up",
			description: "The code differs from the one of an ended session: a typo must not log the user out.",
			body:        []field{{"password", "wrong password"}},
			checks: []script{
				status(401),
				problem("wrong_password"),
				invalidField("password", "wrong_password"),
				hasMessage,
				keepsCookie,
			},
		},
		{
			name:        "Step up",
			route:       "POST /auth/step-up",
			description: "The session continues under a new ID with a new cookie, as after every change of privilege.",
			body:        []field{{"password", "{{password}}"}},
			checks: append(
				[]script{
					status(200),
					message("Identity confirmed"),
				},
				renewsSession()...,
			),
		},
		{
			name:        "Get my session after the step-up",
			route:       "GET /auth/session",
			description: "It has the values that the step-up returned.",
			checks: []script{
				status(200),
				sessionIsCurrent,
				check("authenticatedAt is the new time", "pm.expect(pm.response.json().authenticatedAt).to.eql(pm.variables.get('authenticatedAt'))"),
			},
		},
	},
}
