-- Tenant isolation: what may be isolated, what it does to reads and writes, partitions, and that
-- disabling restores what was there.
\set VERBOSITY default
\set SHOW_CONTEXT never
SET client_min_messages = warning;
DROP ROLE IF EXISTS isolation_owner, isolation_app, isolation_other;
RESET client_min_messages;
CREATE ROLE isolation_owner;
CREATE ROLE isolation_app;
CREATE ROLE isolation_other;
CREATE SCHEMA isolation AUTHORIZATION isolation_owner;
GRANT USAGE ON SCHEMA isolation TO isolation_app, isolation_other;
SET ROLE isolation_owner;

CREATE VIEW isolation.state AS
SELECT c.relname, c.relrowsecurity AS enabled, c.relforcerowsecurity AS forced, p.polname,
       p.polpermissive AS permissive, p.polcmd AS cmd, p.polroles = '{0}' AS everybody,
       pg_get_expr(p.polqual, p.polrelid) AS using, pg_get_expr(p.polwithcheck, p.polrelid) AS check
FROM pg_class c LEFT JOIN pg_policy p ON p.polrelid = c.oid
WHERE c.relnamespace = 'isolation'::regnamespace AND c.relkind IN ('r', 'p')
ORDER BY c.relname, p.polname;

-- A uuid column.
CREATE TABLE isolation.by_uuid (tenant_id uuid NOT NULL, n int);
INSERT INTO isolation.by_uuid
VALUES ('a0000000-0000-4000-8000-000000000001', 1), ('a0000000-0000-4000-8000-000000000001', 2),
       ('a0000000-0000-4000-8000-000000000002', 3);
SELECT ward.enable_tenant_isolation('isolation.by_uuid');
CREATE INDEX ON isolation.by_uuid (n, tenant_id);
CREATE INDEX ON isolation.by_uuid (tenant_id) WHERE n > 0;
SELECT ward.enable_tenant_isolation('isolation.by_uuid');
CREATE INDEX by_uuid_tenant ON isolation.by_uuid (tenant_id);
SELECT ward.enable_tenant_isolation('isolation.by_uuid');
-- A text, a varchar and a domain column; a quoted name.
CREATE TABLE isolation.by_text (tenant_id text, n int);
CREATE INDEX ON isolation.by_text (tenant_id);
INSERT INTO isolation.by_text VALUES ('acme', 1), ('globex', 2), (NULL, 3);
SELECT ward.enable_tenant_isolation('isolation.by_text', 'tenant_id');
CREATE TABLE isolation."By ""Varchar""" ("The Tenant" varchar(20), n int);
INSERT INTO isolation."By ""Varchar""" VALUES ('acme', 1), ('globex', 2);
SELECT ward.enable_tenant_isolation('isolation."By ""Varchar"""', 'The Tenant');
CREATE DOMAIN isolation.tenant AS bigint;
CREATE DOMAIN isolation.customer AS isolation.tenant;
-- Integer columns.
CREATE TABLE isolation.by_number (small smallint, usual int, big bigint, named isolation.customer, n int);
CREATE INDEX by_number_usual ON isolation.by_number (usual);
INSERT INTO isolation.by_number VALUES (1, 1, 1, 1, 1), (2, 2, 2, 2, 2);
SELECT ward.enable_tenant_isolation('isolation.by_number', 'usual');
SELECT ward.enable_tenant_isolation('isolation.by_number', 'big');
SELECT * FROM isolation.state;
GRANT ALL ON ALL TABLES IN SCHEMA isolation TO isolation_app;

