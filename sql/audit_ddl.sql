-- Which tables are audited, and what keeps it so when tables change.

CREATE FUNCTION ward.audit_trigger_argument(arguments bytea, number integer) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT convert_from(substring(rest FROM 1 FOR greatest(position(decode('00', 'hex') IN rest) - 1, 0)), 'SQL_ASCII')
        FROM (SELECT substring(arguments FROM position(decode('00', 'hex') IN arguments) + 1)) AS second (rest2)
        CROSS JOIN LATERAL (SELECT substring(rest2 FROM position(decode('00', 'hex') IN rest2) + 1)) AS third (rest3)
        CROSS JOIN LATERAL (SELECT CASE number WHEN 1 THEN arguments WHEN 2 THEN rest2 ELSE rest3 END) AS s (rest)
    $$;
COMMENT ON FUNCTION ward.audit_trigger_argument(bytea, integer) IS
    'The first, second or third argument in pg_trigger.tgargs. For the views of audited tables.';

CREATE VIEW ward.audit_trigger AS
    SELECT tgrelid AS relation, tgname AS name, tgtype & 1 = 1 AS by_row, tgparentid <> 0 AS inherited, tgenabled AS enabled,
           ward.audit_trigger_argument(tgargs, 1) AS exclude, ward.audit_trigger_argument(tgargs, 2) AS redact,
           ward.audit_trigger_argument(tgargs, 3) AS gone,
           tgtype IN (1 + 4 + 8 + 16, 32) AND tgqual IS NULL AND tgattr::text = '' AND NOT tgdeferrable AS records_all
    FROM pg_catalog.pg_trigger
    WHERE tgfoid = 'ward.audit_capture()'::pg_catalog.regprocedure;
COMMENT ON VIEW ward.audit_trigger IS
    'Triggers that record changes: for rows or for TRUNCATE, and whether they are the copy of a partitioned table''s.';
REVOKE ALL ON ward.audit_trigger FROM PUBLIC;

-- The memory of what enable_audit() enabled: triggers alone do not tell that one is missing. Names count, because
-- oids are others after a restore; the oid only follows a table to its new name.
CREATE TABLE ward.audit_table (
    table_schema name NOT NULL,
    table_name name NOT NULL,
    relation oid NOT NULL,
    former jsonb NOT NULL DEFAULT '{}',
    is_partition boolean NOT NULL,
    exclude text NOT NULL,
    redact text NOT NULL,
    gone text NOT NULL,
    PRIMARY KEY (table_schema, table_name)
);
COMMENT ON TABLE ward.audit_table IS
    'Tables whose audit is enabled, partitions and children included, and the columns hidden. See audit_trigger_findings.';
COMMENT ON COLUMN ward.audit_table.former IS
    'The table''s oid where the log was written before, by incarnation: a restore gives tables other oids.';
REVOKE ALL ON ward.audit_table FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('ward.audit_table', '');

CREATE FUNCTION ward.audit_ddl() RETURNS event_trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'ward_audit_ddl';
COMMENT ON FUNCTION ward.audit_ddl() IS
    'Records changes of audited tables and their triggers, and keeps partitions, children and hidden columns audited as they were.';
REVOKE ALL ON FUNCTION ward.audit_ddl() FROM PUBLIC;

CREATE EVENT TRIGGER ward_audit_ddl ON ddl_command_end
    WHEN TAG IN ('CREATE TABLE', 'CREATE FOREIGN TABLE', 'CREATE SCHEMA', 'ALTER TABLE', 'ALTER FOREIGN TABLE', 'ALTER INDEX',
                 'ALTER SCHEMA', 'CREATE TRIGGER', 'ALTER TRIGGER', 'CREATE POLICY', 'ALTER POLICY', 'CREATE RULE', 'ALTER RULE',
                 'CREATE FUNCTION', 'ALTER FUNCTION', 'ALTER ROUTINE', 'ALTER EXTENSION', 'ALTER TYPE')
    EXECUTE FUNCTION ward.audit_ddl();
