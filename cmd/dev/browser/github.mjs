// A simulation of GitHub's OAuth apps, based on its documentation ("Authorizing OAuth
// apps", "Troubleshooting OAuth app access token request errors", and the REST API endpoints
// for users and emails). It differs from OpenID Connect: there are no ID tokens, errors have
// the status 200, and emails have their own endpoint.
import { createHash, randomBytes } from 'node:crypto';
import { text } from 'node:stream/consumers';

const docs = '/apps/managing-oauth-apps/troubleshooting-oauth-app-access-token-request-errors/#';
const errors = {
  incorrect_client_credentials: 'The client_id and/or client_secret passed are incorrect.',
  redirect_uri_mismatch: 'The redirect_uri MUST match the registered callback URL for this application.',
  bad_verification_code: 'The code passed is incorrect or expired.',
};

// github returns a request handler. An account is {id, name, avatar_url, emails}.
export function github(accounts, client) {
  const codes = new Map();
  const tokens = new Map();

  async function authorize(request, response, query) {
    const callback = new URL(query.get('redirect_uri') ?? client.callbacks[0]);
    const redirect = (parameters) => {
      for (const [name, value] of Object.entries(parameters)) callback.searchParams.set(name, value);
      if (query.has('state')) callback.searchParams.set('state', query.get('state'));
      response.writeHead(302, { Location: callback.href }).end();
    };
    if (query.get('client_id') !== client.id) return response.writeHead(404).end();
    if (!client.callbacks.includes(callback.href)) return response.writeHead(400).end(errors.redirect_uri_mismatch);
    if (request.method !== 'POST') {
      response.setHeader('Content-Type', 'text/html; charset=utf-8');
      return response.end(`<!doctype html><title>Authorize application</title><form method="post">
        <label>Username <input name="login"></label> <button>Authorize</button> <button name="cancel" value="yes">Cancel</button></form>`);
    }
    const form = new URLSearchParams(await text(request));
    if (form.has('cancel')) return redirect({ error: 'access_denied', error_description: 'The user has denied your application access.', error_uri: '/apps/#access-denied' });
    if (!accounts.has(form.get('login'))) return response.writeHead(422).end('unknown account');
    const code = randomBytes(10).toString('hex');
    codes.set(code, {
      login: form.get('login'), callback: callback.href.split('?')[0], challenge: query.get('code_challenge'),
      scopes: (query.get('scope') ?? '').split(/[ ,]/), until: Date.now() + 600_000,
    });
    redirect({ code });
  }

  async function accessToken(request, response) {
    const form = new URLSearchParams(await text(request));
    const respond = (answer) => {
      const json = request.headers.accept?.includes('json');
      response.setHeader('Content-Type', `${json ? 'application/json' : 'application/x-www-form-urlencoded'}; charset=utf-8`);
      response.end(json ? JSON.stringify(answer) : new URLSearchParams(answer).toString());
    };
    const refuse = (error) => respond({ error, error_description: errors[error], error_uri: docs + error.replaceAll('_', '-') });
    if (form.get('client_id') !== client.id || form.get('client_secret') !== client.secret) return refuse('incorrect_client_credentials');
    const grant = codes.get(form.get('code'));
    codes.delete(form.get('code'));
    const challenge = createHash('sha256').update(form.get('code_verifier') ?? '').digest('base64url');
    if (!grant || grant.until < Date.now() || (grant.challenge && grant.challenge !== challenge)) return refuse('bad_verification_code');
    if (form.get('redirect_uri') !== grant.callback) return refuse('redirect_uri_mismatch');
    const token = `gho_${randomBytes(18).toString('hex')}`;
    tokens.set(token, grant);
    respond({ access_token: token, scope: grant.scopes.join(','), token_type: 'bearer' });
  }

  function rest(request, response, path) {
    const respond = (status, answer) => response.writeHead(status, { 'Content-Type': 'application/json; charset=utf-8' }).end(JSON.stringify(answer));
    if (!request.headers['user-agent']) return respond(403, { message: 'Request forbidden by administrative rules.' });
    const grant = tokens.get(request.headers.authorization?.match(/^(?:Bearer|token) (.+)$/i)?.[1]);
    if (!grant) return respond(401, { message: 'Bad credentials' });
    const account = accounts.get(grant.login);
    if (path === '/user') {
      return respond(200, { login: grant.login, id: account.id, node_id: `U_${account.id}`, avatar_url: account.avatar_url, name: account.name ?? null, email: null });
    }
    if (path === '/user/emails' && grant.scopes.includes('user:email')) return respond(200, account.emails);
    respond(404, { message: 'Not Found' });
  }

  return (request, response) => {
    const { pathname, searchParams } = new URL(request.url, 'http://github');
    if (pathname === '/login/oauth/authorize') return authorize(request, response, searchParams);
    if (pathname === '/login/oauth/access_token' && request.method === 'POST') return accessToken(request, response);
    if (pathname.startsWith('/api/v3/')) return rest(request, response, pathname.slice('/api/v3'.length));
    response.writeHead(404).end();
  };
}
