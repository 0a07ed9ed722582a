-- Which tables are audited, as the catalog says, and what keeps it so when partitions and children come and go.

CREATE FUNCTION ward.audit_trigger_argument(arguments bytea, number integer) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT convert_from(substring(rest FROM 1 FOR greatest(position('\x00'::bytea IN rest) - 1, 0)), 'SQL_ASCII')
        FROM (SELECT CASE number WHEN 1 THEN arguments
                                 ELSE substring(arguments FROM position('\x00'::bytea IN arguments) + 1) END) AS s (rest)
    $$;
COMMENT ON FUNCTION ward.audit_trigger_argument(bytea, integer) IS
    'The first or second argument in pg_trigger.tgargs. For the views of audited tables.';

CREATE VIEW ward.audit_trigger AS
    SELECT tgrelid AS relation, tgname AS name, tgtype & 1 = 1 AS by_row, tgparentid <> 0 AS inherited, tgenabled AS enabled,
           ward.audit_trigger_argument(tgargs, 1) AS exclude, ward.audit_trigger_argument(tgargs, 2) AS redact
    FROM pg_catalog.pg_trigger
    WHERE tgfoid = 'ward.audit_capture()'::pg_catalog.regprocedure;
COMMENT ON VIEW ward.audit_trigger IS
    'Triggers that record changes: for rows or for TRUNCATE, and whether they are the copy of a partitioned table''s.';
REVOKE ALL ON ward.audit_trigger FROM PUBLIC;

CREATE FUNCTION ward.audit_ddl() RETURNS event_trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'ward_audit_ddl';
COMMENT ON FUNCTION ward.audit_ddl() IS
    'Gives new partitions and children of audited tables the triggers they lack, and detached partitions their own.';
REVOKE ALL ON FUNCTION ward.audit_ddl() FROM PUBLIC;

CREATE EVENT TRIGGER ward_audit_ddl ON ddl_command_end
    WHEN TAG IN ('CREATE TABLE', 'CREATE FOREIGN TABLE', 'CREATE SCHEMA', 'ALTER TABLE', 'ALTER FOREIGN TABLE')
    EXECUTE FUNCTION ward.audit_ddl();
-- Replication apply, and whoever sets session_replication_role, must not create gaps.
ALTER EVENT TRIGGER ward_audit_ddl ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER ward_audit_ddl IS
    'Keeps audited tables audited as a whole when partitions and inheritance children come and go.';
