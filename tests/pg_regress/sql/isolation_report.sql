-- What reaches across isolation: foreign keys, unique keys, roles, policies that were changed.
\set VERBOSITY default
\set SHOW_CONTEXT never
SET client_min_messages = error;
DROP ROLE IF EXISTS report_owner, report_app, report_bypass;
CREATE ROLE report_owner;
CREATE ROLE report_app;
CREATE ROLE report_bypass BYPASSRLS;
CREATE SCHEMA report AUTHORIZATION report_owner;
SET ROLE report_owner;
SET search_path = report;

CREATE TABLE customer (tenant_id int, id int PRIMARY KEY, code text UNIQUE, token uuid UNIQUE, CONSTRAINT "no Dup" UNIQUE NULLS NOT DISTINCT (code, token));
CREATE UNIQUE INDEX "customer Lower" ON customer (lower(code));
CREATE UNIQUE INDEX customer_part ON customer (code, id) WHERE id > 0;
CREATE TABLE orders (tenant_id int, id int, "Customer" int CONSTRAINT "orders Customer" REFERENCES customer ON DELETE SET NULL ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED,
                     up int, UNIQUE (tenant_id, id), FOREIGN KEY (tenant_id, up) REFERENCES orders (tenant_id, id));
CREATE TABLE item (no int, customer int REFERENCES customer ON DELETE CASCADE, UNIQUE (customer, no), UNIQUE (no));
CREATE TABLE visitor (user_id uuid, customer int REFERENCES customer);
CREATE TABLE stranger (customer int REFERENCES customer);
CREATE TABLE shared (id int PRIMARY KEY);
ALTER TABLE orders ADD shared int REFERENCES shared;
SELECT ward.enable_tenant_isolation('customer');
SELECT ward.enable_tenant_isolation('orders');
SELECT ward.enable_parent_isolation('item', 'customer');
SELECT ward.enable_user_isolation('visitor');
\x on
SELECT * FROM ward.isolation_foreign_keys();
\x off
-- Of one table: its own keys, and the keys to it.
SELECT table_name, constraint_name FROM ward.isolation_foreign_keys('stranger');
SELECT table_name, constraint_name FROM ward.isolation_foreign_keys('customer');
SELECT count(*) FROM ward.isolation_foreign_keys('shared');
SELECT count(*) FROM ward.isolation_foreign_keys(0::oid::regclass);
-- What it advises closes what it reports.
DO $$
DECLARE
    fix text;
BEGIN
    FOR fix IN SELECT remediation FROM ward.isolation_foreign_keys() WHERE remediation IS NOT NULL LOOP
        EXECUTE fix;
    END LOOP;
END $$;
SELECT table_name, constraint_name, kind, problem, remediation FROM ward.isolation_foreign_keys();
SELECT conname, pg_get_constraintdef(oid), convalidated FROM pg_constraint WHERE conrelid IN ('orders'::regclass, 'customer'::regclass) AND contype IN ('f', 'u') ORDER BY 1;
SELECT pg_get_indexdef('"customer Lower"'::regclass), pg_get_indexdef('customer_part'::regclass);
-- The table it advises to isolate by its parent.
SELECT tab, kind, columns, parent FROM ward.isolated_tables WHERE tab = 'stranger'::regclass;
-- A row that refers to itself by parent: both must have the same parent.
CREATE TABLE reply (id int PRIMARY KEY, customer int REFERENCES customer, to_reply int REFERENCES reply);
SELECT ward.enable_parent_isolation('reply', 'customer');
SELECT remediation FROM ward.isolation_foreign_keys('reply') WHERE kind = 'foreign key';
-- A partitioned table's key is added at once.
CREATE TABLE log (tenant_id int, customer int REFERENCES customer) PARTITION BY LIST (tenant_id);
CREATE TABLE log_1 PARTITION OF log FOR VALUES IN (1);
SELECT ward.enable_tenant_isolation('log');
SELECT table_name, remediation FROM ward.isolation_foreign_keys('log');

-- The state of each table.
CREATE TABLE plain (a int);
CREATE TABLE own_policy (a int);
CREATE POLICY p ON own_policy USING (a > random());
CREATE TABLE no_policy (a int);
ALTER TABLE no_policy ENABLE ROW LEVEL SECURITY;
CREATE TEMPORARY TABLE temporary (a int);
CREATE TABLE altered (tenant_id int, up int REFERENCES customer);
SELECT ward.enable_tenant_isolation('altered');
SELECT ward.enable_parent_isolation('altered', 'up');
RESET ROLE;
SELECT tablename, rls_enabled AS rls, forced, policies_count AS n, isolated_by, column_indexed AS indexed, index_state, policy_functions_safe AS safe, bypassing_roles, status
FROM ward.check_rls_status() WHERE schemaname = 'report' ORDER BY 1;
SELECT count(*) FROM ward.check_rls_status() WHERE schemaname IN ('ward', 'pg_catalog', 'information_schema') OR tablename = 'temporary';
SET ROLE report_owner;
ALTER TABLE customer NO FORCE ROW LEVEL SECURITY;
ALTER TABLE orders DISABLE ROW LEVEL SECURITY;
ALTER POLICY ward_parent_isolation ON altered USING (true);
ALTER POLICY ward_tenant_isolation ON altered TO report_app;
DROP POLICY ward_access ON visitor;
CREATE FUNCTION loose() RETURNS int LANGUAGE sql STABLE RETURN 1;
CREATE POLICY p ON item USING (no = loose());
DROP INDEX stranger_customer_idx;
-- Anybody may look: it is in the catalogs.
SET ROLE report_app;
SELECT tablename, forced, policy_functions_safe AS safe, bypassing_roles, status FROM ward.check_rls_status()
WHERE schemaname = 'report' AND tablename IN ('customer', 'orders', 'altered', 'visitor', 'item', 'stranger') ORDER BY 1;
SELECT count(*) > 0 FROM ward.isolation_foreign_keys();
-- An isolation that only looks like one.
SET ROLE report_owner;
DROP POLICY ward_tenant_isolation ON altered;
CREATE POLICY ward_tenant_isolation ON altered AS RESTRICTIVE USING (tenant_id = ward.get_current_tenant_number() OR true);
SELECT status FROM ward.check_rls_status() WHERE tablename = 'altered';
CREATE TABLE other_column (tenant_id int, n int);
CREATE POLICY ward_tenant_isolation ON other_column AS RESTRICTIVE USING (n = tenant_id) WITH CHECK (n = tenant_id);
SELECT isolated_by, status FROM ward.check_rls_status() WHERE tablename = 'other_column';

DROP TABLE pg_temp.temporary;
RESET ROLE;
RESET search_path;
DROP SCHEMA report CASCADE;
DROP ROLE report_owner, report_app, report_bypass;
