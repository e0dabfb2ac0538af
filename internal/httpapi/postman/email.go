package main

// The subjects of the emails that the collection reads.
const (
	subjectConfirm         = "Confirm your email address for Latchkey"
	subjectConfirmNew      = "Confirm your new email address for Latchkey"
	subjectEmailChanging   = "Your Latchkey email address is about to change"
	subjectEmailChanged    = "Your Latchkey email address was changed"
	subjectReset           = "Reset your Latchkey password"
	subjectPasswordChanged = "Your Latchkey password was changed" //nolint:gosec // not a password
	subjectDeleted         = "Your Latchkey account was deleted"
)

var emailVerification = folder{
	name: "Confirm the email",
	description: "After the registration, the server sends an email with a link. The page behind the link sends the token to the API; here, the collection does. " +
		"It reads the emails from `mailUrl`.",
	before: []script{skipWithoutMail},
	requests: []request{
		readMail("Read the email of the registration", "The outbox of the dev server as JSON, newest email first.",
			newest("mail", "email", subjectConfirm), "mail",
			check("has arrived", "pm.expect(mail).to.be.an('object')"),
			saveLink("mail", "oldLinkToken"),
			save("mailId", "mail.id"),
			save("mailAt", "mail.at"),
		),
		{
			name:  "Send the link again",
			route: "POST /auth/email/resend",
			description: "For users who lost the email. The server sends at most one such email per `MAIL_INTERVAL` (one second on the dev server), so this request waits for the rest of that second. " +
				"The response is the same if the server sends nothing, or if the email is confirmed already.",
			before: []script{"setTimeout(() => {}, Math.min(1200, Math.max(0, Date.parse(pm.variables.get('mailAt')) + 1200 - Date.now())));"},
			checks: []script{
				status(202),
				hasMessage,
				limitedByBoth,
			},
		},
		readMail("Read the new email", "The one after the email of the registration.",
			newest("mail", "email", subjectConfirm), "mail && mail.id !== pm.variables.get('mailId')",
			check("has arrived", "pm.expect(mail.id).to.not.eql(pm.variables.get('mailId'))"),
			saveLink("mail", "linkToken"),
			check("the link is a new one", "pm.expect(pm.variables.get('linkToken')).to.not.eql(pm.variables.get('oldLinkToken'))"),
		),
		{
			name:        "Use the link of the first email",
			route:       "POST /auth/email/verify",
			description: "A new link replaces the earlier ones.",
			body:        []field{{"token", "{{oldLinkToken}}"}},
			checks:      []script{status(400), problem("invalid_token")},
		},
		{
			name:        "Confirm the email",
			route:       "POST /auth/email/verify",
			description: "The token follows `#token=` in the link. No session is required: people read their email on other devices, too.",
			body:        []field{{"token", "{{linkToken}}"}},
			checks: []script{
				status(200),
				message("Email verified"),
				check("sets no cookie", "pm.expect(pm.response.headers.has('Set-Cookie')).to.be.false"),
				limitedByIP,
			},
		},
		{
			name:        "Use the same link again",
			route:       "POST /auth/email/verify",
			description: "Each link works once.",
			body:        []field{{"token", "{{linkToken}}"}},
			checks: []script{
				status(400),
				problem("invalid_token"),
				hasMessage,
			},
		},
		{
			name:  "Get my account after the confirmation",
			route: "GET /auth/me",
			checks: []script{
				status(200),
				check("the email is confirmed", "pm.expect(pm.response.json().user.emailVerified).to.be.true"),
			},
		},
	},
}

var emailChange = folder{
	name:        "Change the email",
	description: "Nothing changes until the owner of the new email confirms it. The change requires a login or a step-up within the last ten minutes.",
	before:      []script{skipWithoutMail},
	requests: []request{
		{
			name:  "Change the email to the current one",
			route: "POST /auth/email/change",
			body:  []field{{"email", "{{email}}"}},
			checks: []script{
				status(400),
				problem("validation_failed"),
				invalidField("email", "unchanged"),
			},
		},
		{
			name:        "Request the change",
			route:       "POST /auth/email/change",
			description: "The new email receives a link, and the current one a notification. The response does not reveal whether another account uses the new email.",
			body:        []field{{"email", "{{newEmail}}"}},
			before:      []script{save("newEmail", "'new.' + pm.variables.get('email')")},
			checks: []script{
				status(202),
				hasMessage,
				limitedByBoth,
			},
		},
		{
			name:  "Get my session before the confirmation",
			route: "GET /auth/session",
			checks: []script{
				status(200),
				check("the email is unchanged", "pm.expect(pm.response.json().email).to.eql(pm.variables.get('email'))"),
				saveSession,
			},
		},
		readMail("Read both emails", "Only the one to the new email address has the link.",
			newest("link", "newEmail", subjectConfirmNew)+"\n"+newest("notice", "email", subjectEmailChanging), "link && notice",
			check("both have arrived", "{ pm.expect(link).to.be.an('object'); pm.expect(notice).to.be.an('object'); }"),
			saveLink("link", "linkToken"),
			check("the notification names the new email address", "{ pm.expect(notice.text).to.include(pm.variables.get('newEmail')); pm.expect(notice.text).to.not.include('token='); }"),
		),
		{
			name:        "Confirm the new email",
			route:       "POST /auth/email/verify",
			description: "All sessions of the account end with the reason `email_changed`, except the one that sends this request: it continues with a new cookie.",
			body:        []field{{"token", "{{linkToken}}"}},
			checks: []script{
				status(200),
				message("Email changed"),
				renewsCookie,
				hidesToken,
				saveCookie,
			},
		},
		{
			name:        "Use the same link again",
			route:       "POST /auth/email/verify",
			description: "Each link works once. A second use changes nothing.",
			body:        []field{{"token", "{{linkToken}}"}},
			checks: []script{
				status(400),
				problem("invalid_token"),
				keepsCookie,
			},
		},
		{
			name:        "Get my session after the change",
			route:       "GET /auth/session",
			description: "The same session under a new ID.",
			checks: []script{
				status(200),
				"const session = pm.response.json();",
				check("has the new email", "pm.expect(session.email).to.eql(pm.variables.get('newEmail'))"),
				check("the session has a new ID", "pm.expect(session.sessionId).to.not.eql(pm.variables.get('sessionId'))"),
				saveSession,
			},
		},
		readMail("Read the notifications", "One goes to the old email address and one to the new one.",
			"const recipients = pm.response.json().filter(m => m.subject === '"+subjectEmailChanged+"').map(m => m.to);\n"+
				"const both = [pm.variables.get('email'), pm.variables.get('newEmail')];",
			"both.every(to => recipients.includes(to))",
			check("both have arrived", "pm.expect(recipients).to.include.members(both)"),
			save("email", "pm.variables.get('newEmail')"),
		),
	},
}