-- Without a context nobody sees or writes a row, the owner neither.
SELECT count(*) FROM isolation.by_uuid;
SET ROLE isolation_app;
SELECT count(*) FROM isolation.by_uuid;
SELECT count(*) FROM isolation.by_text;
SELECT count(*) FROM isolation.by_number;
INSERT INTO isolation.by_uuid VALUES ('a0000000-0000-4000-8000-000000000001', 4);
INSERT INTO isolation.by_text VALUES (NULL, 4);
UPDATE isolation.by_number SET n = 0;
DELETE FROM isolation.by_text;
-- With one, the tenant's own.
BEGIN;
SELECT ward.set_tenant_context('a0000000-0000-4000-8000-000000000001'::uuid);
SELECT * FROM isolation.by_uuid ORDER BY n;
SELECT count(*) FROM isolation.by_text;
SELECT count(*) FROM isolation.by_number;
INSERT INTO isolation.by_uuid VALUES ('a0000000-0000-4000-8000-000000000001', 4);
UPDATE isolation.by_uuid SET n = n + 10;
DELETE FROM isolation.by_uuid WHERE n = 14;
SELECT * FROM isolation.by_uuid ORDER BY n;
SAVEPOINT s;
INSERT INTO isolation.by_uuid VALUES ('a0000000-0000-4000-8000-000000000002', 5);
ROLLBACK TO s;
UPDATE isolation.by_uuid SET tenant_id = 'a0000000-0000-4000-8000-000000000002';
ROLLBACK TO s;
UPDATE isolation.by_uuid SET n = 0 WHERE tenant_id = 'a0000000-0000-4000-8000-000000000002';
DELETE FROM isolation.by_uuid WHERE n = 3;
COPY isolation.by_uuid FROM stdin;
a0000000-0000-4000-8000-000000000002	6
\.
ROLLBACK;
BEGIN;
SELECT ward.set_tenant_context('acme');
SELECT * FROM isolation.by_text;
SELECT * FROM isolation."By ""Varchar""";
INSERT INTO isolation.by_text VALUES ('globex', 5);
ROLLBACK;
BEGIN;
SELECT ward.set_tenant_context('2');
SELECT * FROM isolation.by_number;
INSERT INTO isolation.by_number VALUES (1, 1, 1, 1, 1);
ROLLBACK;
-- A tenant that no integer column can hold is no error.
BEGIN;
SELECT ward.set_tenant_context('9223372036854775807');
SELECT count(*) FROM isolation.by_number;
ROLLBACK;
-- The session cannot turn it off.
SET row_security = off;
SELECT count(*) FROM isolation.by_uuid;
RESET row_security;
ALTER TABLE isolation.by_uuid DISABLE ROW LEVEL SECURITY;
SELECT ward.disable_isolation('isolation.by_uuid');
-- The tenant's index is used.
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT * FROM isolation.by_uuid;
EXPLAIN (COSTS OFF) SELECT * FROM isolation.by_number;
EXPLAIN (COSTS OFF) SELECT * FROM isolation.by_text;
RESET enable_seqscan;
-- A leaky function of the caller does not get to see other tenants' rows.
CREATE FUNCTION pg_temp.peek(n int) RETURNS boolean COST 0.0001 LANGUAGE plpgsql AS $$
BEGIN
    RAISE NOTICE 'saw %', n;
    RETURN true;
END $$;
BEGIN;
SELECT ward.set_tenant_context('2');
SELECT n FROM isolation.by_number WHERE pg_temp.peek(n);
COMMIT;
DROP FUNCTION pg_temp.peek;

-- Another permissive policy does not open it, now or later.
SET ROLE isolation_owner;
CREATE POLICY everything ON isolation.by_text USING (true) WITH CHECK (true);
CREATE TABLE isolation.had_policy (tenant_id text, owner text, n int);
CREATE INDEX ON isolation.had_policy (tenant_id);
INSERT INTO isolation.had_policy VALUES ('acme', 'isolation_app', 1), ('acme', 'x', 2), ('globex', 'isolation_app', 3);
CREATE POLICY own ON isolation.had_policy USING (owner = current_user);
ALTER TABLE isolation.had_policy ENABLE ROW LEVEL SECURITY;
SELECT ward.enable_tenant_isolation('isolation.had_policy');
GRANT ALL ON isolation.had_policy TO isolation_app;
SELECT * FROM isolation.state WHERE relname = 'had_policy';
SET ROLE isolation_app;
BEGIN;
SELECT ward.set_tenant_context('acme');
SELECT * FROM isolation.by_text;
SELECT * FROM isolation.had_policy;
INSERT INTO isolation.had_policy VALUES ('acme', 'x', 4);
ROLLBACK;
SET ROLE isolation_owner;

