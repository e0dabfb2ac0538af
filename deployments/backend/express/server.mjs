// A backend with Express whose users sign in with Latchkey.
import express from 'express';

const latchkey = process.env.LATCHKEY_URL ?? 'http://localhost:3000';
const isSessionCookie = (pair) => /^(__Host-|__Secure-)?sid=/.test(pair);

async function requireUser(req, res, next) {
  const cookie = (req.headers.cookie ?? '').split('; ').filter(isSessionCookie).join('; ');
  const check = await fetch(`${latchkey}/auth/verify`, { headers: { cookie }, signal: AbortSignal.timeout(5000) }).catch(() => null);
  const problem = await check?.text();
  if (check?.status === 401 || check?.status === 403) return res.status(check.status).type('application/problem+json').send(problem);

  req.userId = check?.headers.get('X-Auth-User-Id');
  if (!req.userId) return res.status(503).set('Retry-After', '1').send('Try again later');
  next();
}

function requireSameOrigin(req, res, next) {
  const reads = ['GET', 'HEAD', 'OPTIONS'].includes(req.method);
  const site = req.get('Sec-Fetch-Site') ?? 'none';
  if (!reads && site !== 'same-origin' && site !== 'none') return res.status(403).send('Cross-origin request');
  next();
}

const app = express();
app.use(requireSameOrigin, requireUser);
app.get('/orders', (req, res) => res.json({ userId: req.userId, orders: [] }));
app.post('/orders', (req, res) => res.status(201).json({ userId: req.userId }));
app.listen(process.env.PORT ?? 8080, '127.0.0.1');
