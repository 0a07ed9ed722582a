-- Audited tables whose partitions and inheritance children come and go.
\set VERBOSITY default
\set SHOW_CONTEXT never
SELECT current_database() AS origin \gset
SET client_min_messages = warning;
DROP DATABASE IF EXISTS ward_audit_partitions;
DROP ROLE IF EXISTS ward_partitions_owner;
CREATE DATABASE ward_audit_partitions ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
CREATE ROLE ward_partitions_owner;
\c ward_audit_partitions
SET client_min_messages = warning;
CREATE EXTENSION pg_ward;

CREATE VIEW trail AS SELECT row_number() OVER () AS n, * FROM ward.audit_trail WHERE operation <> 'EVENT';
CREATE VIEW triggers AS
SELECT tgrelid::regclass AS tab, regexp_replace(tgname, '[0-9]+$', 'N') AS tgname, tgenabled, tgparentid <> 0 AS inherited
FROM pg_trigger WHERE tgfoid = 'ward.audit_capture()'::regprocedure ORDER BY tgrelid::regclass::text COLLATE "C", 2;

-- Partitions made, attached and subpartitioned after the audit was enabled: TRUNCATE of each is recorded.
CREATE TABLE late (id int, region text) PARTITION BY LIST (region);
SELECT ward.enable_audit('late', exclude => '{region}');
CREATE TABLE late_made PARTITION OF late FOR VALUES IN ('made');
CREATE TABLE late_attached (id int, region text);
ALTER TABLE late ATTACH PARTITION late_attached FOR VALUES IN ('attached');
CREATE TABLE late_sub PARTITION OF late FOR VALUES IN ('sub') PARTITION BY RANGE (id);
CREATE TABLE late_sub_made PARTITION OF late_sub FOR VALUES FROM (0) TO (10);
CREATE TABLE late_tree (id int, region text) PARTITION BY RANGE (id);
CREATE TABLE late_tree_leaf PARTITION OF late_tree FOR VALUES FROM (0) TO (10);
ALTER TABLE late ATTACH PARTITION late_tree FOR VALUES IN ('tree');
CREATE SCHEMA late_schema CREATE TABLE late_in_schema PARTITION OF public.late FOR VALUES IN ('schema');
SET session_replication_role = replica;
CREATE TABLE late_replica PARTITION OF late FOR VALUES IN ('replica');
RESET session_replication_role;
SELECT * FROM triggers WHERE tab::text ~ 'late';
SELECT DISTINCT encode(tgargs, 'escape') FROM pg_trigger
WHERE tgfoid = 'ward.audit_capture()'::regprocedure AND tgrelid::regclass::text ~ 'late';
TRUNCATE late_made;
TRUNCATE late_attached;
TRUNCATE late_sub;
TRUNCATE late_tree_leaf;
TRUNCATE late_schema.late_in_schema;
TRUNCATE late_replica;
SELECT table_name FROM ward.audit_trail WHERE operation = 'TRUNCATE' ORDER BY 1;
-- Statements that have nothing to do with it; one that is rolled back.
CREATE TABLE unrelated (id int);
ALTER TABLE unrelated ADD COLUMN a text;
CREATE TABLE unrelated_child () INHERITS (unrelated);
CREATE TABLE unrelated_copy AS SELECT * FROM unrelated;
BEGIN;
CREATE TABLE late_rolled_back PARTITION OF late FOR VALUES IN ('rolled back');
ROLLBACK;
SELECT * FROM triggers WHERE tab::text ~ 'unrelated';
SELECT ward.audit_ddl();

-- A member of an audited table is not enabled or disabled by itself.
SELECT ward.enable_audit('late_made');
SELECT ward.enable_audit('late_sub_made');
SELECT ward.disable_audit('late_sub');
-- A detached partition is audited on, by itself, with its subpartitions if it has any. It can come back.
ALTER TABLE late DETACH PARTITION late_made;
ALTER TABLE late DETACH PARTITION late_sub;
ALTER TABLE late DETACH PARTITION late_attached CONCURRENTLY;
SELECT * FROM triggers WHERE tab::text ~ 'late_(made|sub|attached)';
SELECT table_name, exclude, active FROM ward.audited_tables WHERE table_name LIKE 'late%' ORDER BY 1;
INSERT INTO late_made VALUES (1, 'made');
INSERT INTO late_sub VALUES (2, 'sub');
TRUNCATE late_attached;
SELECT table_name, operation, new_values FROM trail
WHERE table_name IN ('late_made', 'late_sub', 'late_attached') ORDER BY n DESC LIMIT 3;
CREATE TABLE late_sub_more PARTITION OF late_sub FOR VALUES FROM (10) TO (20);
ALTER TABLE late ATTACH PARTITION late_made FOR VALUES IN ('made');
ALTER TABLE late ATTACH PARTITION late_sub FOR VALUES IN ('sub');
SELECT * FROM triggers WHERE tab::text ~ 'late_(made|sub)';
SELECT table_name FROM ward.audited_tables WHERE table_name LIKE 'late%' ORDER BY 1;
INSERT INTO late VALUES (3, 'made');
SELECT table_name, operation, new_values FROM trail ORDER BY n DESC LIMIT 1;
SELECT ward.disable_audit('late_attached'), ward.disable_audit('late');
SELECT * FROM triggers WHERE tab::text ~ 'late';
-- A root whose partitions were audited before: its lists count.
SELECT ward.enable_audit('late_made', redact => '{id}'), ward.enable_audit('late_sub'), ward.enable_audit('late');
SELECT table_name, redact FROM ward.audited_tables WHERE table_name LIKE 'late%';
SELECT * FROM triggers WHERE tab::text ~ 'late_(made|sub)';
SELECT ward.disable_audit('late');
SELECT * FROM triggers WHERE tab::text ~ 'late';

