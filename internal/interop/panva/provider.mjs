// An OpenID provider that grants client-credentials tokens to one machine.
//
// Environment:
//   ISSUER    the issuer it claims to be (the address that clients reach it at)
//   ALG       how it signs: RS256, ES256, EdDSA, ...
//   AUDIENCE  the one resource that tokens are for
//   KEYS      a file of signing keys; each start adds a new one in front and
//             signs with it, the older ones stay published
//   DEPS      the directory that holds node_modules
//
// It prints "listening ADDRESS" once it does, on a free loopback port.
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const { ISSUER, ALG, AUDIENCE, KEYS, DEPS } = process.env;
const resolve = createRequire(join(DEPS, 'package.json')).resolve;
const { Provider } = await import(pathToFileURL(resolve('oidc-provider')));

const kinds = {
  RS256: ['rsa', { modulusLength: 2048 }],
  PS256: ['rsa', { modulusLength: 2048 }],
  ES256: ['ec', { namedCurve: 'P-256' }],
  EdDSA: ['ed25519', {}],
};

const fresh = {
  ...generateKeyPairSync(...kinds[ALG]).privateKey.export({ format: 'jwk' }),
  kid: randomUUID(), alg: ALG, use: 'sig',
};
const keys = [fresh, ...(existsSync(KEYS) ? JSON.parse(readFileSync(KEYS)) : [])];
writeFileSync(KEYS, JSON.stringify(keys), { mode: 0o600 });

const scopes = 'arc.task.controller arc.chat.controller arc.agent.caller';

const provider = new Provider(ISSUER, {
  jwks: { keys },
  clients: [{
    client_id: 'machine-a',
    client_secret: 'the secret of machine a, for tests only',
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
    id_token_signed_response_alg: ALG,
    scope: scopes,
  }],
  scopes: scopes.split(' '),
  enabledJWA: { idTokenSigningAlgValues: [ALG] },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: async () => AUDIENCE,
      getResourceServerInfo: async () => ({
        audience: AUDIENCE,
        scope: scopes,
        accessTokenFormat: 'jwt',
        accessTokenTTL: 300,
        jwt: { sign: { alg: ALG, kid: fresh.kid } },
      }),
    },
  },
});

const server = provider.listen(0, '127.0.0.1', () => {
  console.log(`listening 127.0.0.1:${server.address().port}`);
});
