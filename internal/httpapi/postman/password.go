package main

var passwordChange = folder{
	name:        "Change the password",
	description: "For users who are signed in and know their current password.",
	requests: []request{
		{
			name:        "Change the password with a wrong current password",
			route:       "POST /auth/password/change",
			description: "Nothing changes, and the session stays.",
			body: []field{
				{"currentPassword", "wrong password"},
				{"newPassword", "{{newPassword}}"},
			},
			checks: []script{
				status(401),
				problem("wrong_password"),
				invalidField("currentPassword", "wrong_password"),
				keepsCookie,
			},
		},
		{
			name:  "Change the password to the current one",
			route: "POST /auth/password/change",
			description: "A rejected password is `weak_password`, and `errors` has the reason: `unchanged`, `common`, `personal`, `breached` or `invalid`. " +
				"A password that is too short is `validation_failed`.",
			body: []field{
				{"currentPassword", "{{password}}"},
				{"newPassword", "{{password}}"},
			},
			checks: []script{
				status(400),
				problem("weak_password"),
				invalidField("newPassword", "unchanged"),
				keepsCookie,
			},
		},
		{
			name:        "Change the password",
			route:       "POST /auth/password/change",
			description: "This session continues with a new cookie, all other sessions of the account end, and the owner receives an email.",
			body: []field{
				{"currentPassword", "{{password}}"},
				{"newPassword", "{{newPassword}}"},
			},
			checks: append(
				[]script{
					status(200),
					message("Password changed"),
					save("currentPassword", "pm.variables.get('newPassword')"),
				},
				renewsSession()...,
			),
		},
		{
			name:        "List my sessions after the change",
			route:       "GET /auth/sessions",
			description: "All other devices are signed out.",
			checks: []script{
				status(200),
				check("only this session is left", "pm.expect(pm.response.json().sessions.map(s => s.id)).to.eql([pm.variables.get('sessionId')])"),
			},
		},
		{
			name:           "Get my account on the other device",
			route:          "GET /auth/me",
			description:    "Sends the cookie of the login on the new device.",
			headers:        []header{{"Cookie", "{{cookieName}}={{otherToken}}"}},
			withoutCookies: true,
			checks: []script{
				status(401),
				loggedOut,
				endedBecause("password_changed"),
			},
		},
		{
			name:        "Log in with the old password",
			route:       "POST /auth/login",
			description: "It no longer works. A failed login leaves the current session alone.",
			body: []field{
				{"email", "{{email}}"},
				{"password", "{{password}}"},
			},
			checks: []script{
				status(401),
				problem("invalid_credentials"),
				keepsCookie,
			},
		},
	},
}

var passwordReset = folder{
	name:        "Reset a forgotten password",
	description: "For users who cannot log in but can read their email.",
	before:      []script{skipWithoutMail},
	requests: []request{
		{
			name:        "Forgot password, unknown email",
			route:       "POST /auth/password/forgot",
			description: "The response does not reveal whether the email has an account.",
			body:        []field{{"email", "nobody.{{email}}"}},
			checks: []script{
				status(202),
				hasMessage,
				limitedByIP,
				save("answer", "pm.response.text()"),
			},
		},
		{
			name:        "Forgot password",
			route:       "POST /auth/password/forgot",
			description: "The same response in the same time. Only the owner of the mailbox learns more.",
			body:        []field{{"email", "{{email}}"}},
			checks: []script{
				status(202),
				check("the response is the same", "pm.expect(pm.response.text()).to.eql(pm.variables.get('answer'))"),
			},
		},
		readMail("Read the email with the link", "It goes to the owner of the account, and to nobody else.",
			newest("mail", "email", subjectReset), "mail",
			check("has arrived", "pm.expect(mail).to.be.an('object')"),
			saveLink("mail", "linkToken"),
			check("the unknown email gets none", "pm.expect(pm.response.json().some(m => m.to === 'nobody.' + pm.variables.get('email'))).to.be.false"),
		),
		{
			name:        "Reset the password to my email",
			route:       "POST /auth/password/reset",
			description: "Rejected, and the link still works.",
			body: []field{
				{"token", "{{linkToken}}"},
				{"password", "{{email}}"},
			},
			checks: []script{
				status(400),
				problem("weak_password"),
				invalidField("password", "personal"),
			},
		},
		{
			name:        "Reset the password",
			route:       "POST /auth/password/reset",
			description: "All sessions of the account end. No session begins: access to a mailbox alone does not sign anyone in. This sets the password of the registration again.",
			body: []field{
				{"token", "{{linkToken}}"},
				{"password", "{{password}}"},
			},
			checks: []script{
				status(200),
				hasMessage,
				save("currentPassword", "pm.variables.get('password')"),
				check("does not begin a session", "pm.expect(pm.response.headers.get('Set-Cookie') ?? '').not.to.match(/sid=[^;]/)"),
			},
		},
		{
			name:        "Use the same link again",
			route:       "POST /auth/password/reset",
			description: "Each link works once.",
			body: []field{
				{"token", "{{linkToken}}"},
				{"password", "{{newPassword}}"},
			},
			checks: []script{status(400), problem("invalid_token")},
		},
		{
			name:        "Get my session after the reset",
			route:       "GET /auth/session",
			description: "It has ended. The response has the reason and clears the cookie.",
			checks: []script{
				status(401),
				notSignedIn,
				endedBecause("password_changed"),
				clearsCookie,
			},
		},
		{
			name:        "Log in with the new password",
			route:       "POST /auth/login",
			description: "The device cookie has survived, so this is still a known device.",
			body: []field{
				{"email", "{{email}}"},
				{"password", "{{password}}"},
			},
			checks: []script{
				status(200),
				message("Login successful"),
				check("recognizes the device", `pm.expect(pm.response.headers.get('RateLimit')).to.match(/^"device";/)`),
				hasCookie,
				saveCookie,
			},
		},
		readMail("Read the notifications", "One about the change and one about the reset, in case it was someone else. Neither contains a token.",
			"const notices = pm.response.json().filter(m => m.to === pm.variables.get('email') && m.subject === '"+subjectPasswordChanged+"');", "notices.length === 2",
			check("both have arrived", "pm.expect(notices).to.have.lengthOf(2)"),
			check("neither contains a link with a token", "notices.forEach(m => pm.expect(m.text).to.not.include('token='))"),
		),
	},
}