CREATE EVENT TRIGGER ward_audit_drop ON sql_drop EXECUTE FUNCTION ward.audit_ddl();
CREATE EVENT TRIGGER ward_audit_rewrite ON table_rewrite EXECUTE FUNCTION ward.audit_ddl();
-- Replication apply, and whoever sets session_replication_role, must not create gaps.
ALTER EVENT TRIGGER ward_audit_ddl ENABLE ALWAYS;
ALTER EVENT TRIGGER ward_audit_drop ENABLE ALWAYS;
ALTER EVENT TRIGGER ward_audit_rewrite ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER ward_audit_ddl IS
    'Records changes of audited tables; keeps them audited as a whole when partitions and inheritance children come and go.';
COMMENT ON EVENT TRIGGER ward_audit_drop IS
    'Records what is dropped of audited tables, their triggers above all; keeps track of hidden columns.';
COMMENT ON EVENT TRIGGER ward_audit_rewrite IS 'Records that the rows of an audited table are rewritten.';

CREATE VIEW ward.audit_trigger_problems AS
    WITH RECURSIVE expected AS MATERIALIZED (
        SELECT a.*, c.oid, c.relkind
        FROM ward.audit_table a
        LEFT JOIN (pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace)
            ON n.nspname = a.table_schema AND c.relname = a.table_name AND c.relkind IN ('r', 'p', 'f')
    ), below (oid) AS (
        SELECT oid FROM expected WHERE oid IS NOT NULL
        UNION
        SELECT i.inhrelid FROM below b JOIN pg_catalog.pg_inherits i ON i.inhparent = b.oid
    ), found AS MATERIALIZED (
        SELECT n.nspname, c.relname, t.* FROM ward.audit_trigger t
        JOIN pg_catalog.pg_class c ON c.oid = t.relation JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    )
    SELECT table_schema, table_name, 'the table does not exist' AS problem FROM expected WHERE oid IS NULL
    UNION ALL
    SELECT table_schema, table_name, 'it has no trigger that records rows' FROM expected e
    WHERE oid IS NOT NULL AND NOT EXISTS (SELECT FROM found f WHERE f.relation = e.oid AND f.by_row)
    UNION ALL
    SELECT table_schema, table_name, 'it has no trigger that records TRUNCATE' FROM expected e
    WHERE relkind <> 'f' AND NOT EXISTS (SELECT FROM found f WHERE f.relation = e.oid AND NOT f.by_row)
    UNION ALL
    SELECT nspname, relname, pg_catalog.format('trigger %I %s', name,
               CASE enabled WHEN 'D' THEN 'is disabled' ELSE 'does not fire always' END)
    FROM found WHERE enabled <> 'A'
    UNION ALL
    SELECT nspname, relname, pg_catalog.format('trigger %I does not record every change', name) FROM found WHERE NOT records_all
    UNION ALL
    SELECT table_schema, table_name, pg_catalog.format('trigger %I does not hide the columns that are to be hidden', f.name)
    FROM expected e JOIN found f ON f.relation = e.oid WHERE (f.exclude, f.redact, f.gone) <> (e.exclude, e.redact, e.gone)
    UNION ALL
    SELECT DISTINCT nspname, relname, pg_catalog.format('trigger %I was not made by ward.enable_audit()', name) FROM found f
    WHERE NOT EXISTS (SELECT FROM expected e WHERE e.oid = f.relation)
    UNION ALL
    SELECT n.nspname, c.relname, 'it belongs to an audited table and is not audited'
    FROM below b JOIN pg_catalog.pg_class c USING (oid) JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relpersistence <> 't' AND NOT EXISTS (SELECT FROM expected e WHERE e.oid = c.oid)
      AND NOT EXISTS (SELECT FROM found f WHERE f.relation = c.oid AND f.by_row)
    UNION ALL
    SELECT NULL, NULL, pg_catalog.format('function %s is not the one of pg_ward', p.oid::pg_catalog.regprocedure)
    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang
    JOIN (VALUES ('ward.audit_capture()'::pg_catalog.regprocedure, 'ward_audit_capture'),
                 ('ward.audit_ddl()'::pg_catalog.regprocedure, 'ward_audit_ddl')) AS f (oid, symbol) ON f.oid = p.oid
    WHERE l.lanname <> 'c' OR p.prosrc <> f.symbol OR p.probin <> '$libdir/pg_ward' OR p.proconfig IS NOT NULL
    UNION ALL
    SELECT NULL, NULL, pg_catalog.format('%s is no member of the extension pg_ward',
               pg_catalog.pg_describe_object(m.class, m.oid, 0))
    FROM (VALUES ('pg_proc'::pg_catalog.regclass::oid, 'ward.audit_capture()'::pg_catalog.regprocedure::oid),
                 ('pg_proc'::pg_catalog.regclass, 'ward.audit_ddl()'::pg_catalog.regprocedure),
                 ('pg_class'::pg_catalog.regclass, 'ward.audit_table'::pg_catalog.regclass),
                 ('pg_class'::pg_catalog.regclass, 'ward.audit_trigger'::pg_catalog.regclass)) AS m (class, oid)
    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension x
                          ON d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.refobjid = x.oid
                      WHERE d.classid = m.class AND d.objid = m.oid AND d.deptype = 'e' AND x.extname = 'pg_ward')
    UNION ALL
    SELECT NULL, NULL, pg_catalog.format('event trigger %I is missing or does not fire always', t.name)
    FROM (VALUES ('ward_audit_ddl', 'ddl_command_end'), ('ward_audit_drop', 'sql_drop'), ('ward_audit_rewrite', 'table_rewrite'))
         AS t (name, event)
    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_event_trigger e WHERE e.evtname = t.name AND e.evtevent = t.event
                      AND e.evtenabled = 'A' AND e.evtfoid = 'ward.audit_ddl()'::pg_catalog.regprocedure);
