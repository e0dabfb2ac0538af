// What GitHub does for an OAuth app, as far as it matters to who signs in with it, after
// its documentation ("Authorizing OAuth apps", "Troubleshooting OAuth app access token
// request errors", REST API endpoints for users and for emails). It is no issuer of
// OpenID Connect: it has no ID tokens, tells of errors with status 200, and gives the
// addresses at an endpoint of their own.
import { createHash, randomBytes } from 'node:crypto';
import { text } from 'node:stream/consumers';

const docs = '/apps/managing-oauth-apps/troubleshooting-oauth-app-access-token-request-errors/#';
const errors = {
  incorrect_client_credentials: 'The client_id and/or client_secret passed are incorrect.',
  redirect_uri_mismatch: 'The redirect_uri MUST match the registered callback URL for this application.',
  bad_verification_code: 'The code passed is incorrect or expired.',
};

// github returns what answers requests. An account is {id, name, avatar_url, emails}.
export function github(accounts, client) {
  const codes = new Map(), tokens = new Map();

  async function authorize(request, response, query) {
    const back = new URL(query.get('redirect_uri') ?? client.callbacks[0]);
    const leave = (answer) => {
      for (const [name, value] of Object.entries(answer)) back.searchParams.set(name, value);
      if (query.has('state')) back.searchParams.set('state', query.get('state'));
      response.writeHead(302, { Location: back.href }).end();
    };
    if (query.get('client_id') !== client.id) return response.writeHead(404).end();
    if (!client.callbacks.includes(back.href)) return response.writeHead(400).end(errors.redirect_uri_mismatch);
    if (request.method !== 'POST') {
      response.setHeader('Content-Type', 'text/html; charset=utf-8');
      return response.end(`<!doctype html><title>Authorize application</title><form method="post">
        <label>Username <input name="login"></label> <button>Authorize</button> <button name="cancel" value="yes">Cancel</button></form>`);
    }
    const given = new URLSearchParams(await text(request));
    if (given.has('cancel')) return leave({ error: 'access_denied', error_description: 'The user has denied your application access.', error_uri: '/apps/#access-denied' });
    if (!accounts.has(given.get('login'))) return response.writeHead(422).end('no such account');
    const code = randomBytes(10).toString('hex');
    codes.set(code, {
      login: given.get('login'), callback: back.href.split('?')[0], challenge: query.get('code_challenge'),
      scopes: (query.get('scope') ?? '').split(/[ ,]/), until: Date.now() + 600_000,
    });
    leave({ code });
  }

  async function accessToken(request, response) {
    const given = new URLSearchParams(await text(request));
    const say = (answer) => {
      const json = request.headers.accept?.includes('json');
      response.setHeader('Content-Type', `${json ? 'application/json' : 'application/x-www-form-urlencoded'}; charset=utf-8`);
      response.end(json ? JSON.stringify(answer) : new URLSearchParams(answer).toString());
    };
    const refuse = (error) => say({ error, error_description: errors[error], error_uri: docs + error.replaceAll('_', '-') });
    if (given.get('client_id') !== client.id || given.get('client_secret') !== client.secret) return refuse('incorrect_client_credentials');
    const asked = codes.get(given.get('code'));
    codes.delete(given.get('code'));
    const challenge = createHash('sha256').update(given.get('code_verifier') ?? '').digest('base64url');
    if (!asked || asked.until < Date.now() || (asked.challenge && asked.challenge !== challenge)) return refuse('bad_verification_code');
    if (given.get('redirect_uri') !== asked.callback) return refuse('redirect_uri_mismatch');
    const token = `gho_${randomBytes(18).toString('hex')}`;
    tokens.set(token, asked);
    say({ access_token: token, scope: asked.scopes.join(','), token_type: 'bearer' });
  }

  function rest(request, response, path) {
    const say = (status, answer) => response.writeHead(status, { 'Content-Type': 'application/json; charset=utf-8' }).end(JSON.stringify(answer));
    if (!request.headers['user-agent']) return say(403, { message: 'Request forbidden by administrative rules.' });
    const of = tokens.get(request.headers.authorization?.match(/^(?:Bearer|token) (.+)$/i)?.[1]);
    if (!of) return say(401, { message: 'Bad credentials' });
    const account = accounts.get(of.login);
    if (path === '/user') {
      return say(200, { login: of.login, id: account.id, node_id: `U_${account.id}`, avatar_url: account.avatar_url, name: account.name ?? null, email: null });
    }
    if (path === '/user/emails' && of.scopes.includes('user:email')) return say(200, account.emails);
    say(404, { message: 'Not Found' });
  }

  return (request, response) => {
    const { pathname, searchParams } = new URL(request.url, 'http://github');
    if (pathname === '/login/oauth/authorize') return authorize(request, response, searchParams);
    if (pathname === '/login/oauth/access_token' && request.method === 'POST') return accessToken(request, response);
    if (pathname.startsWith('/api/v3/')) return rest(request, response, pathname.slice('/api/v3'.length));
    response.writeHead(404).end();
  };
}
