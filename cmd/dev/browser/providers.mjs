// The external providers of the browser tests: two OpenID Connect issuers, and a simulation
// of GitHub. TestBrowser starts this program before the servers, passes the settings that it
// prints to them, and stops it by closing its standard input. APIS are the origins of the
// servers.
//
// The providers are on 127.0.0.1 and therefore cross-site to the servers and demos on
// localhost, like real providers: the cookie of a sign-in has to survive that.
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
import Provider from 'oidc-provider';
import { github } from './github.mjs';

const apis = process.env.APIS.split(' ');

// serve starts a provider on a free port and returns its URL. PUT /accounts/ID creates or
// replaces an account.
async function serve(newProvider) {
  const accounts = new Map();
  let handle;
  const server = createServer(async (request, response) => {
    const [, id] = request.url.match(/^\/accounts\/(.+)/) ?? [];
    if (request.method !== 'PUT' || !id) return handle(request, response);
    accounts.set(decodeURIComponent(id), JSON.parse(await text(request)));
    response.writeHead(204).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${server.address().port}`;
  handle = newProvider(url, accounts);
  return url;
}

// memory returns the storage of one issuer. The default one is shared by all issuers of a
// process, so that an issuer would accept the codes of another.
function memory() {
  const entries = new Map();
  return (model) => ({
    upsert: async (id, payload) => { entries.set(`${model} ${id}`, payload); },
    find: async (id) => entries.get(`${model} ${id}`),
    findByUid: async (uid) => [...entries.values()].find((payload) => payload.kind === model && payload.uid === uid),
    consume: async (id) => { entries.get(`${model} ${id}`).consumed = Math.floor(Date.now() / 1000); },
    destroy: async (id) => { entries.delete(`${model} ${id}`); },
    revokeByGrantId: async (grantId) => { entries.forEach((payload, id) => { if (payload.grantId === grantId) entries.delete(id); }); },
  });
}

const keys = {
  RS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
};

// newIssuer returns a function that creates an issuer. Issuers differ in what the standard
// leaves open: the algorithm of ID tokens, how clients authenticate, and whether the claims
// are in the ID token, as with Google, or only at the userinfo endpoint (conformIdTokenClaims).
function newIssuer(name, { id, secret, alg, auth, conformIdTokenClaims }) {
  return (url, accounts) => {
    const provider = new Provider(url, {
      adapter: memory(),
      clients: [{
        client_id: id, client_secret: secret, token_endpoint_auth_method: auth, id_token_signed_response_alg: alg,
        redirect_uris: apis.map((api) => `${api}/auth/${name}/callback`),
      }],
      jwks: { keys: [{ ...keys[alg]().privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: randomUUID() }] },
      clientAuthMethods: [auth],
      conformIdTokenClaims,
      pkce: { required: () => true, methods: ['S256'] },
      claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name', 'picture'] },
      findAccount: (_, sub) => accounts.has(sub) && { accountId: sub, claims: () => ({ ...accounts.get(sub), sub }) },
      // Cookies are shared by all ports of a host.
      cookies: { keys: [randomUUID()], names: { session: `${name}_session`, interaction: `${name}_interaction`, resume: `${name}_resume` } },
      features: { devInteractions: { enabled: false } },
      interactions: { url: (_, { uid }) => `/interaction/${uid}` },
    });
    const handle = provider.callback();
    return (request, response) => (request.url.startsWith('/interaction/') ? interact : handle)(request, response, provider, accounts);
  };
}

const pages = {
  login: '<label>Login <input name="login" autofocus></label> <button>Sign in</button>',
  consent: '<p>Latchkey wants to read your profile.</p> <button>Allow</button>',
};

// interact serves the login page and the consent page. Both have a Cancel button.
async function interact(request, response, provider, accounts) {
  const { prompt, session, params, grantId } = await provider.interactionDetails(request, response);
  if (request.method !== 'POST') {
    response.setHeader('Content-Type', 'text/html; charset=utf-8');
    return response.end(`<!doctype html><title>${prompt.name}</title><form method="post">${pages[prompt.name]} <button name="cancel" value="yes">Cancel</button></form>`);
  }
  const form = new URLSearchParams(await text(request));
  const finish = (result) => provider.interactionFinished(request, response, result, { mergeWithLastSubmission: !result.error });
  if (form.has('cancel')) return finish({ error: 'access_denied' });
  if (prompt.name === 'login') {
    if (!accounts.has(form.get('login'))) return response.writeHead(403).end('unknown account');
    return finish({ login: { accountId: form.get('login') } });
  }
  const grant = grantId ? await provider.Grant.find(grantId) : new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  return finish({ consent: { grantId: await grant.save() } });
}

const settings = {};
for (const [name, options] of Object.entries({
  google: { alg: 'RS256', auth: 'client_secret_basic', conformIdTokenClaims: false },
  acme: { alg: 'ES256', auth: 'client_secret_post', conformIdTokenClaims: true },
})) {
  const [id, secret] = [`latchkey-at-${name}`, randomUUID()];
  const prefix = `OIDC_${name.toUpperCase()}`;
  settings[`${prefix}_ISSUER`] = await serve(newIssuer(name, { id, secret, ...options }));
  settings[`${prefix}_CLIENT_ID`] = id;
  settings[`${prefix}_CLIENT_SECRET`] = secret;
}
settings.GITHUB_CLIENT_ID = 'Iv1.latchkey';
settings.GITHUB_CLIENT_SECRET = randomUUID();
settings.GITHUB_URL = await serve((_, accounts) => github(accounts, {
  id: settings.GITHUB_CLIENT_ID, secret: settings.GITHUB_CLIENT_SECRET, callbacks: apis.map((api) => `${api}/auth/github/callback`),
}));

for (const [name, value] of Object.entries(settings)) console.log(`${name}=${value}`);
console.log('ready');
process.stdin.resume().on('end', () => process.exit());
