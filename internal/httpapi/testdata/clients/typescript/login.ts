// Registers and logs in with the types that openapi-typescript generates.
import createClient from "openapi-fetch";
import type { paths } from "./api.js";

const email = "typescript@example.com";
const password = "correct horse battery";

// Node's fetch keeps no cookies.
let cookie = "";
const client = createClient<paths>({ baseUrl: process.argv[2] });
client.use({
  onRequest({ request }) {
    if (cookie) request.headers.set("Cookie", cookie);
  },
  onResponse({ response }) {
    for (const set of response.headers.getSetCookie()) {
      if (set.startsWith("sid=")) cookie = set.split(";")[0] ?? "";
    }
  },
});

function fail(step: string, got: unknown): never {
  console.error(`${step}: got ${JSON.stringify(got)}`);
  process.exit(1);
}

const registered = await client.POST("/auth/register", { body: { name: "Ann", email, password } });
if (!registered.data) fail("register", registered.error);

const refused = await client.POST("/auth/login", { body: { email, password: "wrong" } });
if (!refused.error) fail("login with a wrong password", refused.data);

// A form can handle every code of its operation, and only those: anything else does not compile.
switch (refused.error.code) {
  case "invalid_credentials":
    break;
  case "validation_failed":
  case "invalid_json":
  case "cross_origin_denied":
  case "body_too_large":
  case "unsupported_media_type":
  case "too_many_requests":
  case "too_many_headers":
  case "overloaded":
  case "session_store_unavailable":
  case "user_store_unavailable":
    fail("login with a wrong password", refused.error);
  default: {
    const unhandled: never = refused.error;
    fail("login with a wrong password", unhandled);
  }
}

const loggedIn = await client.POST("/auth/login", { body: { email, password } });
if (!loggedIn.data) fail("login", loggedIn.error);
const greeting: "Login successful" | "Second factor required" = loggedIn.data.message;
if (!loggedIn.data.user) fail(greeting, loggedIn.data.factors); // only accounts with a second factor

const session = await client.GET("/auth/session");
if (session.data?.userId !== loggedIn.data.user.id) fail(greeting, session);

const loggedOut = await client.POST("/auth/logout");
if (!loggedOut.data) fail("logout", loggedOut.error);
