-- Tables and views of the audit trail. Only the sealing worker and the capture write them.

-- Incarnations of this log: the first is made by the first enable_audit(), another each time the log
-- goes on in a copy of the database. Nobody's previous one is the current one.
CREATE TABLE ward.audit_log (
    incarnation uuid PRIMARY KEY,
    previous uuid UNIQUE NULLS NOT DISTINCT REFERENCES ward.audit_log,
    system_identifier numeric(20) NOT NULL,
    database_oid oid NOT NULL,
    timeline bigint NOT NULL,
    reason text NOT NULL,
    left_at bigint NOT NULL CHECK (left_at >= 0),
    new_xids boolean NOT NULL,
    restored_size bigint CHECK (restored_size > 0),
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);

-- Journals: what writers append, before it is sealed. Vacuum would only shorten them, which would
-- let writers fall back behind the place the sealer has read to.
CREATE TABLE ward.audit_journal_0 (
    xid bigint NOT NULL,
    position integer NOT NULL,
    part integer NOT NULL,
    data bytea NOT NULL
) USING heap WITH (autovacuum_enabled = false, vacuum_truncate = false);
CREATE TABLE ward.audit_journal_1 (
    xid bigint NOT NULL,
    position integer NOT NULL,
    part integer NOT NULL,
    data bytea NOT NULL
) USING heap WITH (autovacuum_enabled = false, vacuum_truncate = false);

ALTER TABLE ward.audit_journal_0 ALTER data SET STORAGE PLAIN;
ALTER TABLE ward.audit_journal_1 ALTER data SET STORAGE PLAIN;

-- Where the sealer starts to read each journal.
CREATE TABLE ward.audit_journal_state (
    journal smallint PRIMARY KEY CHECK (journal IN (0, 1)),
    low_water bigint NOT NULL DEFAULT 0 CHECK (low_water >= 0),
    file bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10);
INSERT INTO ward.audit_journal_state (journal) VALUES (0), (1);

CREATE TABLE ward.audit_block (
    block_no bigint PRIMARY KEY CHECK (block_no >= 0),
    first_leaf bigint NOT NULL CHECK (first_leaf >= 0),
    tree_size bigint NOT NULL CHECK (tree_size > first_leaf),
    root bytea NOT NULL CHECK (pg_catalog.length(root) = 32),
    snapshot bytea NOT NULL,
    sealed_at timestamptz NOT NULL
);

CREATE TABLE ward.audit_tile (
    level smallint NOT NULL CHECK (level >= 0),
    index bigint NOT NULL CHECK (index >= 0),
    hashes bytea NOT NULL CHECK (pg_catalog.length(hashes) BETWEEN 32 AND 8192),
    PRIMARY KEY (level, index)
);

ALTER TABLE ward.audit_tile ALTER hashes SET STORAGE EXTERNAL;

CREATE TABLE ward.audit_segment (
    segment_no bigint PRIMARY KEY CHECK (segment_no >= 0),
    relation name NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);

-- Shapes of audited tables that are already in the log, so that writers need not describe them again.
CREATE TABLE ward.audit_shape (
    shape_id bytea PRIMARY KEY CHECK (pg_catalog.length(shape_id) = 32),
    entry_id bigint NOT NULL,
    content bytea NOT NULL
);

REVOKE ALL ON ward.audit_log, ward.audit_journal_0, ward.audit_journal_1, ward.audit_journal_state,
    ward.audit_block, ward.audit_tile, ward.audit_segment, ward.audit_shape FROM PUBLIC;

CREATE FUNCTION ward.audit_capture() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'ward_audit_capture';
REVOKE ALL ON FUNCTION ward.audit_capture() FROM PUBLIC;

SELECT pg_catalog.pg_extension_config_dump('ward.audit_log', '');
SELECT pg_catalog.pg_extension_config_dump('ward.audit_block', '');
SELECT pg_catalog.pg_extension_config_dump('ward.audit_tile', '');
SELECT pg_catalog.pg_extension_config_dump('ward.audit_segment', '');
SELECT pg_catalog.pg_extension_config_dump('ward.audit_shape', '');
SELECT pg_catalog.pg_extension_config_dump('ward.audit_journal_0', '');
SELECT pg_catalog.pg_extension_config_dump('ward.audit_journal_1', '');

COMMENT ON TABLE ward.audit_log IS 'Incarnations of this audit log: cluster and database it was or is written in.';
COMMENT ON COLUMN ward.audit_log.reason IS 'Why the incarnation began, as its leaf says it.';
COMMENT ON COLUMN ward.audit_log.left_at IS 'How many leaves the log had when the incarnation before was left.';
COMMENT ON COLUMN ward.audit_log.new_xids IS 'Whether transaction ids are counted anew from here on.';
COMMENT ON COLUMN ward.audit_log.restored_size IS 'How many leaves of the former history are in the log, as somebody has declared.';
COMMENT ON TABLE ward.audit_journal_0 IS 'Audit entries not yet sealed, as packed records (docs/log-format.md). Written at commit.';
COMMENT ON TABLE ward.audit_journal_1 IS 'Audit entries not yet sealed, as packed records (docs/log-format.md). Written at commit.';
COMMENT ON TABLE ward.audit_journal_state IS 'First page of each journal that may hold unsealed entries, and the file it counts in.';
COMMENT ON TABLE ward.audit_block IS 'Sealed blocks: leaves first_leaf to tree_size - 1, and the tree head after them.';
COMMENT ON TABLE ward.audit_tile IS 'Hashes of the Merkle tree, as tiles of up to 256 hashes (C2SP tlog-tiles, height 8).';
COMMENT ON TABLE ward.audit_segment IS 'Tables that hold the sealed leaves, 2^20 leaves each.';
COMMENT ON TABLE ward.audit_shape IS 'Columns of audited tables as described in the log; entry_id is the describing leaf.';
COMMENT ON FUNCTION ward.audit_capture() IS 'Trigger function that records a change in the audit trail. Use enable_audit().';
