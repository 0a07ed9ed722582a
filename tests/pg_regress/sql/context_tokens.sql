-- Contexts from tokens: keys of issuers, what is refused before any key matters, roles, overrides.
-- Accepted tokens are a matter for the session tests: a token's time runs.
\set VERBOSITY default
\set SHOW_CONTEXT never

-- Keys: PEM, JWK, JWK set.
CREATE FUNCTION pg_temp.pem(base64 text, label text DEFAULT 'PUBLIC KEY') RETURNS text LANGUAGE sql
AS $$ SELECT format(E'-----BEGIN %1$s-----\n%2$s\n-----END %1$s-----\n', label, base64) $$;
SELECT ward.add_jwt_key('https://idp.example', 'p256', pg_temp.pem('MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEU56MNIgEvdMMdsgpYS0EmWsnsBQ5/TpaAlIPQhgiMBb9yF2ntGdtnb09DeisKhg7Y2wYtKQCql+ApJWlx3lIUQ=='), '{ES256,RS256}', 'db');
SELECT ward.add_jwt_key('https://idp.example', 'p384', pg_temp.pem('MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEtoTo1LZuEsjA0Ew10Io13zatkgxeJ0IDq3ZdCYCF11AQuDmyfjuUWNOliE7oynCkvkZXK/rPzsnqsABckLu+mg0EIxLrnQd3oYCPXxYUsWhyCXEKjQ71fX0qpl7quYzu'), '{ES384}', 'db');
SELECT ward.add_jwt_key('https://idp.example', 'ed', pg_temp.pem('MCowBQYDK2VwAyEA6QDna1SXFn1KGUJlpEIF4dreihWYliHyQkI+5bj1bqU='), '{EdDSA}', 'db');
SELECT ward.add_jwt_key('https://idp.example', 'rsa', pg_temp.pem('MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAkv6YUvrUc6etdUsANJmtfYpvg+tbkV4nc7bQuONeaFbE1LUB4HTNsR1kng30yjtq3E4DIKasPioUp3bKue9eoM4GB8DHVwOapnf9/62WIUfwVVEWsZ04wvJyJplAWRnWueiU8T8A4NGeYRSdzrJP9xMPQa3iV7ZsXN8b7k54VwxMKPKcgxlJN9t5VOsu33sLCsQ73eWQHGWtlGvcy7LHW9Eq+Ly99YV5e+2bJJmQesyTnvdXjFjOpMQhjIqCAcKuAZV73JTEJ9WwwP8p6HC5dfAz5Gf/FG1mFSGdYRsyfptOQWsJfiaQ2A3VSmFD+go2w+Y/9JWQr7om0Zqu9IHdXwIDAQAB'), '{RS256,PS256}', 'db');
-- RFC 7517, appendix A.1: the RSA key names its algorithm, the EC key is for encryption.
\set set '{"keys":[{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","use":"enc","kid":"1"},{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}]}'
SELECT ward.add_jwt_key('https://set.example', NULL, :'set', '{RS256,RS384,ES256}', 'db');
SELECT issuer, kid, algorithms, audience, state, retired_at IS NULL AS current, key->>'kty' AS kty, key->>'crv' AS crv,
       key ?| '{kid,alg,use}' AS more FROM ward.jwt_keys ORDER BY 1, 2;
SELECT ward.retire_jwt_key('https://idp.example', 'ed');
SELECT ward.retire_jwt_key('https://idp.example', 'ed');
SELECT kid FROM ward.jwt_keys WHERE state = 'retired' AND retired_at IS NOT NULL;

