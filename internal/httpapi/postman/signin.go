package main

var health = folder{
	name: "Health",
	requests: []request{
		{
			name:   "Liveness",
			route:  "GET /healthz",
			checks: []script{status(200)},
		},
		{
			name:  "Readiness",
			route: "GET /readyz",
			checks: []script{
				status(200),
				check("both stores are up", "pm.expect(pm.response.json().stores).to.eql({redis: 'ok', mongodb: 'ok'})"),
			},
		},
	},
}

var documents = folder{
	name:        "Documentation",
	description: "The documentation page and the documents behind it.",
	requests: []request{
		{
			name:        "Documentation page",
			route:       "GET /docs",
			description: "Made for a browser: open {{baseUrl}}/docs.",
			checks: []script{
				status(200),
				check("is a page", "pm.expect(pm.response.headers.get('Content-Type')).to.include('text/html')"),
			},
		},
		{
			name:        "OpenAPI document",
			route:       "GET /openapi.json",
			description: "Generate a typed client from it.",
			checks: []script{
				status(200),
				check("describes the login", "pm.expect(pm.response.json().paths['/auth/login'].post).to.be.an('object')"),
			},
		},
		{
			name:        "This collection",
			route:       "GET /postman.json",
			description: "The version that matches the server.",
			checks: []script{
				status(200),
				check("is a collection", "pm.expect(pm.response.json().info.name).to.eql('Latchkey')"),
			},
		},
		{
			name:        "JavaScript client",
			route:       "GET /client.js",
			description: "A module that pages of any origin can import.",
			checks: []script{
				status(200),
				check("is a script", "pm.expect(pm.response.headers.get('Content-Type')).to.include('text/javascript')"),
				check("can be imported from other origins", "pm.expect(pm.response.headers.get('Access-Control-Allow-Origin')).to.eql('*')"),
			},
		},
		{
			name:        "Types of the client",
			route:       "GET /client.d.ts",
			description: "For a copy of the client in a project with TypeScript.",
			checks: []script{
				status(200),
				check("has the login", "pm.expect(pm.response.text()).to.include('login(args: LoginRequest')"),
			},
		},
	},
}

var signedOut = folder{
	name: "Signed out",
	requests: []request{
		{
			name:   "Get my account",
			route:  "GET /auth/me",
			before: []script{clearCookies},
			checks: []script{
				status(401),
				loggedOut,
				problem("not_authenticated"),
			},
		},
		{
			name:   "Get my session",
			route:  "GET /auth/session",
			checks: []script{status(401), notSignedIn},
		},
		{
			name:        "Log in from a foreign origin",
			route:       "POST /auth/login",
			description: "Only pages of FRONTEND_URL may change anything.",
			headers:     []header{{"Origin", "https://evil.example"}},
			body:        []field{},
			checks:      []script{status(403), problem("cross_origin_denied")},
		},
	},
}

var registration = folder{
	name: "Register",
	requests: []request{
		{
			name:  "Register with a short password",
			route: "POST /auth/register",
			body: []field{
				{"name", "John Doe"},
				{"email", "john@example.com"},
				{"password", "short"},
			},
			checks: []script{
				status(400),
				problem("validation_failed"),
				invalidField("password", "too_short"),
			},
		},
		{
			name:  "Register",
			route: "POST /auth/register",
			body: []field{
				{"name", "John Doe"},
				{"email", "{{email}}"},
				{"password", "{{password}}"},
			},
			before: []script{
				save("email", "`john+${Date.now()}@example.com`"),
				save("tries", "0"),
			},
			checks: []script{
				status(201),
				message("Registration successful"),
				hasCookie,
				hidesPassword,
				save("userId", "pm.response.json().user.id"),
			},
		},
		{
			name:  "Register with the same email again",
			route: "POST /auth/register",
			body: []field{
				{"name", "John Doe"},
				{"email", "{{email}}"},
				{"password", "{{password}}"},
			},
			checks: []script{
				status(409),
				message("Email already registered"),
				problem("email_taken"),
				invalidField("email", "email_taken"),
			},
		},
	},
}