-- Calling it again repairs what was changed, and keeps what was before.
DROP POLICY ward_access ON isolation.by_uuid;
ALTER POLICY ward_tenant_isolation ON isolation.had_policy USING (true);
ALTER TABLE isolation.had_policy NO FORCE ROW LEVEL SECURITY;
SELECT ward.enable_tenant_isolation('isolation.by_uuid');
SELECT ward.enable_tenant_isolation('isolation.had_policy');
SELECT * FROM isolation.state WHERE relname IN ('had_policy', 'by_uuid');
SELECT ward.disable_isolation('isolation.had_policy');
SELECT * FROM isolation.state WHERE relname = 'had_policy';
SELECT ward.disable_isolation('isolation.by_uuid');
SELECT ward.disable_isolation('isolation.by_uuid');
SELECT * FROM isolation.state WHERE relname = 'by_uuid';
-- Forced before, but not enabled: exactly that comes back.
ALTER TABLE isolation.by_uuid FORCE ROW LEVEL SECURITY;
SELECT ward.enable_tenant_isolation('isolation.by_uuid');
SELECT ward.disable_isolation('isolation.by_uuid');
SELECT * FROM isolation.state WHERE relname = 'by_uuid';
-- A policy whose record was lost is not guessed at.
SELECT ward.enable_tenant_isolation('isolation.by_uuid');
COMMENT ON POLICY ward_tenant_isolation ON isolation.by_uuid IS 'mine';
SELECT ward.disable_isolation('isolation.by_uuid');
SELECT ward.enable_tenant_isolation('isolation.by_uuid');
COMMENT ON POLICY ward_tenant_isolation ON isolation.by_uuid IS 'Tenant isolation by pg_ward. Row level security before: disabled, not forced.';
SELECT ward.disable_isolation('isolation.by_uuid');
SELECT * FROM isolation.state WHERE relname = 'by_uuid';
-- It is transactional.
BEGIN;
SELECT ward.enable_tenant_isolation('isolation.by_uuid');
ROLLBACK;
SELECT * FROM isolation.state WHERE relname = 'by_uuid';

-- Partitions, however deep, each with its own column order; and a table that inherits.
CREATE TABLE isolation.part (n int, tenant_id text NOT NULL) PARTITION BY RANGE (n);
CREATE TABLE isolation.part_low PARTITION OF isolation.part FOR VALUES FROM (0) TO (10);
CREATE TABLE isolation.part_high (tenant_id text NOT NULL, n int) PARTITION BY RANGE (n);
CREATE TABLE isolation.part_high_1 PARTITION OF isolation.part_high FOR VALUES FROM (10) TO (20);
ALTER TABLE isolation.part ATTACH PARTITION isolation.part_high FOR VALUES FROM (10) TO (100);
ALTER TABLE isolation.part_low ENABLE ROW LEVEL SECURITY;
INSERT INTO isolation.part VALUES (1, 'acme'), (2, 'globex'), (11, 'acme'), (12, 'globex');
SELECT ward.enable_tenant_isolation('isolation.part');
CREATE INDEX ON isolation.part (tenant_id);
SELECT ward.enable_tenant_isolation('isolation.part');
SELECT * FROM isolation.state WHERE relname ~ '^part';
GRANT ALL ON ALL TABLES IN SCHEMA isolation TO isolation_app;
SET ROLE isolation_app;
BEGIN;
SELECT ward.set_tenant_context('acme');
SELECT * FROM isolation.part ORDER BY n;
SELECT * FROM isolation.part_low;
SELECT * FROM isolation.part_high;
SELECT * FROM isolation.part_high_1;
SAVEPOINT s;
INSERT INTO isolation.part VALUES (3, 'globex');
ROLLBACK TO s;
INSERT INTO isolation.part_low VALUES (3, 'globex');
ROLLBACK TO s;
UPDATE isolation.part SET tenant_id = 'globex', n = n + 1;
ROLLBACK;
SET ROLE isolation_owner;
-- A partition added later is covered through its parent, and by itself after another call.
CREATE TABLE isolation.part_high_2 PARTITION OF isolation.part_high FOR VALUES FROM (20) TO (30);
SELECT ward.enable_tenant_isolation('isolation.part');
SELECT relname, enabled, forced, polname FROM isolation.state WHERE relname = 'part_high_2';
SELECT ward.disable_isolation('isolation.part');
SELECT * FROM isolation.state WHERE relname ~ '^part';
CREATE TABLE isolation.ancestor (tenant_id int);
CREATE TABLE isolation.descendant (n int) INHERITS (isolation.ancestor);
SELECT ward.enable_tenant_isolation('isolation.ancestor');
SELECT relname, enabled, forced, polname FROM isolation.state WHERE relname ~ 'cendant|ancestor';
SELECT ward.disable_isolation('isolation.ancestor');

