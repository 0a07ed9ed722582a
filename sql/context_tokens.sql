-- Keys of token issuers. Every row carries `mac`, as the rows of the key registry do: whoever can write
-- this table still cannot add a key or revive a retired one. The order of the columns is part of what
-- src/pg/context/jwt_rows.rs reads.

CREATE TABLE ward.jwt_key (
    id          uuid PRIMARY KEY,
    issuer      text NOT NULL,
    kid         text NOT NULL,
    key         text NOT NULL,
    algorithms  text[] NOT NULL CHECK (cardinality(algorithms) > 0),
    audience    text NOT NULL,
    retired     boolean NOT NULL DEFAULT false,
    mac         bytea NOT NULL CHECK (octet_length(mac) = 40),
    added_at    timestamptz NOT NULL DEFAULT pg_catalog.now(),
    retired_at  timestamptz,
    UNIQUE (issuer, kid)
);

-- Tokens that count once: a hash of issuer and token id, until the token would have run out
-- (microseconds since 1970).
CREATE TABLE ward.used_token (
    token       bytea PRIMARY KEY CHECK (octet_length(token) = 32),
    expires_at  bigint NOT NULL
);
CREATE INDEX used_token_expires_at ON ward.used_token (expires_at);

SELECT pg_catalog.pg_extension_config_dump('ward.jwt_key', '');
SELECT pg_catalog.pg_extension_config_dump('ward.used_token', '');

REVOKE ALL ON ward.jwt_key, ward.used_token FROM PUBLIC;

CREATE VIEW ward.jwt_keys AS
SELECT issuer, kid, algorithms, audience,
       CASE WHEN retired THEN 'retired' ELSE 'active' END AS state,
       added_at, retired_at, key::jsonb AS key,
       pg_catalog.encode(pg_catalog.substr(mac, 1, 8), 'hex') AS master_key_id
FROM ward.jwt_key;

GRANT SELECT ON ward.jwt_keys TO PUBLIC;

-- Also for changes by hand, by a restore, and by replication.
CREATE TRIGGER registry_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON ward.jwt_key
    FOR EACH STATEMENT EXECUTE FUNCTION ward.registry_changed();
ALTER TABLE ward.jwt_key ENABLE ALWAYS TRIGGER registry_changed;

-- Everybody may authenticate: only verified tokens count. Whose tokens do is for the DBA to grant.
GRANT EXECUTE ON FUNCTION ward.authenticate(text, bool) TO PUBLIC;
REVOKE ALL ON FUNCTION
    ward.add_jwt_key(text, text, text, text[], text), ward.retire_jwt_key(text, text)
FROM PUBLIC;

COMMENT ON TABLE ward.jwt_key IS 'Public keys of token issuers. Changed only through functions; each row is authenticated.';
COMMENT ON TABLE ward.used_token IS 'Hashes of tokens that count once and were used (ward.token_single_use).';
COMMENT ON VIEW ward.jwt_keys IS 'Public keys of token issuers: whose tokens ward.authenticate accepts.';
COMMENT ON COLUMN ward.jwt_keys.state IS 'active, or retired: verifies nothing any more.';
COMMENT ON COLUMN ward.jwt_keys.key IS 'The public key as a JWK.';
COMMENT ON COLUMN ward.jwt_keys.master_key_id IS 'The master key that authenticates the row.';
COMMENT ON FUNCTION ward.authenticate(text, bool) IS
'Verifies a JSON Web Token and sets the context it stands for: tenant, user, session, roles, permissions. For this transaction, or for the session with is_local => false.';
COMMENT ON FUNCTION ward.add_jwt_key(text, text, text, text[], text) IS
'Adds the public key (PEM, JWK or JWK set) that verifies an issuer''s tokens for an audience, and answers how many keys were added. kid NULL: the key''s own; of a set, all.';
COMMENT ON FUNCTION ward.retire_jwt_key(text, text) IS
'Makes a key verify nothing any more, in every session at once.';
