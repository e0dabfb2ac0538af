package config

import (
	"log/slog"
	"net/http"
)

// environmentRule reports that the rules of production do not apply.
var environmentRule = weakRule{
	names:  codeList("APP_ENV", "NODE_ENV"),
	values: "not `production`",
	risk:   "unsafe settings are accepted, and the session cookie may be sent unencrypted",
	fix:    "set APP_ENV=production",
	find:   when("APP_ENV", func(l *loader) bool { return l.AppEnv != Production }),
}

// weakRules lists the settings that are valid in production, but protect less than their defaults.
// TestWeaknesses has a case for each.
var weakRules = []weakRule{
	// Guessing and flooding.
	{
		names:  "`RATE_LIMIT`, `RATE_LIMIT_*`",
		values: "`off`, more than ten times the default rate, or bursts of more than a hundred times the default",
		risk:   "clients can guess passwords, or have emails sent, many times faster",
		fix:    "unset it, or set a lower rate",
		find:   weakRates,
	},
	{
		names:  codeList("MAIL_INTERVAL"),
		values: "less than `10s`",
		risk:   "strangers can flood a mailbox with links",
		fix:    "unset it",
		find:   when("MAIL_INTERVAL", func(l *loader) bool { return l.Mail.Interval < shortMailInterval }),
	},
	{
		names:  codeList("PASSWORD_COMMON"),
		values: "`accept`",
		risk:   "users can choose passwords that attackers try first",
		fix:    "unset it",
		find:   when("PASSWORD_COMMON", func(l *loader) bool { return !bool(l.Accounts.RefuseCommon) }),
	},
	{
		names:  codeList("REQUIRE_MFA"),
		values: "`off`",
		risk:   "a stolen password is enough to log in, even if the user has set up a second factor",
		fix:    "unset it",
		find:   when("REQUIRE_MFA", func(l *loader) bool { return l.Factors.Require == MFAOff }),
	},

	// Lifetimes.
	{
		names:  codeList("STEP_UP_MAX_AGE"),
		values: "more than `1h`",
		risk:   "anyone who finds a signed-in browser can take over the account without its password",
		fix:    "unset it, or set at most 1h",
		find:   when("STEP_UP_MAX_AGE", func(l *loader) bool { return l.Accounts.StepUpMaxAge > maxStepUp }),
	},
	{
		names:  codeList("RESET_LINK_MAX_AGE"),
		values: "more than `24h`",
		risk:   "an old email is enough to take over an account",
		fix:    "unset it, or set at most 24h",
		find:   when("RESET_LINK_MAX_AGE", func(l *loader) bool { return l.Accounts.ResetMaxAge > maxLinkAge }),
	},
	{
		names:  codeList("VERIFY_LINK_MAX_AGE"),
		values: "more than `24h`",
		risk:   "an old email is enough to confirm an email address that the user may no longer own",
		fix:    "unset it, or set at most 24h",
		find:   when("VERIFY_LINK_MAX_AGE", func(l *loader) bool { return l.Accounts.VerifyMaxAge > maxLinkAge }),
	},
	{
		names:  codeList("INVITATION_MAX_AGE"),
		values: "more than `720h` (30 days)",
		risk:   "anyone who finds an old email can create the recipient's account",
		fix:    "unset it, or set at most 720h",
		find:   when("INVITATION_MAX_AGE", func(l *loader) bool { return l.Registration.InvitationMaxAge > maxInvitation }),
	},
	{
		names:  codeList("SESSION_MAX_AGE"),
		values: "more than `168h` (a week)",
		risk:   "a forgotten browser stays signed in",
		fix:    "unset it, or set at most 168h",
		find:   when("SESSION_MAX_AGE", func(l *loader) bool { return l.Session.MaxAge > maxIdle }),
	},
	{
		names:  codeList("SESSION_ABSOLUTE_MAX_AGE"),
		values: "more than `720h` (30 days)",
		risk:   "a stolen session that is used regularly stays valid for a long time",
		fix:    "unset it, or set at most 720h",
		find:   when("SESSION_ABSOLUTE_MAX_AGE", func(l *loader) bool { return l.Session.AbsoluteMaxAge > maxAbsolute }),
	},
	{
		names:  codeList("SESSION_MAX_PER_USER"),
		values: "`0`",
		risk:   "one user can fill Redis with sessions",
		fix:    "unset it",
		find:   when("SESSION_MAX_PER_USER", func(l *loader) bool { return l.Session.MaxPerUser == 0 }),
	},

	// Evidence of attacks.
	{
		names:  codeList("ACTIVITY_RETENTION"),
		values: "less than `720h` (30 days)",
		risk:   "users and operators cannot see older security events",
		fix:    "unset it, or set at least 720h",
		find:   when("ACTIVITY_RETENTION", func(l *loader) bool { return l.Accounts.ActivityRetention < shortRetention }),
	},
	{
		names:  codeList("LOG_LEVEL"),
		values: "`error`",
		risk:   "the log contains no security events",
		fix:    "set LOG_LEVEL=warn or info",
		find:   when("LOG_LEVEL", func(l *loader) bool { return l.LogLevel > slog.LevelWarn }),
	},

	// Connections, and the IPs of clients.
	{
		names:  codeList("OPS_ADDR"),
		values: "all interfaces, or a public IP",
		risk:   "anyone who can connect can read metrics and profiles without authentication",
		fix:    "set OPS_ADDR=127.0.0.1:9090 or a private IP, or let only monitoring connect (firewall, network policy)",
		find:   when("OPS_ADDR", isOpsPublic),
	},
	{
		names:  codeList("HOST"),
		values: "anything but a loopback host, if `TRUSTED_PROXIES` lists only loopback IPs and `TLS_CERT_FILE` is not set",
		risk:   "other machines can connect without TLS, so passwords and cookies can be read on the network",
		fix:    "set HOST=localhost",
		find:   when("HOST", isPlainHTTPPublic),
	},
	{
		names:  codeList("TRUSTED_PROXIES"),
		values: "private prefixes shorter than /16 (IPv6: /48), or more public IPs than a /10 contains (IPv6: /24)",
		risk:   "clients with these IPs can forge the IP that rate limits count and users see",
		fix:    "list only the proxies",
		find:   when("TRUSTED_PROXIES", (*loader).trustsClients),
	},

	// Browsers.
	{
		names:  codeList("FRONTEND_URL"),
		values: "`localhost`, or a loopback IP",
		risk:   "any program that listens on this port of a user's machine can act for the user",
		fix:    "remove the origin",
		find:   when("FRONTEND_URL", hasLocalOrigin),
	},
	{
		names:  codeList("PUBLIC_URL"),
		values: "`localhost`, or a loopback IP",
		risk:   "links in emails lead to the recipient's own machine, which receives the tokens",
		fix:    "set it to the URL of your frontend",
		find:   when("PUBLIC_URL", hasLocalLinks),
	},
	{
		names:  codeList("COOKIE_SAME_SITE"),
		values: "`none`",
		risk:   "browsers send the cookie with requests from other sites; only the origin check is left as protection",
		fix:    "unset it, and serve the frontend and the API on one site",
		find:   when("COOKIE_SAME_SITE", func(l *loader) bool { return l.Cookie.SameSite == http.SameSiteNoneMode }),
	},
	{
		names:  codeList("COOKIE_DOMAIN"),
		values: "set",
		risk:   "every host of the domain receives the session cookie, and can replace it",
		fix:    "unset it, unless other hosts need the cookie",
		find:   when("COOKIE_DOMAIN", func(l *loader) bool { return l.Cookie.Domain != "" }),
	},
	{
		names:  codeList("SESSION_NAME"),
		values: "without `__Host-` or `__Secure-`",
		risk:   "an http page on the network can replace the session cookie",
		fix:    "unset it, or prefix it with __Host- (__Secure- with COOKIE_DOMAIN)",
		find:   when("SESSION_NAME", hasPlainName),
	},

	// Stores.
	{
		names:  codeList("MONGODB_URI"),
		values: "another machine, without TLS",
		risk:   "accounts and password hashes can be read on the network, unless it is private",
		fix:    "add ?tls=true",
		find:   when("MONGODB_URI", func(l *loader) bool { return l.mongo.remote && !l.mongo.encrypted }),
	},
	{
		names:  codeList("MONGODB_URI"),
		values: "with `tlsInsecure`",
		risk:   "an attacker on the network can pose as MongoDB",
		fix:    "remove the option, and set tlsCAFile",
		find:   when("MONGODB_URI", func(l *loader) bool { return l.mongo.unverified }),
	},
	{
		names:  codeList("MONGODB_URI"),
		values: "another machine, without a user",
		risk:   "anyone who can connect to MongoDB can change every account",
		fix:    "create a user in MongoDB, and add it to the URI",
		find:   when("MONGODB_URI", func(l *loader) bool { return l.mongo.remote && !l.mongo.password }),
	},
	{
		names:  codeList("REDIS_TLS", "REDIS_URI"),
		values: "another machine, without TLS",
		risk:   "the Redis password and emails can be read on the network, unless it is private",
		fix:    "set REDIS_TLS=true, or use rediss:// in REDIS_URI",
		find:   redisSetting("REDIS_TLS", func(a access) bool { return a.remote && !a.encrypted }),
	},
	{
		names:  codeList("REDIS_PASSWORD", "REDIS_URI"),
		values: "another machine, without a password",
		risk:   "anyone who can connect to Redis can end sessions and reset rate limits",
		fix:    "set a password in Redis, and set REDIS_PASSWORD to it",
		find:   redisSetting("REDIS_PASSWORD", func(a access) bool { return a.remote && !a.password }),
	},
	{
		names:  "`NAME_FILE`, `TLS_KEY_FILE`, key files in `MONGODB_URI`, `.env`",
		values: "a file that every user of the machine can read",
		risk:   "other users of this machine can read the secret",
		fix:    "remove the permission: run chmod o= on the file",
		find:   openFile,
	},
}
