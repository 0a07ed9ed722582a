-- The index of the sealed log by record, and what reads the trail by it. Only the sealing worker and
-- rebuild_audit_index() write it. It is made from the leaves and proves nothing, so a dump leaves it out.

CREATE TABLE ward.audit_record_index (
    run bigint NOT NULL CHECK (run >= 0),
    fence bigint NOT NULL CHECK (fence >= 0),
    upto bigint NOT NULL CHECK (upto >= fence),
    level smallint NOT NULL CHECK (level BETWEEN 0 AND 2),
    pairs bytea NOT NULL,
    PRIMARY KEY (level, run, fence)
);
-- A row fills a page.
ALTER TABLE ward.audit_record_index ALTER pairs SET STORAGE PLAIN;
-- Every run has a row with this fence.
CREATE INDEX audit_record_index_runs ON ward.audit_record_index (level, run) WHERE fence = 0;
-- The block that holds an entry.
CREATE INDEX audit_block_first_leaf ON ward.audit_block (first_leaf);

CREATE FUNCTION ward.audit_history(tab regclass, record_id text) RETURNS SETOF ward.audit_trail
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 20
    AS 'MODULE_PATHNAME', 'ward_audit_history';

CREATE FUNCTION ward.audit_entry(entry_id bigint) RETURNS SETOF ward.audit_trail
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1
    AS 'MODULE_PATHNAME', 'ward_audit_entry';

CREATE FUNCTION ward.audit_trail_of_blocks(first_block bigint, last_block bigint DEFAULT NULL) RETURNS SETOF ward.audit_trail
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10000
    AS 'MODULE_PATHNAME', 'ward_audit_trail_of_blocks';

-- Everybody may call these three, as the view's own function: each asks for SELECT on ward.audit_trail.
REVOKE ALL ON ward.audit_record_index FROM PUBLIC;
REVOKE ALL ON FUNCTION ward.rebuild_audit_index() FROM PUBLIC;
REVOKE ALL ON FUNCTION ward.verify_audit_index() FROM PUBLIC;

COMMENT ON TABLE ward.audit_record_index IS
    'Which leaves are about a record: runs of sorted pairs of its hash and a leaf, for 2^12, 2^16 or 2^20 leaves. Made from the leaves.';
COMMENT ON FUNCTION ward.audit_history(regclass, text) IS
    'The entries about one record of a table, the oldest first, as audit_trail shows them. Needs SELECT on audit_trail.';
COMMENT ON FUNCTION ward.audit_entry(bigint) IS
    'One sealed entry, as audit_trail shows it; no row for a number that is no entry''s. Needs SELECT on audit_trail.';
COMMENT ON FUNCTION ward.audit_trail_of_blocks(bigint, bigint) IS
    'The entries of some blocks, by default all from the first one on, as audit_trail shows them. Reads no others. Needs SELECT on audit_trail.';
COMMENT ON FUNCTION ward.rebuild_audit_index() IS
    'Makes the index by record anew from the sealed entries; returns how many leaves it covers.';
COMMENT ON FUNCTION ward.verify_audit_index() IS
    'Compares the index by record with the sealed entries: a row for every part of the log where they differ.';
