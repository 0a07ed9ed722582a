-- Proofs and exports. Everybody may call these functions, as the view's own: each asks for SELECT on ward.audit_trail.

COMMENT ON FUNCTION ward.audit_inclusion_proof(bigint, bigint) IS
    'Hashes that prove a leaf to be in the log of this size, by default the sealed one (RFC 6962). Needs SELECT on audit_trail.';
COMMENT ON FUNCTION ward.audit_consistency_proof(bigint, bigint) IS
    'Hashes that prove the log of the old size to be the beginning of that of the new (RFC 6962). Needs SELECT on audit_trail.';
COMMENT ON FUNCTION ward.audit_proof(bigint, boolean) IS
    'A leaf, its inclusion proof and a signed checkpoint as one text (C2SP tlog-proof), with the row''s values if asked for. Needs SELECT on audit_trail.';
COMMENT ON FUNCTION ward.audit_witness_request(bigint) IS
    'What a witness that cosigned the log at the old size is asked to cosign next (C2SP tlog-witness, add-checkpoint). Needs SELECT on audit_trail.';
COMMENT ON FUNCTION ward.export_audit_trail(bigint) IS
    'The sealed log as lines of text for ward-verify, from the block that holds the given leaf on. Needs SELECT on audit_trail.';

-- Checkpoints that the sealing worker has published, with the cosignatures of witnesses.
CREATE TABLE ward.audit_checkpoints (
    origin text NOT NULL,
    tree_size bigint NOT NULL CHECK (tree_size > 0),
    note text NOT NULL,
    cosigned_by text[] NOT NULL DEFAULT '{}',
    signed_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (origin, tree_size)
);
REVOKE ALL ON ward.audit_checkpoints FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('ward.audit_checkpoints', '');
COMMENT ON TABLE ward.audit_checkpoints IS
    'Published checkpoints: signed notes with the cosignatures of witnesses. Only copies kept outside the server prove anything.';

-- Changes of the key that signs checkpoints. A change counts from its leaf on; until that is sealed the old key signs.
CREATE TABLE ward.audit_key_change (
    new_key bytea PRIMARY KEY CHECK (pg_catalog.length(new_key) = 32),
    old_key bytea NOT NULL UNIQUE CHECK (pg_catalog.length(old_key) = 32),
    entry_id bigint UNIQUE CHECK (entry_id > 0),
    changed_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
REVOKE ALL ON ward.audit_key_change FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('ward.audit_key_change', '');
COMMENT ON TABLE ward.audit_key_change IS
    'Public keys that signed checkpoints and those that replaced them, with the leaf that says so once it is sealed.';
