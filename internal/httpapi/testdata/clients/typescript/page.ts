// Uses client.js and its types, as a page does.
import assert from "node:assert/strict";
import { createClient, LatchkeyError, type Client, type Exchange, type FieldError, type User } from "./client.js";

const baseURL = process.argv[2] ?? "";
const email = "page@example.com";
const password = "correct horse battery";

// Node's fetch stores no cookies, unlike that of a browser.
let cookie = "";
let sent: RequestInit = {};
async function fetchWithCookie(url: string, init: RequestInit): Promise<Response> {
  sent = init;
  const response = await fetch(url, { ...init, headers: { ...init.headers, cookie } });
  for (const set of response.headers.getSetCookie()) {
    if (set.startsWith("sid=")) cookie = set.split(";")[0] ?? "";
  }
  return response;
}

const exchanges: Exchange[] = [];
const latchkey = createClient({
  baseURL: baseURL + "/",
  fetch: fetchWithCookie,
  onResponse: (exchange) => exchanges.push(exchange),
});

// failureOf returns the error with which a request fails.
async function failureOf(request: Promise<unknown>): Promise<LatchkeyError> {
  try {
    await request;
  } catch (error) {
    if (error instanceof LatchkeyError) return error;
    throw error;
  }
  assert.fail("the request succeeded");
}

// answering returns a client that gets a made-up response.
function answering(body: string | null, init: ResponseInit): Client {
  return createClient({ baseURL, fetch: async () => new Response(body, init) });
}

const registered = await latchkey.register({ name: "Ann", email, password });
const user: User = registered.user;
assert.equal(user.email, email);

// A form can handle every code of its operation, and only those: anything else does not compile.
try {
  await latchkey.login({ email, password: "wrong" });
  assert.fail("logged in with a wrong password");
} catch (error) {
  assert.ok(!LatchkeyError.is(error, "register"));
  if (!LatchkeyError.is(error, "login")) throw error;

  switch (error.code) {
    case "invalid_credentials":
      assert.equal(error.status, 401);
      assert.equal(error.message, "Invalid credentials");
      assert.deepEqual(error.errors, []);
      assert.match(error.requestId ?? "", /^[A-Z0-9]+$/);
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
    case "internal":
    case "network_error":
    case "unexpected_response":
      throw error;
    default: {
      const unhandled: never = error.code;
      throw new Error(unhandled);
    }
  }
}

const loggedIn = await latchkey.login({ email, password, rememberMe: false });
const greeting: "Login successful" | "Second factor required" = loggedIn.message;
assert.equal(loggedIn.user?.email, email); // missing only if the account needs a second factor
assert.equal(sent.credentials, "include");

// Arguments go to the path, the query and the body.
const session = await latchkey.session({ background: true });
assert.deepEqual([session.userId, greeting], [user.id, "Login successful"]);
assert.deepEqual(sent.headers, { "X-Session-Touch": "no" });
assert.equal((await latchkey.revokeSessions({ scope: "others" })).revoked, 0);
assert.equal((await latchkey.listActivity({ before: undefined })).events[0]?.event, "sessions_revoked");
assert.equal((await latchkey.updateProfile({ name: "Ann Lee" })).user.name, "Ann Lee");
assert.deepEqual(sent, { method: "PUT", headers: { "Content-Type": "application/json" }, body: '{"name":"Ann Lee"}', signal: undefined, credentials: "include" });
assert.equal((await failureOf(latchkey.revokeSession({ id: "a/../b" }))).code, "not_found");
assert.equal(latchkey.startSignInURL({ provider: "google", return_to: "/a?b&c" }), `${baseURL}/auth/google?return_to=%2Fa%3Fb%26c`);

// @ts-expect-error a misspelled argument must not end other sessions than the caller meant
await assert.rejects(latchkey.revokeSessions({ scpoe: "all" }), new TypeError("revokeSessions: unknown argument scpoe"));
// @ts-expect-error a missing argument must not change the URL
await assert.rejects(latchkey.revokeSession({}), new TypeError("revokeSession: id is missing"));
// @ts-expect-error only requests that change nothing can run in the background
await latchkey.updateProfile({ name: "Ann", background: true });

// Failures have the details of the API.
const invalid = await failureOf(latchkey.register({ name: "", email: "x", password }));
const fields = invalid.errors.map(({ field }: FieldError) => field);
assert.deepEqual([invalid.status, invalid.code, fields], [400, "validation_failed", ["name", "email"]]);

assert.equal(await latchkey.revokeSession({ id: session.sessionId }), undefined);
const ended = await failureOf(latchkey.me());
assert.deepEqual([ended.code, ended.operation], ["not_authenticated", "me"]);

const busy = await failureOf(answering('{"code":"overloaded","message":"Busy."}', { status: 503, headers: { "Retry-After": "7" } }).me());
assert.deepEqual([busy.code, busy.message, busy.retryAfter], ["overloaded", "Busy.", 7]);

// Failures without a response, and responses that are not from the API, have codes of their own.
const unreachable = await failureOf(createClient({ baseURL: "http://127.0.0.1:1" }).me());
assert.deepEqual([unreachable.code, unreachable.status], ["network_error", 0]);
assert.ok(unreachable.cause instanceof TypeError);

for (const [body, status] of [["<html>Bad gateway</html>", 502], ["<html>Not here</html>", 404], ["<html>Portal</html>", 200], ["", 200], ["null", 200], ["{}", 500]] as const) {
  const error = await failureOf(answering(body, { status }).me());
  assert.deepEqual([error.code, error.status], ["unexpected_response", status], body);
}

// An aborted request fails with the reason of the signal, and is not observed.
const before = exchanges.length;
const reason = new Error("the page is gone");
await assert.rejects(latchkey.me({ signal: AbortSignal.abort(reason) }), reason);
assert.equal(exchanges.length, before);

assert.equal((await failureOf(latchkey.logout())).code, "not_authenticated");
const last = exchanges.at(-1);
assert.deepEqual([last?.operation, last?.method, last?.path, last?.status], ["logout", "POST", "/auth/logout", 401]);
assert.equal(last?.error?.code, "not_authenticated");
assert.ok(last.milliseconds >= 0);