-- What is no key for tokens.
CREATE FUNCTION pg_temp.add(key text, algorithms text[] DEFAULT '{ES256}', kid text DEFAULT 'new') RETURNS int LANGUAGE sql
AS $$ SELECT ward.add_jwt_key('https://idp.example', kid, key, algorithms, 'db') $$;
SELECT pg_temp.add(NULL);
SELECT pg_temp.add('');
SELECT pg_temp.add('secret');
SELECT pg_temp.add('[]');
SELECT pg_temp.add('{}');
SELECT pg_temp.add('{"keys":{}}');
SELECT pg_temp.add('{"keys":[]}');
SELECT pg_temp.add('{"keys":[1]}');
SELECT pg_temp.add(repeat(' ', 300000));
SELECT pg_temp.add('{"kty":"oct","k":"c2VjcmV0"}', '{ES256}');
SELECT pg_temp.add('{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","d":"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"}');
SELECT pg_temp.add('{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4"}');
SELECT pg_temp.add('{"kty":"EC","crv":"P-521","x":"MKBC","y":"4Etl"}');
SELECT pg_temp.add('{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","use":"enc"}');
SELECT pg_temp.add('{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","key_ops":["sign"]}');
SELECT pg_temp.add('{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","alg":"ECDH-ES"}');
SELECT pg_temp.add('{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","kid":"its own"}');
SELECT pg_temp.add('{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}', kid => NULL);
SELECT pg_temp.add('{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}', '{RS256,ES384}');
SELECT pg_temp.add(:'set', '{RS256}', 'no such');
SELECT pg_temp.add(:'set', '{ES384}', NULL);
-- RSA of 1024 bits, curves secp256k1, P-521 and X25519, a private key, a certificate, two keys, nonsense.
SELECT pg_temp.add(pg_temp.pem('MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC94+AoycEF3EzVu1QAnPVnXjOVDq/2CF6OvNFwN+LJpIJgAeLmIVtDJ7SswjCmFv3WKL9GNkhaus8iFSRfhxFSOYQ10bBogSyTz9/ffJ9iP6YMrLwfJwQ1rMx4x2C9wxoXG0/1HeA3tgKdP5ryM5NqRIQenI1UUcfpHMJ/jxyfQwIDAQAB'), '{RS256}');
SELECT pg_temp.add(pg_temp.pem('MFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAEYCSlvQKZa+I99RUk6+ab8oro+HhhePIJ9YiEoMbImbvBzgWwaxXgCkj9iBDqyIK0233EAnG4pQZACtdb0FQTuQ=='));
SELECT pg_temp.add(pg_temp.pem('MIGbMBAGByqGSM49AgEGBSuBBAAjA4GGAAQAl1wVNKenrAGK2/tBPxQLo133PuxAvROQeVE2boaicrBxtr6jNWbrCIAMUXG0otKrn9K0/xHMirL1k2Wvpn4LmdsBEXqE4RqeK+LlgAw0UMIKClECIx5R57ourFEMA9goxQC56w6HQEo01h6chgOg3ZPEt7tGpSq5N+X1AgZXgWdflIA='));
SELECT pg_temp.add(pg_temp.pem('MCowBQYDK2VuAyEARPrrskcOm3dZqeQ2YX2YEVfoDzTfpEEhGzBU5guQORU='), '{EdDSA}');
SELECT pg_temp.add(pg_temp.pem('MC4CAQAwBQYDK2VwBCIEIA==', 'PRIVATE KEY'));
SELECT pg_temp.add(pg_temp.pem('MC4CAQAwBQYDK2VwBCIEIA==', 'RSA PRIVATE KEY'));
SELECT pg_temp.add(pg_temp.pem('MIIB', 'CERTIFICATE'));
SELECT pg_temp.add(pg_temp.pem('MCowBQYDK2VwAyEA6QDna1SXFn1KGUJlpEIF4dreihWYliHyQkI+5bj1bqU=') || pg_temp.pem('MCowBQYDK2VwAyEA6QDna1SXFn1KGUJlpEIF4dreihWYliHyQkI+5bj1bqU='));
SELECT pg_temp.add(pg_temp.pem('%%%%'));
SELECT pg_temp.add(pg_temp.pem(''));
-- Names.
CREATE FUNCTION pg_temp.named(issuer text, kid text, audience text, algorithms text[] DEFAULT '{EdDSA}') RETURNS int LANGUAGE sql
AS $$ SELECT ward.add_jwt_key(issuer, kid, pg_temp.pem('MCowBQYDK2VwAyEA6QDna1SXFn1KGUJlpEIF4dreihWYliHyQkI+5bj1bqU='), algorithms, audience) $$;
SELECT pg_temp.named(NULL, 'k', 'db');
SELECT pg_temp.named('', 'k', 'db');
SELECT pg_temp.named(' ', 'k', 'db');
SELECT pg_temp.named(repeat('i', 256), 'k', 'db');
SELECT pg_temp.named(U&'\00e9', 'k', 'db');
SELECT pg_temp.named('i', E'k\n', 'db');
SELECT pg_temp.named('i', 'k', NULL);
SELECT pg_temp.named('i', 'k', '');
SELECT pg_temp.named('i', NULL, 'db');
SELECT pg_temp.named('i', 'k', 'db', NULL);
SELECT pg_temp.named('i', 'k', 'db', '{}');
SELECT pg_temp.named('i', 'k', 'db', '{NULL}');
SELECT pg_temp.named('i', 'k', 'db', '{HS256}');
SELECT pg_temp.named('i', 'k', 'db', '{none}');
SELECT pg_temp.named('i', 'k', 'db', '{EdDSA,PS512}');
SELECT pg_temp.named('https://idp.example', 'ed', 'db');
SELECT ward.retire_jwt_key('https://idp.example', 'no such');
SELECT ward.retire_jwt_key(NULL, 'k');
SELECT ward.retire_jwt_key('https://idp.example', NULL);
SELECT count(*) FROM ward.jwt_keys;

