package config

// reference describes every setting, in the order in which people meet them.
// TestReferenceIsComplete compares it with the structs.
var reference = []group{
	{
		title: "Server",
		entries: []entry{
			{
				name:   "APP_ENV",
				kind:   "`production`, `development` or `test`",
				about:  "The environment. Production rejects unsafe settings.",
				active: true,
			},
			{
				name:    "NODE_ENV",
				kind:    "as `APP_ENV`",
				about:   "Used if `APP_ENV` is not set, so that a `.env` file from the NestJS guide works.",
				example: "production",
			},
			{
				name:    "HOST",
				kind:    "host name or IP",
				about:   "Network interface to listen on. Use `localhost` if the proxy is on this machine.",
				derived: "all interfaces",
				example: "localhost",
				active:  true,
			},
			{
				name:   "PORT",
				about:  "Port to listen on. `0` picks a free port.",
				active: true,
			},
			{
				name:    "OPS_ADDR",
				kind:    "host:port",
				about:   "Listen address for metrics, readiness and profiles. It has no authentication: use `127.0.0.1:9090`, or `:9090` behind a network policy. If unset, the listener is off.",
				example: "127.0.0.1:9090",
			},
			{
				name:    "OPS_HOSTS",
				about:   "Host names with a dot that clients such as Prometheus may use to reach `OPS_ADDR`. IPs and names without a dot always work. Other names are refused, because a web page could use them in an operator's browser (DNS rebinding).",
				example: "latchkey.monitoring.svc",
			},
			{
				name:  "DRAIN_TIME",
				about: "How long the server keeps answering after SIGTERM while `/readyz` returns 503. At most one minute.",
			},
			{
				name:  "LOG_LEVEL",
				about: "Least severe level that is logged. `warn` leaves out the line for each request. Successful session checks and probes have a line at `debug` only.",
			},
			{
				name:  "LOG_FORMAT",
				kind:  "`json` or `text`",
				about: "Log format.",
			},
		},
	},
	{
		title: "Your name and languages",
		intro: "Emails and the built-in pages show your product instead of Latchkey.",
		entries: []entry{
			{
				name:    "APP_NAME",
				about:   "Name of your product, at most 50 characters. New passwords must not be too similar to it.",
				example: "Acme",
			},
			{
				name:    "APP_URL",
				kind:    "URL",
				about:   "Website of your product. The name at the top of emails and pages links to it.",
				example: "https://www.example.com",
			},
			{
				name:    "APP_COLOR",
				kind:    "color",
				about:   "Color of buttons as `#rrggbb`; the `#` is optional. The colors of links, of texts on buttons and of dark mode are derived from it so that they are readable.",
				derived: "`#1f5fd0`, a blue",
				example: "1f5fd0",
			},
			{
				name:    "APP_LOGO_URL",
				kind:    "https URL",
				about:   "Image that replaces the name at the top. Emails show it 40 pixels high, and on a light background, even in dark mode. Use PNG or JPEG, because few mail clients show SVG. Many mail clients show images only if the user agrees.",
				example: "https://www.example.com/logo.png",
			},
			{
				name:  "DEFAULT_LOCALE",
				kind:  "language tag",
				about: "Language of emails and pages for users whose own language is unknown or not available. The server has texts in `en`, `de`, `fr`, `es`, `pt`, `it`, `nl`, `pl`, `ja` and `zh-Hans`.",
			},
			{
				name:    "MAIL_TEXTS",
				kind:    "path",
				about:   "Directory with your own texts of emails: `texts.<language>.json` replaces single texts or adds a language, `email.html.tmpl` and `email.txt.tmpl` replace the layout. [EMAILS.md](EMAILS.md) describes the files. The server does not start if they have faults.",
				example: "/etc/latchkey/mail",
			},
		},
	},
	{
		title: "Browsers and proxies",
		entries: []entry{
			{
				name:    "FRONTEND_URL",
				about:   "Origins whose pages may call the API with the cookie, in addition to the API's own origin. Host names and IPs are allowed; production requires https, except for localhost. With `APP_ENV=development` pages on `http://localhost`, `http://127.0.0.1` and `http://[::1]` may call the API on any port.",
				example: "https://app.example.com",
			},
			{
				name:    "TRUSTED_PROXIES",
				about:   "IPs or prefixes (`10.0.0.0/24`) of the reverse proxies in front of the server. Only their `X-Forwarded-*` headers are trusted. List nothing else: a client with a listed IP can pose as any other client. Production needs this or `TLS_CERT_FILE`.",
				example: "127.0.0.1,::1",
				active:  true,
			},
			{
				name:    "TLS_CERT_FILE",
				kind:    "path",
				about:   "PEM certificate, if the server terminates TLS itself. The file is reloaded when it changes.",
				example: "/etc/latchkey/cert.pem",
			},
			{
				name:    "TLS_KEY_FILE",
				kind:    "path",
				about:   "PEM private key of the certificate.",
				example: "/etc/latchkey/key.pem",
			},
			{
				name:    "COOKIE_DOMAIN",
				kind:    "domain",
				about:   "Shares the session cookie with all subdomains. Must not be a public suffix such as `co.uk`. `localhost` counts as unset.",
				example: "example.com",
			},
			{
				name:  "COOKIE_SECURE",
				about: "Whether the cookie is sent over https only. Production requires `true`.",
			},
			{
				name:  "COOKIE_SAME_SITE",
				about: "`SameSite` attribute of the session cookie. `none` needs `COOKIE_SECURE=true`.",
			},
			{
				name:    "SESSION_NAME",
				about:   "Session cookie name. Only https pages can set a cookie whose name begins with `__Secure-`, and only this host can set one whose name begins with `__Host-`.",
				derived: "`__Host-sid`; `__Secure-sid` with `COOKIE_DOMAIN`; `sid` without `COOKIE_SECURE`",
				example: "__Host-sid",
			},
		},
	},
	{
		title: "Sessions",
		entries: []entry{
			{
				name:   "SESSION_SECRET",
				about:  "Signs the session records in Redis. Production requires at least 32 characters that look random; generate them with `openssl rand -base64 32`. With several secrets, the first one signs and all are accepted, so `new,old` rotates the secret without logging anyone out.",
				active: true,
			},
			{
				name:  "SESSION_MAX_AGE",
				about: "Idle timeout: a session that is not used for this long ends.",
			},
			{
				name:  "SESSION_ABSOLUTE_MAX_AGE",
				about: "Absolute timeout: a session ends after this time even if it is used.",
			},
			{
				name:    "SESSION_TOUCH_INTERVAL",
				about:   "Minimum time between two extensions of the idle timeout. At most half of `SESSION_MAX_AGE`.",
				derived: "`1m`, or a tenth of `SESSION_MAX_AGE` if that is shorter",
				example: "1m",
			},
			{
				name:  "SESSION_MAX_PER_USER",
				about: "Maximum number of sessions per user, up to 1000. A login beyond it ends the session that would expire first. `0` means no limit.",
			},
			{
				name:    "SESSION_CACHE",
				about:   "Memory of each server for sessions and accounts. Checks of sessions in memory need no command to Redis, and a session that ends on one server still ends on all of them before the response. Set `off` if Redis refuses `CLIENT TRACKING` or pub/sub, as some managed services and proxies do. Until then, the log and `latchkey doctor` have a warning, every check reads Redis, and each logout takes a quarter of a second longer. Use `off` on all servers or on none: a session that ends on a server with `off` may be used on the others until Redis reports it, usually for a millisecond and at most for 250, and they show its changes of accounts after `USER_CACHE_MAX_AGE` only.",
				example: "off",
			},
		},
	},
	{
		title: "Redis",
		intro: "Set `REDIS_HOST` or `REDIS_URI` for a single server, `REDIS_SENTINELS` for a server with failover, or `REDIS_CLUSTER` for a Redis Cluster.",
		entries: []entry{
			{
				name:   "REDIS_HOST",
				kind:   "host name or IP",
				about:  "Redis server.",
				active: true,
			},
			{
				name:   "REDIS_PORT",
				about:  "Redis port.",
				active: true,
			},
			{
				name:    "REDIS_USERNAME",
				about:   "ACL user.",
				example: "latchkey",
			},
			{
				name:   "REDIS_PASSWORD",
				about:  "Password for the Redis servers.",
				active: true,
			},
			{
				name:   "REDIS_DB",
				about:  "Database number.",
				active: true,
			},
			{
				name:  "REDIS_TLS",
				about: "Whether to use TLS. The server's certificate is verified.",
			},
			{
				name:  "REDIS_TIMEOUT",
				about: "Timeout for one command. The commands of one HTTP request may take 1.75 times this in total.",
			},
			{ //nolint:gosec // an example, not a credential
				name:    "REDIS_URI",
				about:   "`redis://` or `rediss://` URL. Overrides the host, port, user, password and database above.",
				example: "redis://user:password@localhost:6379/0",
			},
			{
				name:    "REDIS_SENTINELS",
				kind:    "list of host:port",
				about:   "All Sentinels, as `host:port`.",
				example: "sentinel-1:26379,sentinel-2:26379,sentinel-3:26379",
			},
			{
				name:    "REDIS_SENTINEL_MASTER",
				about:   "Master name in the Sentinel configuration.",
				derived: "`mymaster`",
				example: "mymaster",
			},
			{
				name:    "REDIS_SENTINEL_USERNAME",
				about:   "ACL user for the Sentinels.",
				example: "latchkey",
			},
			{
				name:  "REDIS_SENTINEL_PASSWORD",
				about: "Password for the Sentinels. The Redis servers use `REDIS_PASSWORD`.",
			},
			{
				name:    "REDIS_CLUSTER",
				kind:    "list of host:port",
				about:   "Some nodes of the cluster. The others are discovered.",
				example: "redis-1:6379,redis-2:6379,redis-3:6379",
			},
		},
	},
	{
		title: "MongoDB",
		entries: []entry{
			{
				name:    "MONGODB_URI",
				about:   "Connection string. The path names the database; without a path it is `latchkey`. `readPreference`, `readConcernLevel` and `w` in it have no effect: Latchkey reads from the primary, and its writes wait for a majority of the replica set. `w=0` is refused.",
				example: "mongodb://localhost:27017/latchkey",
				active:  true,
			},
			{
				name:  "MONGODB_TIMEOUT",
				about: "Timeout of an operation, including server selection.",
			},
			{
				name:  "USER_CACHE_MAX_AGE",
				about: "How long a server may show an account from memory, up to `1m`. Changes by Latchkey show at once, but changes that are made directly in MongoDB may take this long. With `0s`, or with `SESSION_CACHE=off`, the account is read every time.",
			},
			{
				name:  "ACTIVITY_RETENTION",
				about: "How long security events are kept, at least `24h`.",
			},
		},
	},
	{
		title: "Passwords",
		entries: []entry{
			{
				name:  "BCRYPT_COST",
				about: "Cost of a password hash, 10 to 14. Each step doubles the work. Hashes with a lower cost are upgraded at the next login.",
			},
			{
				name:  "PASSWORD_MIN_LENGTH",
				about: "Minimum length of new passwords in characters, 8 to 64. NIST SP 800-63B-4 requires 15 where a password is the only factor.",
			},
			{
				name:  "PASSWORD_COMMON",
				about: "What to do with new passwords that are common, or too similar to the user's name or email.",
			},
			{
				name:    "PASSWORD_BREACH_URL",
				kind:    "URL",
				about:   "Range API in the style of Have I Been Pwned, which looks up new passwords in known breaches. It sees five characters of a hash.",
				example: "https://api.pwnedpasswords.com/range",
			},
			{
				name:  "STEP_UP_MAX_AGE",
				about: "How long a login or a step-up counts as recent. Sensitive changes need a recent one.",
			},
		},
	},
	{
		title: "Second factors",
		entries: []entry{
			{
				name:   "DATA_KEY",
				about:  "Encrypts the secrets of authenticator apps in MongoDB. Without it, nobody can set up an authenticator app. Production requires at least 32 characters that look random. It must not contain a secret of `SESSION_SECRET`. With several keys, the first one encrypts and all decrypt, so `new,old` rotates the key. Keep a copy in a safe place: without the key, the apps that users have set up stop working.",
				active: true,
			},
			{
				name:  "REQUIRE_MFA",
				kind:  "`off`, `enrolled` or `all`",
				about: "Who needs a second factor to log in: nobody, users who have set one up, or everyone. With `all`, users without a second factor can only set one up; this requires `DATA_KEY`.",
			},
		},
	},
	{
		title: "Registration",
		intro: "These rules hold for passwords and for sign-in providers. They do not apply to existing accounts, nor to `latchkey users create`.",
		entries: []entry{
			{
				name:  "REGISTRATION",
				kind:  "`open`, `invite` or `closed`",
				about: "Who may create an account: anyone, only invited users, or nobody. An invitation overrides `REGISTRATION_DOMAINS`.",
			},
			{
				name:    "REGISTRATION_DOMAINS",
				about:   "Domains that are allowed in the emails of new accounts, and in new emails of existing accounts. Subdomains must be listed, too.",
				derived: "any domain",
				example: "example.com,example.org",
			},
			{
				name:  "INVITATION_MAX_AGE",
				about: "How long an invitation can be used. `latchkey users invite` creates one.",
			},
			{
				name:  "REQUIRE_VERIFIED_EMAIL",
				about: "Whether users must verify their email. Until then they can log in, but routes that need a session answer 403 `email_not_verified`, except those for the session itself and for verifying or correcting the email. Requires `SMTP_URL` in production.",
			},
			{
				name:  "UNVERIFIED_MAX_AGE",
				about: "Age at which an account is deleted if its email is not verified, at least `VERIFY_LINK_MAX_AGE`. `0s` keeps all accounts. The age also applies to accounts that are in use, that sign in with a provider, or that were created by another application or by `latchkey users create`. Disabled accounts are kept. Before the first deletion, the server logs the number of accounts. Requires `SMTP_URL` in production.",
			},
		},
	},
	{
		title: "Email",
		intro: "Without `SMTP_URL` no email is sent, so nobody can reset a password or verify an email: routes that promise an email answer 503 `mail_not_configured`. In that case, 100 wrong passwords in a row only limit further attempts to 10 an hour from each IP.",
		entries: []entry{
			{ //nolint:gosec // an example, not a credential
				name:    "SMTP_URL",
				about:   "SMTP server: `smtp://user:password@host:587` uses STARTTLS, `smtps://user:password@host:465` uses TLS.",
				example: "smtp://user:password@smtp.example.com:587",
			},
			{
				name:    "MAIL_FROM",
				about:   "Sender of all emails. The name is optional, and defaults to `APP_NAME`.",
				example: "Acme <no-reply@example.com>",
			},
			{
				name:    "SMTP_HELO_NAME",
				about:   "Host name to send to the SMTP server in EHLO. Some servers check it.",
				derived: "this host's name if it contains a domain, otherwise its IP",
				example: "latchkey.example.com",
			},
			{
				name:    "PUBLIC_URL",
				kind:    "URL",
				about:   "Base URL of the links in emails and of the sign-in page. Links point to `/reset-password#token=...`, `/verify-email#token=...` and `/accept-invitation#token=...&email=...`. Proxies send signed-out browsers to `/signin`.",
				derived: "the first `FRONTEND_URL`. With `PAGES=on` it must be set to the URL of this server",
				example: "https://app.example.com",
			},
			{
				name:  "PAGES",
				about: "Built-in pages to sign in, register and manage the account, at `/signin`, `/register` and `/account`. They need `PUBLIC_URL`. See [PAGES.md](PAGES.md).",
			},
			{
				name:  "MAIL_INTERVAL",
				about: "Minimum time between two emails with a link to the same recipient. At most the lifetime of these links.",
			},
			{
				name:  "RESET_LINK_MAX_AGE",
				about: "How long a password reset link works.",
			},
			{
				name:  "VERIFY_LINK_MAX_AGE",
				about: "How long an email verification link works.",
			},
		},
	},
	{
		title: "Sign-in providers",
		intro: "[PROVIDERS.md](PROVIDERS.md) explains how to register Latchkey with a provider. A provider needs its client ID, client secret and callback URL, and `FRONTEND_URL`.",
		entries: []entry{
			{
				name:  "GOOGLE_CLIENT_ID",
				about: "Client ID from Google. Setting it enables signing in with Google.",
			},
			{
				name:  "GOOGLE_CLIENT_SECRET",
				about: "Client secret from Google.",
			},
			{
				name:               "GOOGLE_CALLBACK_URL",
				kind:               "URL",
				about:              "Redirect URI registered with Google: the URL of the API plus `/auth/google/callback`.",
				derivedDevelopment: "`http://localhost:PORT/auth/google/callback`",
				example:            "https://api.example.com/auth/google/callback",
			},
			{
				name:  "GITHUB_CLIENT_ID",
				about: "Client ID from GitHub. Setting it enables signing in with GitHub.",
			},
			{
				name:  "GITHUB_CLIENT_SECRET",
				about: "Client secret from GitHub.",
			},
			{
				name:               "GITHUB_CALLBACK_URL",
				kind:               "URL",
				about:              "Callback URL registered with GitHub: the URL of the API plus `/auth/github/callback`.",
				derivedDevelopment: "`http://localhost:PORT/auth/github/callback`",
				example:            "https://api.example.com/auth/github/callback",
			},
			{
				name:  "GITHUB_URL",
				kind:  "URL",
				about: "URL of GitHub, or of a GitHub Enterprise Server.",
			},
			{
				name:    "GITHUB_API_URL",
				kind:    "URL",
				about:   "URL of GitHub's API.",
				derived: "`https://api.github.com`, or `/api/v3` under `GITHUB_URL`",
				example: "https://api.github.com",
			},
			{
				name:    "OIDC_<NAME>_ISSUER",
				kind:    "URL",
				about:   "Issuer identifier of any other OpenID Connect provider, exactly as in its metadata. Choose `<NAME>` from `A-Z`, `0-9` and `_`: `OIDC_MY_IDP_ISSUER` creates `/auth/my-idp`.",
				example: "https://id.example.com/realms/main",
			},
			{
				name:  "OIDC_<NAME>_CLIENT_ID",
				about: "Client ID from the provider.",
			},
			{
				name:  "OIDC_<NAME>_CLIENT_SECRET",
				about: "Client secret from the provider.",
			},
			{
				name:               "OIDC_<NAME>_CALLBACK_URL",
				kind:               "URL",
				about:              "Redirect URI registered with the provider.",
				derivedDevelopment: "`http://localhost:PORT/auth/<name>/callback`",
				example:            "https://api.example.com/auth/keycloak/callback",
			},
			{
				name:  "OIDC_<NAME>_SCOPES",
				about: "Requested scopes, separated by spaces or commas. Must include `openid`.",
			},
			{
				name:    "OIDC_<NAME>_TITLE",
				about:   "Provider name on buttons.",
				derived: "`<NAME>` in title case, for example `My Idp`",
				example: "Keycloak",
			},
		},
	},
	{
		title: "Rate limits",
		intro: "The limits count requests per client IP unless stated otherwise. For IPv6, a /64 counts as one IP; a /56 has 8 times and a /48 has 32 times the limit of an IP.",
		entries: []entry{
			{
				name:  "RATE_LIMIT",
				about: "Default for the limits below. `off` disables all of them, and the server warns about it at startup.",
			},
			{
				name:    "RATE_LIMIT_REGISTER",
				about:   "Registrations.",
				derived: "`RATE_LIMIT`",
				example: "10/60s",
			},
			{
				name:    "RATE_LIMIT_LOGIN",
				about:   "Logins.",
				derived: "`RATE_LIMIT`",
				example: "10/60s",
			},
			{
				name:    "RATE_LIMIT_MAIL",
				about:   "Requests that send an email with a link.",
				derived: "`RATE_LIMIT`",
				example: "10/60s",
			},
			{
				name:    "RATE_LIMIT_TOKEN",
				about:   "Uses of a link from an email.",
				derived: "`RATE_LIMIT`",
				example: "10/60s",
			},
			{
				name:    "RATE_LIMIT_PASSWORD",
				about:   "Checks of passwords and codes of signed-in users, and of codes at a login.",
				derived: "`RATE_LIMIT`",
				example: "10/60s",
			},
			{
				name:    "RATE_LIMIT_OAUTH",
				about:   "Sign-ins with a provider.",
				derived: "six times `RATE_LIMIT`",
				example: "60/60s",
			},
			{
				name:    "RATE_LIMIT_ACCOUNT",
				about:   "Login attempts per account, from any IP. Each other kind of limited request has the same limit per account.",
				derived: "three times `RATE_LIMIT_LOGIN`",
				example: "30/60s",
			},
			{
				name:    "RATE_LIMIT_DEVICE",
				about:   "Login attempts per known device, which do not count towards the IP and account limits. All known devices behind one IP share ten times as many. At most ten new devices an hour become known to an account.",
				derived: "`RATE_LIMIT`",
				example: "10/60s",
			},
		},
	},
	{
		title: "Traces",
		intro: "Traces are sent by OTLP over HTTP. All standard `OTEL_*` variables work, such as `OTEL_SERVICE_NAME` and `OTEL_TRACES_SAMPLER`.",
		entries: []entry{
			{
				name:    "OTEL_EXPORTER_OTLP_ENDPOINT",
				kind:    "URL",
				about:   "OpenTelemetry collector. Setting it enables traces.",
				example: "http://127.0.0.1:4318",
			},
			{
				name:    "OTEL_EXPORTER_OTLP_HEADERS",
				kind:    "secret",
				about:   "Headers for the collector, such as credentials.",
				example: "authorization=Bearer TOKEN",
			},
		},
	},
}
