-- How long the audit trail is kept, and what was taken out of it. Only the sealing worker writes these tables. What
-- they say is what the log says: a verification reads the log, not them.

-- How many leaves a segment holds, 2^segment_bits; 20 without a row. Fixed before the first block: see docs/retention.md.
CREATE TABLE ward.audit_layout (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    segment_bits smallint NOT NULL CHECK (segment_bits BETWEEN 10 AND 20)
);

-- The retention leaves. Times are microseconds since 1970.
CREATE TABLE ward.audit_policy (
    entry_id bigint PRIMARY KEY CHECK (entry_id >= 0),
    leaf bytea NOT NULL,
    sealed_at bigint NOT NULL
);

-- The prune and erase leaves that were accepted. sealed_by: the transaction of their block; before every snapshot sees
-- it, nothing is removed. journal_files: the journals that may hold copies of what was erased.
CREATE TABLE ward.audit_removal (
    entry_id bigint PRIMARY KEY CHECK (entry_id >= 0),
    kind text NOT NULL CHECK (kind IN ('prune', 'erase')),
    leaf bytea NOT NULL,
    from_entry bigint,
    to_entry bigint NOT NULL,
    sealed_by bigint NOT NULL,
    removed bigint NOT NULL DEFAULT 0,
    journal_files bigint[],
    performed_at timestamptz
);

-- Segments that were pruned. Where the next segment begins within a transaction, the entry that holds its context stays, without its image.
CREATE TABLE ward.audit_pruned_segment (
    segment_no bigint PRIMARY KEY CHECK (segment_no >= 0),
    pruned_by bigint NOT NULL,
    context_entry bigint,
    context bytea
);

REVOKE ALL ON ward.audit_layout, ward.audit_policy, ward.audit_removal, ward.audit_pruned_segment FROM PUBLIC;

SELECT pg_catalog.pg_extension_config_dump('ward.audit_layout', '');
SELECT pg_catalog.pg_extension_config_dump('ward.audit_policy', '');
SELECT pg_catalog.pg_extension_config_dump('ward.audit_removal', '');
SELECT pg_catalog.pg_extension_config_dump('ward.audit_pruned_segment', '');

COMMENT ON TABLE ward.audit_layout IS 'Size of the audit log''s segments where it is not the usual 2^20 leaves.';
COMMENT ON TABLE ward.audit_policy IS 'Retention leaves of the audit log (docs/log-format.md).';
COMMENT ON TABLE ward.audit_removal IS 'Accepted prune and erase leaves of the audit log, and how far they are carried out.';
COMMENT ON TABLE ward.audit_pruned_segment IS 'Segments of the audit log that were pruned.';
