-- What users see of the audit trail.

CREATE FUNCTION ward.audit_entries(
    OUT entry_id bigint,
    OUT occurred_at timestamptz,
    OUT tenant_id text,
    OUT user_id text,
    OUT session_id text,
    OUT service_name text,
    OUT client_ip text,
    OUT user_agent text,
    OUT context_source text,
    OUT authenticated_role text,
    OUT session_role text,
    OUT "current_role" text,
    OUT application_name text,
    OUT table_schema text,
    OUT table_name text,
    OUT record_id text,
    OUT operation text,
    OUT old_values jsonb,
    OUT new_values jsonb,
    OUT changed_fields text[],
    OUT transaction_id bigint,
    OUT block_no bigint
) RETURNS SETOF record
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100000
    AS 'MODULE_PATHNAME', 'ward_audit_entries';
COMMENT ON FUNCTION ward.audit_entries() IS 'Rows of the view audit_trail. Needs SELECT on that view.';

CREATE VIEW ward.audit_trail AS SELECT * FROM ward.audit_entries();
COMMENT ON VIEW ward.audit_trail IS
    'Every recorded change: who, where, when, what. entry_id and block_no are NULL until the entry is sealed.';

CREATE VIEW ward.audit_blocks AS
    SELECT block_no, first_leaf AS first_entry, tree_size - first_leaf AS entries, tree_size,
           pg_catalog.encode(root, 'hex') AS root, sealed_at
    FROM ward.audit_block;
COMMENT ON VIEW ward.audit_blocks IS 'Sealed blocks of the audit log, with the tree head after each.';

CREATE VIEW ward.audited_tables AS
    SELECT n.nspname AS table_schema, c.relname AS table_name,
           ARRAY(SELECT e::name FROM pg_catalog.jsonb_array_elements_text(NULLIF(a.exclude, '')::jsonb) AS e) AS exclude,
           ARRAY(SELECT e::name FROM pg_catalog.jsonb_array_elements_text(NULLIF(a.redact, '')::jsonb) AS e) AS redact,
           a.enabled = 'A' AS active
    FROM ward.audit_trigger a
    JOIN pg_catalog.pg_class c ON c.oid = a.relation
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE a.by_row AND NOT a.inherited
    UNION ALL
    SELECT a.table_schema, a.table_name,
           ARRAY(SELECT e::name FROM pg_catalog.jsonb_array_elements_text(NULLIF(a.exclude, '')::jsonb) AS e),
           ARRAY(SELECT e::name FROM pg_catalog.jsonb_array_elements_text(NULLIF(a.redact, '')::jsonb) AS e),
           false
    FROM ward.audit_table a
    WHERE NOT a.is_partition AND NOT EXISTS (
        SELECT FROM ward.audit_trigger t
        JOIN pg_catalog.pg_class c ON c.oid = t.relation JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE t.by_row AND n.nspname = a.table_schema AND c.relname = a.table_name);
COMMENT ON VIEW ward.audited_tables IS
    'Tables with auditing enabled, partitions under their root. active: false when somebody disabled or dropped the trigger.';

REVOKE ALL ON ward.audit_trail, ward.audit_blocks, ward.audited_tables FROM PUBLIC;

REVOKE ALL ON FUNCTION ward.enable_audit(regclass, name[], name[], boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION ward.disable_audit(regclass) FROM PUBLIC;
REVOKE ALL ON FUNCTION ward.seal_audit_trail() FROM PUBLIC;
REVOKE ALL ON FUNCTION ward.verify_audit_trail_integrity(timestamptz, timestamptz, integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION ward.audit_violations(timestamptz, timestamptz, integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION ward.audit_checkpoint() FROM PUBLIC;
REVOKE ALL ON FUNCTION ward.audit_public_key() FROM PUBLIC;

COMMENT ON FUNCTION ward.enable_audit(regclass, name[], name[], boolean) IS
    'Audits every change of a table. exclude: columns left out; redact: only whether they changed; snapshot: record the rows there are.';
COMMENT ON FUNCTION ward.disable_audit(regclass) IS 'Stops auditing a table. What was recorded stays.';
COMMENT ON FUNCTION ward.seal_audit_trail() IS
    'Seals everything committed before the call and returns the number of leaves in the log.';
COMMENT ON FUNCTION ward.verify_audit_trail_integrity(timestamptz, timestamptz, integer) IS
    'Recomputes the sealed log, or the blocks of a time range, and returns one row: valid, or the first failure. jobs: how many processes work.';
COMMENT ON FUNCTION ward.audit_violations(timestamptz, timestamptz, integer) IS
    'Recomputes the sealed log, or the blocks of a time range, and returns every failure: kind, block, entry, detail. Without a time range, altered triggers too.';
COMMENT ON FUNCTION ward.audit_checkpoint() IS
    'The head of the sealed log as a signed note (C2SP tlog-checkpoint, Ed25519). Keep it outside this server.';
COMMENT ON FUNCTION ward.audit_public_key() IS 'The public key that verifies checkpoints, in note-key form.';