var loginAndLogout = folder{
	name: "Log in and out",
	requests: []request{
		{
			name:  "Log in with a wrong password",
			route: "POST /auth/login",
			body: []field{
				{"email", "{{email}}"},
				{"password", "wrong password"},
			},
			checks: []script{
				status(401),
				message("Invalid credentials"),
				problem("invalid_credentials"),
			},
		},
		{
			name:        "Get my session",
			route:       "GET /auth/session",
			description: "A failed login leaves the current session alone.",
			checks:      []script{status(200)},
		},
		{
			name:  "Log in",
			route: "POST /auth/login",
			body: []field{
				{"email", "{{email}}"},
				{"password", "{{password}}"},
			},
			checks: []script{
				status(200),
				message("Login successful"),
				hasCookie,
				hidesPassword,
				saveCookie,
			},
		},
		{
			name:  "Log out",
			route: "POST /auth/logout",
			checks: []script{
				status(200),
				message("Logout successful"),
				clearsCookie,
			},
		},
		{
			name:   "Get my account after the logout",
			route:  "GET /auth/me",
			checks: []script{status(401), loggedOut},
		},
		{
			name:        "Get my account with the old cookie",
			route:       "GET /auth/me",
			description: "The session has ended on the server, so a copy of its cookie is worthless.",
			headers:     []header{{"Cookie", "{{cookieName}}={{token}}"}},
			checks: []script{
				status(401),
				loggedOut,
				endedBecause("logged_out"),
			},
		},
	},
}

var devicesAndLimits = folder{
	name: "Devices and rate limits",
	description: "Logging in also sets a `device` cookie, which identifies a browser that this account has used before. It does not grant access.\n\n" +
		"Requests that try a password, send an email or use a link are rate-limited, and their responses report what is left. " +
		"Beyond the limit the response is 429 with `Retry-After`. This collection stays well below it; run `RATE_LIMIT=3/60s go run ./cmd/dev` to see it.",
	requests: []request{
		{
			name:  "Log in on a known device",
			route: "POST /auth/login",
			description: "The browser sends its `device` cookie, so the attempt counts only against the limit of this device. " +
				"Strangers who guess passwords cannot lock the owner out. In `RateLimit`, `r` is the number of attempts left and `t` the number of seconds until all are available again. " +
				"`RateLimit-Policy` allows `q` attempts in `w` seconds.",
			body: []field{
				{"email", "{{email}}"},
				{"password", "{{password}}"},
			},
			checks: []script{
				status(200),
				message("Login successful"),
				limitedByKnown,
				check("keeps the device cookie", "pm.expect(pm.cookies.has('device') || pm.cookies.has('__Host-device')).to.be.true"),
				saveCookie,
			},
		},
		{
			name:  "Log in on a new device",
			route: "POST /auth/login",
			description: "This request does not send the cookies of the jar, so the attempt counts against the limits of the client's IP and of the account. " +
				"The owner receives an email about the new device. Later requests use this second session.",
			headers: []header{{"User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}},
			body: []field{
				{"email", "{{email}}"},
				{"password", "{{password}}"},
			},
			withoutCookies: true,
			checks: []script{
				status(200),
				limitedByBoth,
				check("reports the policies", `pm.expect(pm.response.headers.get('RateLimit-Policy')).to.match(/^"ip";q=\d+;w=\d+, "account";q=\d+;w=\d+$/)`),
				`const cookies = pm.response.headers.filter(h => h.key.toLowerCase() === 'set-cookie').map(h => h.value);
const start = pm.variables.get('cookieName') + '=';
pm.test('sets the session cookie and the device cookie', () => {
  pm.expect(cookies.filter(c => c.startsWith(start))).to.have.lengthOf(1);
  pm.expect(cookies.filter(c => /^(__Host-)?device=/.test(c))).to.have.lengthOf(1);
  pm.collectionVariables.set('otherToken', cookies.find(c => c.startsWith(start)).split(';')[0].slice(start.length));
});`,
				check("scripts cannot read the cookies", "cookies.forEach(c => pm.expect(c).to.include('HttpOnly'))"),
			},
		},
	},
}