COMMENT ON VIEW ward.audit_trigger_problems IS
    'What differs between the tables whose audit was enabled and the triggers that are there. Part of audit_trigger_findings.';
REVOKE ALL ON ward.audit_trigger_problems FROM PUBLIC;

CREATE FUNCTION ward.audit_table_differences(OUT table_schema text, OUT table_name text, OUT problem text)
    RETURNS SETOF record
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1
    AS 'MODULE_PATHNAME', 'ward_audit_table_differences';
COMMENT ON FUNCTION ward.audit_table_differences() IS
    'What differs between audit_table and what the trail says was enabled. Needs SELECT on audit_trigger_findings.';

-- Reading the trail takes time, so it comes last.
CREATE VIEW ward.audit_trigger_findings AS
    SELECT table_schema, table_name, problem FROM ward.audit_trigger_problems
    UNION ALL
    SELECT d.table_schema::name, d.table_name::name, d.problem FROM ward.audit_table_differences() AS d;
COMMENT ON VIEW ward.audit_trigger_findings IS
    'What differs between the tables whose audit was enabled, the triggers that are there, and the trail. Empty when all is well.';
REVOKE ALL ON ward.audit_trigger_findings FROM PUBLIC;

-- The tables of pg_ward say what happened in their own database. What another one publishes of its tables would be
-- written over them.
CREATE FUNCTION ward.refuse_subscription() RETURNS event_trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        subscribed text := (SELECT min(c.oid::regclass::text)
                            FROM pg_subscription s JOIN pg_subscription_rel r ON r.srsubid = s.oid JOIN pg_class c ON c.oid = r.srrelid
                            WHERE s.subenabled AND c.relnamespace = 'ward'::regnamespace);
    BEGIN
        IF subscribed IS NOT NULL THEN
            RAISE EXCEPTION 'table % of pg_ward cannot be replicated into', subscribed
                USING ERRCODE = 'object_not_in_prerequisite_state',
                      DETAIL = 'The log, keys and settings of the publisher would be written over those of this database.',
                      HINT = 'Publish tables or schemas by name instead of all tables. '
                             'A replication slot that this command has made on the publisher is still there: drop it.';
        END IF;
    END
    $$;
COMMENT ON FUNCTION ward.refuse_subscription() IS 'Refuses subscriptions to the tables of another database''s pg_ward.';
REVOKE ALL ON FUNCTION ward.refuse_subscription() FROM PUBLIC;
CREATE EVENT TRIGGER ward_subscription ON ddl_command_end WHEN TAG IN ('CREATE SUBSCRIPTION', 'ALTER SUBSCRIPTION')
    EXECUTE FUNCTION ward.refuse_subscription();
ALTER EVENT TRIGGER ward_subscription ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER ward_subscription IS 'Refuses subscriptions to the tables of another database''s pg_ward.';