-- Inheritance children, made before and after.
CREATE TABLE family (id int, a text);
CREATE TABLE family_first (b text) INHERITS (family);
CREATE TABLE family_grandchild () INHERITS (family_first);
SELECT ward.enable_audit('family', exclude => '{a}');
CREATE TABLE family_second (c text) INHERITS (family);
CREATE TABLE family_adopted (id int, a text);
ALTER TABLE family_adopted INHERIT family;
CREATE TEMPORARY TABLE family_temporary () INHERITS (family);
CREATE TABLE stranger (id int);
SELECT ward.enable_audit('stranger');
CREATE TABLE family_of_two () INHERITS (family, stranger);
SELECT * FROM triggers WHERE tab::text ~ 'family';
INSERT INTO family_grandchild VALUES (1, 'a', 'b');
INSERT INTO family_adopted VALUES (2, 'a');
UPDATE family SET id = id + 10;
TRUNCATE family_second;
TRUNCATE ONLY family_grandchild;
SELECT table_name, operation, old_values, new_values FROM trail WHERE table_name LIKE 'family%' ORDER BY n;
SELECT ward.enable_audit('family_first');
SELECT ward.disable_audit('family_grandchild');
ALTER TABLE family_adopted NO INHERIT family;
SELECT ward.disable_audit('family');
-- What left the family, and what has another audited parent, is audited on.
SELECT * FROM triggers WHERE tab::text ~ 'family';
SELECT ward.disable_audit('stranger'), ward.disable_audit('family_adopted');
SELECT * FROM triggers WHERE tab::text ~ 'family';

-- Hostile names: of a root, of a partition made later, of columns.
CREATE TABLE "Evil'; DROP TABLE late; --" ("a\000""b'" int, U&"gr\00fc\00df\+01f512" text) PARTITION BY LIST ("a\000""b'");
SELECT ward.enable_audit('"Evil''; DROP TABLE late; --"', ARRAY['a\000"b'''], ARRAY[U&'gr\00fc\00df\+01f512']);
CREATE TABLE "Evil %I %s $1 ""part" PARTITION OF "Evil'; DROP TABLE late; --" DEFAULT;
INSERT INTO "Evil'; DROP TABLE late; --" VALUES (1, 'secret');
TRUNCATE "Evil %I %s $1 ""part";
ALTER TABLE "Evil'; DROP TABLE late; --" DETACH PARTITION "Evil %I %s $1 ""part";
INSERT INTO "Evil %I %s $1 ""part" VALUES (2, 'secret');
SELECT table_name, operation, new_values FROM trail WHERE table_name LIKE 'Evil%' ORDER BY n;
SELECT table_name, exclude, redact FROM ward.audited_tables WHERE table_name LIKE 'Evil%' ORDER BY 1;
-- The arguments of a trigger are plain ASCII, whatever the encoding.
SELECT DISTINCT encode(tgargs, 'escape') FROM pg_trigger WHERE tgrelid = '"Evil %I %s $1 ""part"'::regclass;

-- The owner of an audited table needs no right of an administrator to make partitions and children.
CREATE SCHEMA owned AUTHORIZATION ward_partitions_owner;
CREATE TABLE owned.root (id int) PARTITION BY RANGE (id);
CREATE TABLE owned.parent (id int);
SELECT ward.enable_audit('owned.root'), ward.enable_audit('owned.parent');
ALTER TABLE owned.root OWNER TO ward_partitions_owner;
ALTER TABLE owned.parent OWNER TO ward_partitions_owner;
SET ROLE ward_partitions_owner;
CREATE TABLE owned.root_made PARTITION OF owned.root FOR VALUES FROM (0) TO (10);
CREATE TABLE owned.root_attached (id int);
ALTER TABLE owned.root ATTACH PARTITION owned.root_attached FOR VALUES FROM (10) TO (20);
CREATE TABLE owned.child () INHERITS (owned.parent);
INSERT INTO owned.root VALUES (1), (11);
INSERT INTO owned.child VALUES (1);
TRUNCATE owned.root_made;
TRUNCATE owned.root_attached;
TRUNCATE owned.child;
ALTER TABLE owned.root DETACH PARTITION owned.root_made;
INSERT INTO owned.root_made VALUES (2);
SELECT current_user, ward.audit_ddl();
SELECT current_user;
RESET ROLE;
SELECT * FROM triggers WHERE tab::text ~ 'owned';
SELECT table_name, operation, count(*) FROM ward.audit_trail WHERE table_schema = 'owned' GROUP BY 1, 2 ORDER BY 1, 2;

-- The trail can be read by a parallel query.
-- (the setting has another name from 16 on)
SELECT set_config(name, 'on', false) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
SELECT count(*) > 0 AS read FROM ward.audit_trail;
SELECT set_config(name, 'off', false) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
SELECT ward.seal_audit_trail() > 0 AS sealed;
SELECT is_valid, reason FROM ward.verify_audit_trail_integrity();
SELECT evtname, evtenabled, obj_description(oid, 'pg_event_trigger') IS NOT NULL AS commented FROM pg_event_trigger ORDER BY 1;
-- The event trigger goes with the extension.
DROP EXTENSION pg_ward CASCADE;
SELECT count(*) FROM pg_event_trigger;
CREATE TABLE after_drop () INHERITS (family);

\c :origin
SET client_min_messages = warning;
DROP DATABASE ward_audit_partitions WITH (FORCE);
DROP ROLE ward_partitions_owner;
