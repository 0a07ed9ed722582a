-- Isolation by user and by parent, combined; the column's default; the index; and that disabling puts
-- everything back.
\set VERBOSITY default
\set SHOW_CONTEXT never
SET client_min_messages = warning;
DROP ROLE IF EXISTS kinds_owner, kinds_app;
RESET client_min_messages;
CREATE ROLE kinds_owner;
CREATE ROLE kinds_app;
CREATE SCHEMA kinds AUTHORIZATION kinds_owner;
GRANT USAGE ON SCHEMA kinds TO kinds_app;
SET ROLE kinds_owner;
SET search_path = kinds;

-- Everything the functions may change, without oids.
CREATE VIEW kinds.everything AS
SELECT c.relname, concat_ws(' ', CASE WHEN c.relrowsecurity THEN 'enabled' END, CASE WHEN c.relforcerowsecurity THEN 'forced' END) AS security,
       ARRAY(SELECT concat(p.polname, CASE WHEN p.polpermissive THEN ' permissive' ELSE ' restrictive' END) FROM pg_policy p WHERE p.polrelid = c.oid ORDER BY 1) AS policies,
       ARRAY(SELECT concat(a.attname, ' = ', pg_get_expr(d.adbin, d.adrelid)) FROM pg_attribute a JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum WHERE a.attrelid = c.oid AND a.attgenerated = '' ORDER BY 1) AS defaults,
       ARRAY(SELECT concat(i.indexrelid::regclass, ' ', pg_get_indexdef(i.indexrelid, 1, false)) FROM pg_index i WHERE i.indrelid = c.oid AND NOT i.indisprimary ORDER BY 1) AS indexes
FROM pg_class c WHERE c.relnamespace = 'kinds'::regnamespace AND c.relkind IN ('r', 'p') ORDER BY 1;

-- By user: uuid, text and integer columns.
CREATE TABLE diary (user_id uuid, page int);
CREATE TABLE diary_text (owner text DEFAULT 'nobody', page int);
CREATE TABLE diary_number (who bigint GENERATED ALWAYS AS IDENTITY, small int2, usual int, page int);
CREATE DOMAIN reader AS uuid DEFAULT 'a0000000-0000-4000-8000-000000000009';
CREATE TABLE diary_domain (reader reader, page int);
CREATE TABLE before AS SELECT * FROM everything;
SELECT ward.enable_user_isolation('diary');
SELECT ward.enable_user_isolation('diary_text', 'owner');
SELECT ward.enable_user_isolation('diary_number', 'who');
SELECT ward.enable_user_isolation('diary_number', 'usual');
SELECT ward.enable_user_isolation('diary_domain', 'reader');
SELECT * FROM everything WHERE relname ~ '^diary';
SELECT polrelid::regclass, pg_get_expr(polqual, polrelid) FROM pg_policy WHERE polrelid::regclass::text ~ '^diary' ORDER BY 1, 2;
-- Twice changes nothing.
CREATE TABLE once AS SELECT * FROM everything;
SELECT ward.enable_user_isolation('diary');
SELECT ward.enable_user_isolation('diary_domain', 'reader');
(TABLE once EXCEPT TABLE everything) UNION ALL (SELECT * FROM everything WHERE relname <> 'once' EXCEPT TABLE once);
DROP TABLE once;
INSERT INTO diary SELECT 'a0000000-0000-4000-8000-000000000001', 1;
GRANT ALL ON ALL TABLES IN SCHEMA kinds TO kinds_app;
SET ROLE kinds_app;
SELECT count(*) FROM diary;
BEGIN;
SELECT ward.set_security_context('a0000000-0000-4000-8000-000000000001');
-- The default is who acts.
INSERT INTO diary (page) VALUES (2);
SELECT * FROM diary ORDER BY page;
INSERT INTO diary VALUES ('a0000000-0000-4000-8000-000000000002', 3);
ROLLBACK;
BEGIN;
SELECT ward.set_security_context('a0000000-0000-4000-8000-000000000002');
SELECT * FROM diary;
SELECT ward.get_user_context(), ward.get_current_user_number();
ROLLBACK;
-- A service without a user sees nothing, and neither does a tenant.
BEGIN;
SELECT ward.set_security_context(NULL, service_name => 'billing');
SELECT ward.set_tenant_context('a0000000-0000-4000-8000-000000000001');
SELECT count(*) FROM diary;
INSERT INTO diary (page) VALUES (4);
ROLLBACK;
SET ROLE kinds_owner;

-- Tenant and user: both must hold, and no policy of the application opens it.
CREATE TABLE both_of (tenant_id text, user_id uuid, n int);
INSERT INTO both_of VALUES ('a', 'a0000000-0000-4000-8000-000000000001', 1), ('a', 'a0000000-0000-4000-8000-000000000002', 2),
                           ('b', 'a0000000-0000-4000-8000-000000000001', 3);