-- What cannot be isolated.
SELECT ward.enable_tenant_isolation(NULL);
SELECT ward.enable_tenant_isolation('isolation.by_uuid', NULL);
SELECT ward.enable_tenant_isolation('isolation.by_uuid', '');
SELECT ward.enable_tenant_isolation('isolation.by_uuid', 'nowhere');
SELECT ward.enable_tenant_isolation('isolation.by_uuid', 'ctid');
SELECT ward.enable_tenant_isolation('isolation.by_uuid', 'x"; DROP TABLE isolation.by_text; --');
SELECT ward.enable_tenant_isolation('isolation.missing');
SELECT ward.enable_tenant_isolation(0::oid::regclass);
SELECT ward.disable_isolation(NULL);
SELECT ward.disable_isolation(0::oid::regclass);
CREATE TABLE isolation.other_types (tenant_id jsonb, code char(4), amount numeric, dead int);
ALTER TABLE isolation.other_types DROP COLUMN dead;
SELECT ward.enable_tenant_isolation('isolation.other_types');
SELECT ward.enable_tenant_isolation('isolation.other_types', 'code');
SELECT ward.enable_tenant_isolation('isolation.other_types', 'amount');
SELECT ward.enable_tenant_isolation('isolation.other_types', 'dead');
CREATE VIEW isolation.a_view AS SELECT * FROM isolation.by_uuid;
SELECT ward.enable_tenant_isolation('isolation.a_view');
CREATE MATERIALIZED VIEW isolation.a_matview AS SELECT * FROM isolation.by_uuid;
SELECT ward.enable_tenant_isolation('isolation.a_matview');
SELECT ward.enable_tenant_isolation('isolation.by_uuid_tenant');
CREATE SEQUENCE isolation.a_sequence;
SELECT ward.enable_tenant_isolation('isolation.a_sequence');
CREATE TYPE isolation.a_type AS (tenant_id uuid);
SELECT ward.enable_tenant_isolation('isolation.a_type');
RESET ROLE;
CREATE TEMP TABLE a_temp (tenant_id uuid);
SELECT ward.enable_tenant_isolation('a_temp');
CREATE FOREIGN DATA WRAPPER isolation_fdw;
CREATE SERVER isolation_server FOREIGN DATA WRAPPER isolation_fdw;
CREATE FOREIGN TABLE isolation.a_foreign (tenant_id uuid) SERVER isolation_server;
SELECT ward.enable_tenant_isolation('isolation.a_foreign');
SELECT ward.enable_tenant_isolation('pg_class', 'relname');
SELECT ward.enable_tenant_isolation('information_schema.sql_features', 'feature_id');
CREATE TABLE ward.isolation_probe (tenant_id uuid);
SELECT ward.enable_tenant_isolation('ward.isolation_probe');
DROP TABLE ward.isolation_probe;
-- A partition that cannot be isolated leaves the whole table as it was.
CREATE FOREIGN TABLE isolation.part_foreign PARTITION OF isolation.part FOR VALUES FROM (1000) TO (1001)
SERVER isolation_server;
SELECT ward.enable_tenant_isolation('isolation.part');
SELECT count(*) FROM isolation.state WHERE relname ~ '^part' AND polname IS NOT NULL;

-- Only the owner.
SET ROLE isolation_other;
SELECT ward.enable_tenant_isolation('isolation.by_uuid');
SELECT ward.disable_isolation('isolation.by_number');
-- Objects that look like the catalog's do not mislead the owner.
RESET ROLE;
CREATE SCHEMA isolation_trap AUTHORIZATION isolation_other;
GRANT USAGE ON SCHEMA isolation_trap TO isolation_owner;
SET ROLE isolation_other;
CREATE FUNCTION isolation_trap.trap(oid, oid) RETURNS boolean LANGUAGE plpgsql AS
$$ BEGIN RAISE 'ran as %', current_user; END $$;
CREATE OPERATOR isolation_trap.= (FUNCTION = isolation_trap.trap, LEFTARG = oid, RIGHTARG = oid);
CREATE FUNCTION isolation_trap.trap(uuid, uuid) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE OPERATOR isolation_trap.= (FUNCTION = isolation_trap.trap, LEFTARG = uuid, RIGHTARG = uuid);
SET ROLE isolation_owner;
SET search_path = isolation_trap, pg_catalog;
SELECT ward.enable_tenant_isolation('isolation.by_uuid');
RESET search_path;
SELECT * FROM isolation.state WHERE relname = 'by_uuid';

RESET ROLE;
SET client_min_messages = warning;
DROP SCHEMA isolation, isolation_trap CASCADE;
DROP FOREIGN DATA WRAPPER isolation_fdw CASCADE;
DROP ROLE isolation_owner, isolation_app, isolation_other;
