// The providers with whose accounts one signs in to the program under test: three
// issuers of OpenID Connect, of which one is an attacker's, and a GitHub. TestBrowser
// starts them before the program, whose settings name them, and stops them by closing
// the standard input. APIS are the origins of the programs that are their clients.
//
// All are at 127.0.0.1 and so of another site than localhost, where the program and its
// pages are, as providers are: the cookie of a sign-in has to come through that.
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
import Provider from 'oidc-provider';
import { github } from './github.mjs';

const apis = process.env.APIS.split(' ');

// serve has a provider answer at a port of its own. PUT /accounts/ID gives it an account,
// or changes one.
async function serve(make) {
  const accounts = new Map();
  let answer;
  const server = createServer(async (request, response) => {
    const [, id] = request.url.match(/^\/accounts\/(.+)/) ?? [];
    if (request.method !== 'PUT' || !id) return answer(request, response);
    accounts.set(decodeURIComponent(id), JSON.parse(await text(request)));
    response.writeHead(204).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${server.address().port}`;
  answer = make(url, accounts);
  return url;
}

// memory keeps what one issuer has to remember. The one that comes with the package is
// shared by all issuers of a process, which would take the codes of each other.
function memory() {
  const kept = new Map();
  return (model) => ({
    upsert: async (id, payload) => { kept.set(`${model} ${id}`, payload); },
    find: async (id) => kept.get(`${model} ${id}`),
    findByUid: async (uid) => [...kept.values()].find((payload) => payload.kind === model && payload.uid === uid),
    consume: async (id) => { kept.get(`${model} ${id}`).consumed = Math.floor(Date.now() / 1000); },
    destroy: async (id) => { kept.delete(`${model} ${id}`); },
    revokeByGrantId: async (grantId) => { kept.forEach((payload, id) => { if (payload.grantId === grantId) kept.delete(id); }); },
  });
}

const keys = {
  RS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
};

// issuer makes an issuer. They differ in what the standard leaves open: how ID tokens are
// signed, how clients authenticate, and whether the claims are in the ID token, as at
// Google, or only at the userinfo endpoint (conformIdTokenClaims).
function issuer(name, { id, secret, alg, auth, conformIdTokenClaims }) {
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
      // A cookie of a host is one of all its ports.
      cookies: { keys: [randomUUID()], names: { session: `${name}_session`, interaction: `${name}_interaction`, resume: `${name}_resume` } },
      features: { devInteractions: { enabled: false } },
      interactions: { url: (_, { uid }) => `/interaction/${uid}` },
    });
    const answer = provider.callback();
    return (request, response) => (request.url.startsWith('/interaction/') ? interact : answer)(request, response, provider, accounts);
  };
}

const pages = {
  login: '<label>Login <input name="login" autofocus></label> <button>Sign in</button>',
  consent: '<p>Latchkey would like to know who you are.</p> <button>Allow</button>',
};

// interact is the page where the user of a provider signs in, and the one where they
// agree. Both can be left by Cancel.
async function interact(request, response, provider, accounts) {
  const { prompt, session, params, grantId } = await provider.interactionDetails(request, response);
  if (request.method !== 'POST') {
    response.setHeader('Content-Type', 'text/html; charset=utf-8');
    return response.end(`<!doctype html><title>${prompt.name}</title><form method="post">${pages[prompt.name]} <button name="cancel" value="yes">Cancel</button></form>`);
  }
  const given = new URLSearchParams(await text(request));
  const finish = (result) => provider.interactionFinished(request, response, result, { mergeWithLastSubmission: !result.error });
  if (given.has('cancel')) return finish({ error: 'access_denied' });
  if (prompt.name === 'login') {
    if (!accounts.has(given.get('login'))) return response.writeHead(403).end('no such account');
    return finish({ login: { accountId: given.get('login') } });
  }
  const grant = grantId ? await provider.Grant.find(grantId) : new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  return finish({ consent: { grantId: await grant.save() } });
}

const settings = {};
for (const [name, kind] of Object.entries({
  google: { alg: 'RS256', auth: 'client_secret_basic', conformIdTokenClaims: false },
  acme: { alg: 'ES256', auth: 'client_secret_post', conformIdTokenClaims: true },
  mallory: { alg: 'RS256', auth: 'client_secret_basic', conformIdTokenClaims: false },
})) {
  const [id, secret] = [`latchkey-at-${name}`, randomUUID()];
  const prefix = `OIDC_${name.toUpperCase()}`;
  settings[`${prefix}_ISSUER`] = await serve(issuer(name, { id, secret, ...kind }));
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
