// A client for Latchkey, for pages and for Node. It has no dependencies. client.d.ts has its types.
// Generated from the OpenAPI document by internal/httpapi/client. Do not edit.
//
//   import { createClient, LatchkeyError } from 'https://api.example.com/client.js';
//
//   const latchkey = createClient();
//   const { user, factorRequired } = await latchkey.login({ email, password });

// The URL of each operation, with its query parameters. {} marks the operations that take a body.
const operations = {
  register: 'POST /auth/register {}',
  login: 'POST /auth/login {}',
  pendingLogin: 'GET /auth/login/factor',
  completeLogin: 'POST /auth/login/factor {}',
  cancelLogin: 'DELETE /auth/login/factor',
  logout: 'POST /auth/logout',
  me: 'GET /auth/me',
  session: 'GET /auth/session',
  rotateSession: 'POST /auth/rotate-session',
  listSessions: 'GET /auth/sessions',
  revokeSessions: 'DELETE /auth/sessions?scope',
  revokeSession: 'DELETE /auth/sessions/{id}',
  listActivity: 'GET /auth/activity?before',
  stepUp: 'POST /auth/step-up {}',
  changePassword: 'POST /auth/password/change {}',
  setPassword: 'POST /auth/password/set {}',
  forgotPassword: 'POST /auth/password/forgot {}',
  resetPassword: 'POST /auth/password/reset {}',
  verifyEmail: 'POST /auth/email/verify {}',
  resendVerification: 'POST /auth/email/resend',
  changeEmail: 'POST /auth/email/change {}',
  listFactors: 'GET /auth/factors',
  enrolTotp: 'POST /auth/totp',
  confirmTotp: 'POST /auth/totp/{id}/confirm {}',
  renameFactor: 'PUT /auth/factors/{id} {}',
  removeFactor: 'DELETE /auth/factors/{id}',
  newRecoveryCodes: 'POST /auth/recovery-codes',
  listDevices: 'GET /auth/devices',
  removeDevice: 'DELETE /auth/devices/{id}',
  config: 'GET /auth/config',
  listProviders: 'GET /auth/providers',
  listIdentities: 'GET /auth/identities',
  linkIdentity: 'POST /auth/identities/{provider} {}',
  unlinkIdentity: 'DELETE /auth/identities/{provider}',
  profile: 'GET /profile',
  updateProfile: 'PUT /profile {}',
  deleteProfile: 'DELETE /profile',
  healthz: 'GET /healthz',
  readyz: 'GET /readyz',
};

// The operations to which the browser has to navigate. Their methods return a URL.
const navigations = {
  startSignInURL: 'GET /auth/{provider}?return_to&prompt',
};

// The directory of this file. The API is there, too, unless the file was copied.
const here = import.meta.url.replace(/[^/]*$/, '');

export class LatchkeyError extends Error {
  name = 'LatchkeyError';

  constructor(operation, { status, code, message, errors = [], reason, methods, maxAge, serverTime, requestId, retryAfter, cause }) {
    super(message, { cause });
    Object.assign(this, { operation, status, code, errors, reason, methods, maxAge, serverTime, requestId, retryAfter });
  }

  static is(error, operation) {
    return error instanceof LatchkeyError && error.operation === operation;
  }
}

export function createClient({ baseURL = here, fetch = (...request) => globalThis.fetch(...request), onResponse } = {}) {
  const base = String(baseURL).replace(/\/+$/, '');
  const client = {};

  for (const operation of Object.keys(operations)) {
    client[operation] = async ({ signal, background, ...args } = {}) => {
      const { method, path, body } = prepare(operation, operations[operation], args);
      const headers = {};
      if (body) headers['Content-Type'] = 'application/json';
      if (background) headers['X-Session-Touch'] = 'no';

      const started = performance.now();
      const exchange = { operation, method, path, status: 0 };
      try {
        const response = await fetch(base + path, { method, headers, body, signal, credentials: 'include' });
        exchange.status = response.status;
        exchange.body = parse(await response.text());
        exchange.error = failure(operation, response, exchange.body);
      } catch (cause) {
        if (signal?.aborted) throw cause;

        const message = 'No response from the server. Check your connection and try again.';
        exchange.error = new LatchkeyError(operation, { status: 0, code: 'network_error', message, cause });
      }
      exchange.milliseconds = performance.now() - started;
      onResponse?.(exchange);

      if (exchange.error) throw exchange.error;
      return exchange.body;
    };
  }

  for (const [name, route] of Object.entries(navigations)) {
    client[name] = (args) => base + prepare(name, route, args).path;
  }

  return client;
}

// prepare distributes the arguments of an operation to the path, the query and the body.
function prepare(operation, route, args) {
  const [method, target, takesBody] = route.split(' ');
  const [pattern, parameters] = target.split('?');
  const rest = { ...args }; // the body
  const take = (name) => {
    const value = rest[name];
    delete rest[name];
    return value;
  };

  const path = pattern.replace(/{(\w+)}/g, (_, name) => {
    const value = take(name);
    if (!value) throw new TypeError(`${operation}: ${name} is missing`);
    return encodeURIComponent(value);
  });

  const query = new URLSearchParams();
  for (const name of parameters?.split('&') ?? []) {
    const value = take(name);
    if (value !== undefined) query.append(name, value);
  }

  const [unknown] = takesBody ? [] : Object.keys(rest);
  if (unknown) throw new TypeError(`${operation}: unknown argument ${unknown}`);

  return {
    method,
    path: `${path}?${query}`.replace(/\?$/, ''),
    body: takesBody && JSON.stringify(rest),
  };
}

// parse returns undefined for a text that is not JSON.
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

// failure returns the error that a response describes, if any. A response without JSON is from
// something in between, such as a proxy.
function failure(operation, response, body) {
  const { status } = response;
  if (response.ok && (body || status === 204)) return undefined;

  const retryAfter = Number(response.headers.get('Retry-After')) || undefined;
  if (!response.ok && body?.code) return new LatchkeyError(operation, { ...body, status, retryAfter });

  const message = `Unexpected response from the server (status ${status}). Try again later.`;
  return new LatchkeyError(operation, { status, code: 'unexpected_response', message, retryAfter });
}
