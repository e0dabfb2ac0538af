package main

var linkedAccounts = folder{
	name:        "Linked accounts",
	description: "Signing in with a provider needs a browser: open {{baseUrl}}/auth/google there, if Google is configured.",
	requests: []request{
		{
			name:        "Get the public configuration",
			route:       "GET /auth/config",
			description: "Who may register, whether emails are sent, the providers, the password rules and the languages. No authentication required.",
			checks: []script{
				status(200),
				check("reports who may register", "pm.expect(pm.response.json().registration).to.be.oneOf(['open', 'invite', 'closed'])"),
			},
		},
		{
			name:        "List the providers",
			route:       "GET /auth/providers",
			description: "The configured providers, for the buttons on a login page. No authentication required.",
			checks: []script{
				status(200),
				check("is a list", "pm.expect(pm.response.json().providers).to.be.an('array')"),
			},
		},
		{
			name:        "List my sign-in methods",
			route:       "GET /auth/identities",
			description: "The password and the linked accounts.",
			checks: []script{
				status(200),
				check("has a password", "pm.expect(pm.response.json().hasPassword).to.eql(true)"),
				check("has no linked account", "pm.expect(pm.response.json().identities).to.eql([])"),
			},
		},
		{
			name:        "Link an account of an unknown provider",
			route:       "POST /auth/identities/unknown",
			description: "For a configured provider, the response has the URL to open.",
			body:        []field{{"returnTo", "/"}},
			checks:      []script{status(404), problem("not_found")},
		},
		{
			name:        "Unlink an account that is not linked",
			route:       "DELETE /auth/identities/unknown",
			description: "The last way to sign in cannot be removed (409 `last_login_method`).",
			checks:      []script{status(404), problem("not_found")},
		},
		{
			name:        "Set a first password",
			route:       "POST /auth/password/set",
			description: "For users who signed up with a provider. This account has a password already.",
			body:        []field{{"newPassword", "{{$randomUUID}}"}},
			checks:      []script{status(409), problem("password_exists")},
		},
	},
}

var activity = folder{
	name:        "Activity",
	description: "The security events of the account, for its owner to review.",
	requests: []request{
		{
			name:        "List the events",
			route:       "GET /auth/activity",
			description: "Newest first, 50 per page. `next` is present if there are more. Each event has its time, IP, device and session.",
			checks: []script{
				status(200),
				"const events = pm.response.json().events;\nconst names = events.map(e => e.event);",
				check("are sorted, newest first", `{
  const times = events.map(e => Date.parse(e.at));
  pm.expect(times).to.eql([...times].sort((a, b) => b - a));
  pm.expect(names.indexOf('password_changed')).to.be.below(names.indexOf('step_up'));
  pm.expect(names[names.length - 1]).to.eql('registered');
}`),
				check("include what this collection did", "pm.expect(names).to.include.members(['registered', 'login', 'login_failed', 'logout', 'session_rotated', 'sessions_revoked', 'profile_updated', 'step_up', 'step_up_failed', 'password_changed', 'password_change_failed'])"),
				"if (pm.variables.get('mailUrl')) {",
				indent(check("include what it did with emails", "pm.expect(names).to.include.members(['email_verify_requested', 'email_verified', 'password_reset', 'email_change_requested', 'email_changed'])")),
				"}",
				check("mark the login on a new device", "pm.expect(events.filter(e => e.newDevice).map(e => e.device)).to.eql(['Firefox 140 on Linux'])"),
				check("have an ID and an IP", "events.forEach(e => { pm.expect(e.id).to.match(/^[0-9a-f]{24}$/); pm.expect(e.ip).to.be.a('string').and.not.empty; })"),
				check("reveal neither secrets nor emails", "['password', 'newPassword', 'token', 'otherToken', 'linkToken', 'email'].map(name => pm.variables.get(name)).filter(s => s).forEach(s => pm.expect(pm.response.text()).to.not.include(s))"),
				save("eventId", "events[0].id"),
				save("eventIdBefore", "events[1].id"),
			},
		},
		{
			name:        "List earlier events",
			route:       "GET /auth/activity?before={{eventId}}",
			description: "Continues after an event. Use `next` of a page to get the following page.",
			checks: []script{
				status(200),
				check("starts with the next event", "pm.expect(pm.response.json().events[0].id).to.eql(pm.variables.get('eventIdBefore'))"),
			},
		},
	},
}

var accountDeletion = folder{
	name:        "Delete the account",
	description: "This cannot be undone, so it requires a login or a step-up within the last ten minutes.",
	requests: []request{
		{
			name:        "Delete the account",
			route:       "DELETE /profile",
			description: "Removes the account and all of its sessions, and frees the email. The device cookie stays, since other accounts may use the browser.",
			checks: []script{
				status(204),
				check("has no body", "pm.expect(pm.response.text()).to.be.empty"),
				check("clears the session cookie", "pm.expect(pm.response.headers.get('Set-Cookie')).to.match(new RegExp(`^${pm.variables.get('cookieName')}=;.*Max-Age=0`))"),
				check("the cookie is gone", "pm.expect(pm.cookies.has(pm.variables.get('cookieName'))).to.be.false"),
				check("clears the storage of the site", `pm.expect(pm.response.headers.get('Clear-Site-Data')).to.include('"storage"')`),
			},
		},
		{
			name:           "Get my session with the old cookie",
			route:          "GET /auth/session",
			description:    "A copy of the cookie is worthless.",
			headers:        []header{{"Cookie", "{{cookieName}}={{token}}"}},
			withoutCookies: true,
			checks: []script{
				status(401),
				notSignedIn,
				loggedOut,
				endedBecause("account_deleted"),
			},
		},
		{
			name:        "Log in",
			route:       "POST /auth/login",
			description: "The same response as for a wrong password: it does not reveal that there was an account.",
			body: []field{
				{"email", "{{email}}"},
				{"password", "{{password}}"},
			},
			checks: []script{
				status(401),
				problem("invalid_credentials"),
				message("Invalid credentials"),
			},
		},
		lastMail(),
	},
}

// lastMail returns the request for the email about the deletion.
func lastMail() request {
	r := readMail("Read the notification", "The last email to this account.",
		newest("mail", "email", subjectDeleted), "mail",
		check("has arrived", "pm.expect(mail).to.be.an('object')"),
	)
	r.before = []script{skipWithoutMail}

	return r
}
