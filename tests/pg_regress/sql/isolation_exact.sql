-- What isolation takes away and leaves, where tables are less simple.
\set VERBOSITY default
SET client_min_messages = error;
DROP ROLE IF EXISTS exact_app;
CREATE ROLE exact_app;
CREATE SCHEMA exact;
SET search_path = exact;
-- A default that the owner gave another column stays.
CREATE TABLE doc (tenant_id text, made_by text DEFAULT ward.get_tenant_context(), n int);
SELECT ward.enable_tenant_isolation('doc');
SELECT ward.disable_isolation('doc');
SELECT attname, pg_get_expr(adbin, adrelid) FROM pg_attrdef JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum
WHERE adrelid = 'doc'::regclass;
-- On a partition that came later too.
CREATE TABLE part (tenant_id text, made_by text DEFAULT ward.get_tenant_context(), n int) PARTITION BY LIST (n);
SELECT ward.enable_tenant_isolation('part');
CREATE TABLE part_1 PARTITION OF part FOR VALUES IN (1);
SELECT ward.disable_isolation('part');
SELECT adrelid::regclass, attname, pg_get_expr(adbin, adrelid) FROM pg_attrdef JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum
WHERE adrelid IN ('part'::regclass, 'part_1'::regclass) ORDER BY 1, 2;
-- Through a parent that is partitioned: PostgreSQL keeps a copy of the key for each partition.
CREATE TABLE parent (tenant_id text, id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE parent_1 PARTITION OF parent FOR VALUES FROM (0) TO (10);
CREATE TABLE parent_2 PARTITION OF parent FOR VALUES FROM (10) TO (20);
CREATE TABLE child (id int, parent int REFERENCES parent);
INSERT INTO parent VALUES ('a', 1), ('b', 11);
INSERT INTO child VALUES (1, 1), (2, 11);
SELECT ward.enable_tenant_isolation('parent'), ward.enable_parent_isolation('child', 'parent');
SELECT tab, kind, columns, parent FROM ward.isolated_tables WHERE tab = 'child'::regclass;
GRANT USAGE ON SCHEMA exact TO exact_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON parent, child TO exact_app;
SELECT bool_and(isolated IS TRUE), count(*) FROM ward.test_isolation('child', 'exact_app', 'a', 'b');
SELECT ward.enable_parent_isolation('child', 'parent');
-- A condition that still begins as pg_ward made it.
SELECT status FROM ward.check_rls_status() WHERE schemaname = 'exact' AND tablename = 'child';
ALTER POLICY ward_parent_isolation ON child
    USING (EXISTS (SELECT 1 FROM exact.parent p WHERE p.id = parent AND p.tenant_id = ward.get_tenant_context() UNION ALL SELECT 1))
    WITH CHECK (EXISTS (SELECT 1 FROM exact.parent p WHERE p.id = parent AND p.tenant_id = ward.get_tenant_context() UNION ALL SELECT 1));
SELECT status FROM ward.check_rls_status() WHERE schemaname = 'exact' AND tablename = 'child';
ALTER POLICY ward_parent_isolation ON child
    USING (EXISTS (SELECT 1 FROM exact.parent p WHERE p.id = parent)) WITH CHECK (EXISTS (SELECT 1 FROM exact.parent p WHERE p.id = parent));
SELECT status FROM ward.check_rls_status() WHERE schemaname = 'exact' AND tablename = 'child';
RESET search_path;
DROP SCHEMA exact CASCADE;
DROP ROLE exact_app;