SELECT ward.enable_user_isolation('both_of');
SELECT ward.enable_tenant_isolation('both_of');
CREATE TABLE once AS SELECT *, ARRAY(SELECT concat(polname, pg_get_expr(polqual, polrelid)) FROM pg_policy WHERE polrelid = 'both_of'::regclass ORDER BY 1) FROM everything WHERE relname = 'both_of';
SELECT ward.enable_user_isolation('both_of');
SELECT *, ARRAY(SELECT concat(polname, pg_get_expr(polqual, polrelid)) FROM pg_policy WHERE polrelid = 'both_of'::regclass ORDER BY 1) = (SELECT "array" FROM once) AS as_before FROM everything WHERE relname = 'both_of';
CREATE POLICY open_door ON both_of USING (true) WITH CHECK (true);
GRANT ALL ON both_of TO kinds_app;
SET ROLE kinds_app;
BEGIN;
SELECT ward.set_tenant_context('a');
SELECT count(*) FROM both_of;
SELECT ward.set_security_context('a0000000-0000-4000-8000-000000000001');
SELECT * FROM both_of;
INSERT INTO both_of VALUES ('a', 'a0000000-0000-4000-8000-000000000001', 4), (DEFAULT, DEFAULT, 5);
SAVEPOINT s;
INSERT INTO both_of VALUES ('a', 'a0000000-0000-4000-8000-000000000002', 6);
ROLLBACK TO s;
INSERT INTO both_of VALUES ('b', 'a0000000-0000-4000-8000-000000000001', 6);
ROLLBACK TO s;
SELECT * FROM both_of ORDER BY n;
EXPLAIN (COSTS OFF) SELECT * FROM both_of;
ROLLBACK;
SET ROLE kinds_owner;
DROP TABLE once;
-- The policy that is left keeps row level security in force only if it was before.
SELECT ward.disable_isolation('both_of');
SELECT * FROM everything WHERE relname = 'both_of';
DROP TABLE both_of;

