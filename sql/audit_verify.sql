-- Records of verifications, and what monitoring looks at.

-- Not dumped: after a restore the next verification is one of the whole log.
CREATE TABLE ward.audit_verification (
    verification_no bigint PRIMARY KEY CHECK (verification_no > 0),
    verified_at timestamptz NOT NULL,
    verified_by text NOT NULL,
    from_block bigint NOT NULL CHECK (from_block >= 0),
    to_block bigint NOT NULL CHECK (to_block >= 0),
    tree_size bigint NOT NULL CHECK (tree_size > 0),
    root bytea NOT NULL CHECK (pg_catalog.length(root) = 32),
    violations bigint NOT NULL CHECK (violations >= 0),
    mac bytea NOT NULL
);
REVOKE ALL ON ward.audit_verification FROM PUBLIC;
COMMENT ON TABLE ward.audit_verification IS
    'Verifications by verify_audit_trail_incremental(), authenticated with the audit key. They save work and prove nothing.';

REVOKE ALL ON FUNCTION ward.verify_audit_trail_incremental(boolean, integer) FROM PUBLIC;
COMMENT ON FUNCTION ward.verify_audit_trail_incremental(boolean, integer) IS
    'Verifies the blocks since the last recorded verification that found nothing, or all of them, and records the outcome.';

CREATE VIEW ward.audit_growth AS
    SELECT pg_catalog.date_trunc('hour', sealed_at) AS hour, pg_catalog.count(*) AS blocks,
           pg_catalog.sum(tree_size - first_leaf)::bigint AS leaves
    FROM ward.audit_block
    GROUP BY 1;
COMMENT ON VIEW ward.audit_growth IS
    'How the sealed log grows: blocks and leaves per hour. Leaves are entries and what belongs to them: descriptions of tables, seals.';
REVOKE ALL ON ward.audit_growth FROM PUBLIC;

CREATE FUNCTION ward.audit_row_states(
    tab regclass,
    OUT kind text,
    OUT record_id text,
    OUT block bigint,
    OUT xid bigint,
    OUT "position" bigint,
    OUT relation bigint,
    OUT fingerprint bytea
) RETURNS SETOF record
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100000
    AS 'MODULE_PATHNAME', 'ward_audit_row_states';
REVOKE ALL ON FUNCTION ward.audit_row_states(regclass), ward.audit_same_row(bytea, bytea) FROM PUBLIC;
COMMENT ON FUNCTION ward.audit_row_states(regclass) IS
    'What the audit trail says of each record of a table, and the table''s rows. For verify_current_rows().';
COMMENT ON FUNCTION ward.audit_same_row(bytea, bytea) IS
    'Whether two fingerprints of audit_row_states() agree in the columns that both have. For verify_current_rows().';

-- Across blocks, the log's order is that of the changes. Within one block it is that of transaction ids, and two
-- transactions may have changed a record the other way round; so each one's last word on a record counts as possible.
CREATE FUNCTION ward.verify_current_rows(tab regclass)
    RETURNS TABLE (record_id text, kind text)
    LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
        WITH state AS MATERIALIZED (
            SELECT * FROM ward.audit_row_states(tab)
        ), truncation AS (
            SELECT s.relation, s.block, s.xid, max(s."position") AS "position" FROM state s
            WHERE s.kind = 'truncated' GROUP BY 1, 2, 3
        ), emptied AS (
            SELECT relation, max(block) AS block FROM truncation GROUP BY 1
        ), said AS (
            SELECT DISTINCT ON (record_id, xid) *
            FROM (SELECT *, max(block) OVER (PARTITION BY record_id) AS newest FROM state
                  WHERE kind IN ('present', 'absent', 'unknown')) s
            WHERE block = newest
            ORDER BY record_id, xid, "position" DESC, kind DESC
        ), possible AS (
            SELECT s.record_id,
                   bool_or(s.kind = 'absent' OR t.gone OR t.maybe) AS absent,
                   bool_or(s.kind <> 'absent' AND NOT t.gone) AS present,
                   bool_or(s.kind = 'unknown' AND NOT t.gone) AS unknown,
                   array_agg(s.fingerprint) FILTER (WHERE s.kind = 'present' AND NOT t.gone) AS fingerprints
            FROM said s LEFT JOIN emptied e USING (relation),
                 LATERAL (SELECT coalesce(e.block > s.block, false)
                                 OR e.block = s.block AND EXISTS (
                                     SELECT FROM truncation t
                                     WHERE (t.relation, t.block, t.xid) = (s.relation, s.block, s.xid)
                                       AND t."position" > s."position") AS gone,
                                 e.block = s.block AND EXISTS (
                                     SELECT FROM truncation t
                                     WHERE (t.relation, t.block) = (s.relation, s.block) AND t.xid <> s.xid) AS maybe) AS t
            GROUP BY s.record_id
        ), live AS (
            SELECT record_id, fingerprint FROM state WHERE kind = 'live'
        )
        SELECT c.* FROM (
            SELECT record_id,
                   CASE WHEN l.fingerprint IS NULL AND NOT p.absent THEN 'missing'
                        WHEN l.fingerprint IS NULL THEN NULL
                        WHEN p.absent IS NULL THEN 'unrecorded'
                        WHEN NOT p.present THEN 'unexpected'
                        WHEN p.unknown THEN NULL
                        WHEN NOT EXISTS (SELECT FROM unnest(p.fingerprints) AS f (f) WHERE ward.audit_same_row(f.f, l.fingerprint))
                        THEN 'changed' END
            FROM possible p FULL JOIN live l USING (record_id)) AS c (record_id, kind)
        WHERE c.kind IS NOT NULL
    $$;
REVOKE ALL ON FUNCTION ward.verify_current_rows(regclass) FROM PUBLIC;
COMMENT ON FUNCTION ward.verify_current_rows(regclass) IS
    'Rows of an audited table that are not as its audit trail last recorded them: missing, unrecorded, unexpected, changed.';

CREATE VIEW ward.audit_health AS
    SELECT h.unsealed_entries, h.unsealed_bytes,
           pg_catalog.clock_timestamp() - ('epoch'::timestamptz + h.oldest_unsealed * interval '1 microsecond') AS oldest_unsealed,
           b.block_no AS last_block, b.sealed_at AS last_sealed_at, h.sealed_leaves,
           h.worker_ok, h.worker,
           h.published_leaves, h.cosigned_leaves, h.checkpoint_problem,
           h.trigger_problems,
           v.verified_at AS last_verified_at, v.tree_size AS verified_leaves, v.violations = 0 AS verified_valid
    FROM ward.audit_health_state() h
    LEFT JOIN (SELECT block_no, sealed_at FROM ward.audit_block ORDER BY block_no DESC LIMIT 1) b ON true
    LEFT JOIN (SELECT verified_at, tree_size, violations FROM ward.audit_verification
               ORDER BY verification_no DESC LIMIT 1) v ON true;
COMMENT ON VIEW ward.audit_health IS
    'One row: how far sealing, publishing and verifying are behind, whether the worker seals, and how many triggers are altered.';
COMMENT ON FUNCTION ward.audit_health_state() IS 'The row of the view audit_health. Needs SELECT on that view.';
REVOKE ALL ON ward.audit_health FROM PUBLIC;
