-- The key registry. Every row carries `mac`: the id of a master key, then a MAC over the row under a
-- key derived from that master key, so that whoever can write these tables still cannot make a grant
-- or swap a key. A whole row of before can be put back: see docs/threat-model.md. The order of the
-- columns is part of what src/pg/keys/rows.rs reads.

CREATE TABLE ward.encryption_key (
    key         uuid PRIMARY KEY,
    name        text NOT NULL UNIQUE CHECK (char_length(name) BETWEEN 1 AND 63),
    purpose     text NOT NULL CHECK (purpose IN
                    ('data_encryption', 'search', 'audit', 'checkpoint_signing', 'token')),
    is_default  boolean NOT NULL DEFAULT false CHECK (purpose = 'data_encryption' OR NOT is_default),
    mac         bytea NOT NULL CHECK (octet_length(mac) = 40),
    created_at  timestamptz NOT NULL DEFAULT pg_catalog.now(),
    max_age     interval CHECK (max_age IS NULL OR (max_age > '0' AND max_age <= '100 years' AND purpose <> 'search'))
);
CREATE UNIQUE INDEX encryption_key_one_default ON ward.encryption_key (is_default) WHERE is_default;
CREATE UNIQUE INDEX encryption_key_one_internal ON ward.encryption_key (purpose)
    WHERE purpose <> 'data_encryption';

CREATE TABLE ward.encryption_key_version (
    key         uuid NOT NULL REFERENCES ward.encryption_key,
    version     integer NOT NULL CHECK (version > 0),
    key_id      bytea NOT NULL UNIQUE CHECK (octet_length(key_id) = 8),
    state       text NOT NULL CHECK (state IN ('active', 'decrypt_only', 'disabled', 'destroyed')),
    wrapped     bytea CHECK ((wrapped IS NULL) = (state = 'destroyed')),
    masters     bytea NOT NULL CHECK (octet_length(masters) > 0 AND octet_length(masters) % 8 = 0),
    mac         bytea NOT NULL CHECK (octet_length(mac) = 40),
    created_at  timestamptz NOT NULL DEFAULT pg_catalog.now(),
    destroyed_at timestamptz CHECK ((destroyed_at IS NOT NULL) = (state = 'destroyed')),
    PRIMARY KEY (key, version)
);
CREATE UNIQUE INDEX encryption_key_version_one_active ON ward.encryption_key_version (key)
    WHERE state = 'active';

-- The role by name and by OID: a grant counts only while both name the same role, so that restoring
-- a dump on another server hands the key to nobody.
CREATE TABLE ward.key_grant (
    key         uuid NOT NULL REFERENCES ward.encryption_key,
    role_name   name NOT NULL,
    role_oid    oid NOT NULL,
    usage       text[] NOT NULL
                CHECK (usage <@ '{encrypt,decrypt,search,import}' AND cardinality(usage) > 0),
    mac         bytea NOT NULL CHECK (octet_length(mac) = 40),
    granted_at  timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (key, role_name)
);

-- What was counted before the last flush; what came after is in shared memory.
CREATE TABLE ward.encryption_key_usage (
    key_id       bytea PRIMARY KEY CHECK (octet_length(key_id) = 8),
    encryptions  bigint NOT NULL CHECK (encryptions >= 0),
    decryptions  bigint NOT NULL CHECK (decryptions >= 0),
    last_used_at timestamptz NOT NULL
);

SELECT pg_catalog.pg_extension_config_dump('ward.encryption_key', '');
SELECT pg_catalog.pg_extension_config_dump('ward.encryption_key_version', '');
SELECT pg_catalog.pg_extension_config_dump('ward.key_grant', '');
SELECT pg_catalog.pg_extension_config_dump('ward.encryption_key_usage', '');

REVOKE ALL ON ward.encryption_key, ward.encryption_key_version, ward.key_grant,
    ward.encryption_key_usage FROM PUBLIC;

CREATE VIEW ward.encryption_keys AS
SELECT k.name, k.purpose, k.is_default, v.version, v.state,
       pg_catalog.encode(v.key_id, 'hex') AS key_id,
       pg_catalog.encode(pg_catalog.substr(v.mac, 1, 8), 'hex') AS master_key_id,
       v.created_at, k.key, k.max_age,
       CASE WHEN v.state = 'active' THEN v.created_at END AS active_since,
       CASE WHEN v.state = 'active' THEN v.created_at + k.max_age END AS rotation_due,
       v.destroyed_at
FROM ward.encryption_key k
JOIN ward.encryption_key_version v USING (key);

GRANT SELECT ON ward.encryption_keys TO PUBLIC;

CREATE VIEW ward.key_grants AS
SELECT k.name, g.role_name, g.role_oid, g.usage, g.granted_at,
       EXISTS (SELECT FROM pg_catalog.pg_roles r
               WHERE r.oid = g.role_oid AND r.rolname = g.role_name) AS counts
FROM ward.key_grant g
JOIN ward.encryption_key k USING (key);
REVOKE ALL ON ward.key_grants FROM PUBLIC;

COMMENT ON TABLE ward.encryption_key IS 'The keys: identity, name and purpose. Changed only through functions; each row is authenticated.';
COMMENT ON TABLE ward.encryption_key_version IS 'The versions of each key, with their material wrapped under the master key.';
COMMENT ON TABLE ward.key_grant IS 'Who may use which key for what. Counts only while name and OID are those of one role.';
COMMENT ON TABLE ward.encryption_key_usage IS 'How often each key version was used, as far as it was written down. Read the view ward.key_usage.';
COMMENT ON COLUMN ward.encryption_key.max_age IS 'After what time a version should be replaced. A reminder: not authenticated, as the times are not.';
COMMENT ON COLUMN ward.encryption_key_version.masters IS 'The ids of all master keys this version was ever wrapped under, exports included; eight bytes each.';
COMMENT ON VIEW ward.key_grants IS 'Who may use which key for what, and whether the grant counts.';
COMMENT ON COLUMN ward.key_grants.counts IS 'Whether name and OID are still those of one role. If not, nobody has the grant: revoke it, or grant anew.';
COMMENT ON VIEW ward.encryption_keys IS 'The versions of all keys, without their material.';
COMMENT ON COLUMN ward.encryption_keys.key_id IS 'What encrypted values name this version by.';
COMMENT ON COLUMN ward.encryption_keys.master_key_id IS 'The master key this version is wrapped under.';
COMMENT ON COLUMN ward.encryption_keys.max_age IS 'After what time a version should be replaced; NULL: no reminder.';
COMMENT ON COLUMN ward.encryption_keys.active_since IS 'Since when the active version is the one that encrypts.';
COMMENT ON COLUMN ward.encryption_keys.rotation_due IS 'When the active version reaches max_age; NULL without one.';
COMMENT ON COLUMN ward.encryption_keys.destroyed_at IS 'When the material was erased; see ward.shredding_status.';