-- By parent, over several levels and with a key of several columns.
CREATE TABLE account (tenant_id text NOT NULL, id int, PRIMARY KEY (tenant_id, id));
CREATE TABLE invoice (id int PRIMARY KEY, tenant text, account int, FOREIGN KEY (tenant, account) REFERENCES account);
CREATE TABLE "Line of" (id bigint PRIMARY KEY, "the Invoice" bigint, note text, FOREIGN KEY ("the Invoice") REFERENCES invoice);
CREATE TABLE remark (line bigint REFERENCES "Line of", id int);
SELECT ward.enable_parent_isolation('invoice', 'account');
SELECT ward.enable_tenant_isolation('account');
SELECT ward.enable_parent_isolation('invoice', 'account');
SELECT ward.enable_parent_isolation('"Line of"', 'the Invoice');
SELECT ward.enable_parent_isolation('remark', 'line');
SELECT tab, kind, columns, parent FROM ward.isolated_tables WHERE parent IS NOT NULL ORDER BY policy;
ALTER TABLE account DISABLE ROW LEVEL SECURITY; ALTER TABLE invoice DISABLE ROW LEVEL SECURITY;
ALTER TABLE "Line of" DISABLE ROW LEVEL SECURITY; ALTER TABLE remark DISABLE ROW LEVEL SECURITY;
INSERT INTO account VALUES ('a', 1), ('b', 1);
INSERT INTO invoice VALUES (10, 'a', 1), (20, 'b', 1), (30, NULL, 1);
INSERT INTO "Line of" VALUES (100, 10, 'a'), (200, 20, 'b'), (300, 30, 'none'), (400, NULL, 'none');
INSERT INTO remark VALUES (100, 1), (200, 2), (300, 3), (NULL, 4);
SELECT ward.enable_tenant_isolation('account');
SELECT ward.enable_parent_isolation('invoice', 'tenant');
SELECT ward.enable_parent_isolation('"Line of"', 'the Invoice');
SELECT ward.enable_parent_isolation('remark', 'line');
GRANT ALL ON ALL TABLES IN SCHEMA kinds TO kinds_app;
SET ROLE kinds_app;
SELECT (SELECT count(*) FROM invoice), (SELECT count(*) FROM "Line of"), (SELECT count(*) FROM remark);
BEGIN;
SELECT ward.set_tenant_context('a');
TABLE invoice; TABLE "Line of"; TABLE remark;
INSERT INTO remark VALUES (100, 5);
SAVEPOINT s;
-- The row of another tenant and a row that is not there are refused alike.
INSERT INTO remark VALUES (200, 6);
ROLLBACK TO s;
INSERT INTO remark VALUES (999, 6);
ROLLBACK TO s;
INSERT INTO remark VALUES (NULL, 6);
ROLLBACK TO s;
UPDATE remark SET line = 200;
ROLLBACK TO s;
UPDATE invoice SET tenant = 'b';
ROLLBACK TO s;
DELETE FROM remark;
ROLLBACK;
-- The parents' keys are used. Plans differ between versions of PostgreSQL: what they must not do does not.
CREATE FUNCTION pg_temp.plan(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY EXECUTE 'EXPLAIN (COSTS OFF) ' || query;
END $$;
SET enable_seqscan = off;
SELECT bool_or(line ~ 'account_pkey') AS uses_key, bool_or(line ~ 'Seq Scan') AS reads_all FROM pg_temp.plan('SELECT * FROM "Line of" WHERE id = 100') AS line;
RESET enable_seqscan;
DROP FUNCTION pg_temp.plan;
SET ROLE kinds_owner;
-- Without the right to read the parent nobody sees its children.
REVOKE ALL ON account FROM kinds_app;
SET ROLE kinds_app;
SELECT count(*) FROM remark;
SET ROLE kinds_owner;
GRANT SELECT ON account TO kinds_app;
-- The children stay isolated when the parent is not any more.
SELECT ward.disable_isolation('account');
SET ROLE kinds_app;
SELECT count(*) FROM account;
BEGIN;
SELECT ward.set_tenant_context('b');
TABLE invoice; TABLE remark;
ROLLBACK;
SET ROLE kinds_owner;
SELECT tablename, isolated_by, status FROM ward.check_rls_status() WHERE schemaname = 'kinds' AND tablename IN ('account', 'invoice', 'remark');
-- Parent and tenant at once.
CREATE TABLE paid (tenant_id text, invoice int REFERENCES invoice);
SELECT ward.enable_parent_isolation('paid', 'invoice', 'never');
SELECT ward.enable_tenant_isolation('paid', create_index => 'never');
SELECT polname, polpermissive, pg_get_expr(polqual, polrelid) = '(tenant_id = ward.get_tenant_context())' AS by_tenant FROM pg_policy WHERE polrelid = 'paid'::regclass ORDER BY 1;
-- What cannot be a parent.
CREATE TABLE tree (id int PRIMARY KEY, up int REFERENCES tree, other int, tenant_id text, account int, FOREIGN KEY (tenant_id, account) REFERENCES account, invoice int REFERENCES invoice);
SELECT ward.enable_parent_isolation('tree', 'up');
SELECT ward.enable_parent_isolation('tree', 'other');
SELECT ward.enable_parent_isolation('tree', 'nowhere');
SELECT ward.enable_parent_isolation('tree', NULL);
SELECT ward.enable_parent_isolation('tree', '');
SELECT ward.enable_parent_isolation(NULL, 'up');
SELECT ward.enable_parent_isolation('tree', 'account');
SELECT ward.enable_tenant_isolation('account');
ALTER TABLE tree ADD FOREIGN KEY (account) REFERENCES invoice;
SELECT ward.enable_parent_isolation('tree', 'account');
ALTER TABLE invoice ADD remark int;
ALTER TABLE remark ADD PRIMARY KEY (id);
ALTER TABLE invoice ADD FOREIGN KEY (remark) REFERENCES remark;
SELECT ward.disable_isolation('invoice');
SELECT ward.enable_parent_isolation('invoice', 'remark');
ALTER TABLE invoice DROP COLUMN remark;
SELECT ward.enable_parent_isolation('invoice', 'account');
-- A policy of that name by somebody else is not followed.
SELECT ward.disable_isolation('invoice');
CREATE POLICY ward_parent_isolation ON invoice AS RESTRICTIVE USING (true);
SELECT ward.enable_parent_isolation('paid', 'invoice');
SELECT ward.disable_isolation('paid');
SELECT ward.enable_parent_isolation('paid', 'invoice');
DROP POLICY ward_parent_isolation ON invoice;
-- Renamed tables and columns, another owner.
SELECT ward.enable_parent_isolation('invoice', 'account');
ALTER TABLE invoice RENAME TO bill;
ALTER TABLE bill RENAME account TO payer;
ALTER TABLE "Line of" RENAME TO item;
SELECT ward.enable_parent_isolation('bill', 'payer');
SELECT ward.enable_parent_isolation('item', 'the Invoice');
SELECT tab, kind, columns, parent FROM ward.isolated_tables WHERE tab = 'item'::regclass OR tab = 'bill'::regclass;
SELECT ward.disable_isolation('item'), ward.disable_isolation('bill'), ward.disable_isolation('remark'), ward.disable_isolation('account'), ward.disable_isolation('paid');
DROP TABLE tree, paid, remark, item, bill, account;

-- Disabling puts back what was there.
SELECT ward.disable_isolation(t) FROM unnest('{diary,diary_text,diary_number,diary_domain}'::regclass[]) AS t;
(SELECT * FROM before WHERE relname ~ '^diary' EXCEPT TABLE everything) UNION ALL (SELECT * FROM everything WHERE relname ~ '^diary' EXCEPT TABLE before) ORDER BY 1;
-- A default that was changed since is the owner's own; an index that is wanted stays.
SELECT ward.enable_user_isolation('diary');
ALTER TABLE diary ALTER user_id SET DEFAULT 'a0000000-0000-4000-8000-000000000003';
SELECT ward.disable_isolation('diary', drop_index => false);
SELECT * FROM everything WHERE relname = 'diary';
SELECT ward.enable_user_isolation('diary');
SELECT ward.disable_isolation('diary');
SELECT * FROM everything WHERE relname = 'diary';
SELECT ward.disable_isolation('diary', NULL);
-- A default cannot be guessed to be ours.
ALTER TABLE diary ALTER user_id SET DEFAULT ward.get_current_user_id();
SELECT ward.enable_user_isolation('diary', create_index => 'never');
SELECT ward.disable_isolation('diary');
SELECT * FROM everything WHERE relname = 'diary';
-- A dropped column takes the policies with it, and closes the table.
SELECT ward.enable_user_isolation('diary');
ALTER TABLE diary DROP COLUMN user_id;
ALTER TABLE diary DROP COLUMN user_id CASCADE;
SELECT * FROM everything WHERE relname = 'diary';
SELECT count(*) FROM diary;
SELECT status FROM ward.check_rls_status() WHERE tablename = 'diary';
SELECT ward.disable_isolation('diary');

-- Partitions: one index for all; indexes that were there stay.
CREATE TABLE event (tenant_id text, at int) PARTITION BY RANGE (at);
CREATE TABLE event_1 PARTITION OF event FOR VALUES FROM (0) TO (10);
CREATE TABLE event_2 PARTITION OF event FOR VALUES FROM (10) TO (20);
CREATE TABLE part_before AS SELECT * FROM everything WHERE relname ~ '^event';
SELECT ward.enable_tenant_isolation('event');
CREATE TABLE event_3 PARTITION OF event FOR VALUES FROM (20) TO (30);
CREATE TABLE event_4 (at int, tenant_id text);
ALTER TABLE event ATTACH PARTITION event_4 FOR VALUES FROM (30) TO (40);
SELECT tablename, isolated_by, index_state, status FROM ward.check_rls_status() WHERE tablename ~ '^event';
SELECT ward.enable_tenant_isolation('event');
CREATE TABLE event_5 PARTITION OF event FOR VALUES FROM (40) TO (50);
SELECT tablename, isolated_by, index_state, status FROM ward.check_rls_status() WHERE tablename ~ '^event';
SELECT * FROM everything WHERE relname ~ '^event';
SELECT ward.disable_isolation('event');
SELECT * FROM everything WHERE relname ~ '^event';
TABLE part_before;
CREATE INDEX mine ON event_1 (tenant_id);
SELECT ward.enable_tenant_isolation('event');
SELECT ward.disable_isolation('event');
SELECT relname, indexes FROM everything WHERE relname = 'event_1';

-- When the index is created.
CREATE TABLE large (tenant_id text, filler text);
ALTER TABLE large ALTER filler SET STORAGE PLAIN;
INSERT INTO large SELECT 'a', repeat('x', 7000) FROM generate_series(1, 4100);
SELECT ward.enable_tenant_isolation('large');
SELECT ward.enable_tenant_isolation('large', create_index => 'never');
SELECT status, column_indexed, index_state FROM ward.check_rls_status() WHERE tablename = 'large';
SELECT ward.enable_tenant_isolation('large', create_index => 'now');
SELECT indexes FROM everything WHERE relname = 'large';
SELECT ward.enable_tenant_isolation('large', create_index => NULL);
SELECT ward.enable_tenant_isolation('large', create_index => 'tomorrow');
DROP INDEX large_tenant_id_idx;
BEGIN;
SELECT ward.enable_tenant_isolation('large', create_index => 'concurrently');
PREPARE TRANSACTION 'index';
SELECT ward.enable_tenant_isolation('event', create_index => 'now');

RESET ROLE;
RESET search_path;
SET client_min_messages = warning;
DROP SCHEMA kinds CASCADE;
DROP ROLE kinds_owner, kinds_app;