-- Refused before any key matters. RFC 7515, appendices A.1 (a shared secret), A.3 (ES256, without a key id), A.5 (none).
SELECT ward.authenticate(NULL);
SELECT ward.authenticate('');
SELECT ward.authenticate('x', NULL);
SELECT ward.authenticate('eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk');
SELECT ward.authenticate('eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q');
SELECT ward.authenticate('eyJhbGciOiJub25lIn0.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.');
SELECT ward.authenticate(repeat('x', 100000000));
SELECT ward.get_tenant_context() IS NULL AS unset, ward.current_claims() IS NULL AS no_claims;

-- Roles and permissions, as the application says them.
SELECT ward.has_role('admin'), ward.has_permission('read'), ward.has_role(NULL), ward.has_permission(NULL);
BEGIN;
SELECT ward.set_security_context('b0000000-0000-4000-8000-000000000001', roles => '{admin,"a b",""}', permissions => '{read}');
SELECT ward.has_role('admin'), ward.has_role('a b'), ward.has_role(''), ward.has_role('ADMIN'), ward.has_role('read'),
       ward.has_permission('read'), ward.has_permission('admin'), ward.has_role(NULL), ward.current_claims() IS NULL;
SELECT ward.get_user_context(), ward.get_current_user_number();
SELECT ward.set_security_context('b0000000-0000-4000-8000-000000000001');
SELECT ward.has_role('admin'), ward.has_permission('read');
ROLLBACK;
SELECT ward.set_security_context(gen_random_uuid(), roles => '{NULL}');
SELECT ward.set_security_context(gen_random_uuid(), roles => ARRAY[repeat('r', 256)]);
SELECT ward.set_security_context(gen_random_uuid(), permissions => array_fill('p'::text, ARRAY[257]));

-- Overrides.
BEGIN;
SELECT ward.set_tenant_context('acme');
SELECT ward.override_tenant_context('globex', 'ticket 7');
SELECT ward.get_tenant_context();
SAVEPOINT s;
SELECT ward.set_tenant_context('acme');
ROLLBACK TO s;
RESET ward.context;
SELECT ward.get_tenant_context();
SELECT ward.override_tenant_context('acme', 'back');
SELECT ward.get_tenant_context();
COMMIT;
SELECT ward.get_tenant_context();

-- Settings.
SHOW ward.context_mode;
SET ward.context_mode = 'anything';
\set VERBOSITY sqlstate
SET ward.token_leeway = 31;
SET ward.token_max_lifetime = 0;
\set VERBOSITY default
CREATE ROLE regress_ward_app;
SET ROLE regress_ward_app;
SET ward.context_mode = token;
SET ward.token_tenant_claim = 'x';
SET ward.audit_context = on;
SELECT ward.add_jwt_key('i', 'k', 'x', '{ES256}', 'db');
SELECT ward.retire_jwt_key('i', 'k');
SELECT ward.override_tenant_context('a', 'b');
SELECT * FROM ward.jwt_key;
SELECT * FROM ward.used_token;
DELETE FROM ward.jwt_keys;
SELECT count(*) FROM ward.jwt_keys;
RESET ROLE;
DROP ROLE regress_ward_app;

-- Every function says truly how it may be planned and who may call it.
SELECT p.proname, pg_get_function_identity_arguments(p.oid) AS arguments, p.provolatile AS vol,
       p.proparallel AS par, p.proisstrict AS strict, p.prosecdef AS definer, p.proconfig AS config,
       has_function_privilege('public', p.oid, 'execute') AS public
FROM pg_proc p
WHERE p.pronamespace = 'ward'::regnamespace
  AND p.proname ~ '^(authenticate|has_role|has_permission|current_claims|(add|retire)_jwt_key|override_tenant_context)$'
ORDER BY 1, 2;
TRUNCATE ward.jwt_key;
