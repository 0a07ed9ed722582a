-- Auditing a table: what can be audited and what not, who may do what, partitions, and what
-- sealing, verifying and signing say. What a change leaves in the trail is in audit_changes.sql.
\set VERBOSITY default
\set SHOW_CONTEXT never
SELECT current_database() AS origin \gset
SET client_min_messages = warning;
DROP DATABASE IF EXISTS ward_audit;
DROP ROLE IF EXISTS ward_audit_app, ward_audit_auditor, ward_audit_admin;
CREATE DATABASE ward_audit ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
CREATE ROLE ward_audit_app;
CREATE ROLE ward_audit_auditor;
CREATE ROLE ward_audit_admin;
\c ward_audit
SET client_min_messages = warning;
CREATE EXTENSION pg_ward;
RESET client_min_messages;

-- The trail in the order of the log: sealed entries come first, the rest by transaction.
CREATE VIEW trail AS SELECT row_number() OVER () AS n, * FROM ward.audit_trail WHERE operation <> 'EVENT';
-- The triggers of a table and its partitions; O would mean: not for replication.
CREATE VIEW triggers AS
SELECT tgrelid::regclass AS tab, regexp_replace(tgname, '[0-9]+$', 'N') AS tgname, tgenabled, tgparentid <> 0 AS inherited
FROM pg_trigger WHERE tgfoid = 'ward.audit_capture()'::regprocedure ORDER BY 1, 2;

-- Before any table is audited there is no log.
SELECT count(*) FROM ward.audit_trail;
SELECT count(*) FROM ward.audit_blocks;
SELECT count(*) FROM ward.audited_tables;
SELECT ward.seal_audit_trail();
SELECT * FROM ward.verify_audit_trail_integrity();
SELECT * FROM ward.audit_violations();
SELECT ward.audit_checkpoint();
SELECT ward.audit_public_key();

-- What cannot be audited.
CREATE TABLE plain (id int PRIMARY KEY, a text, b text);
CREATE VIEW a_view AS SELECT * FROM plain;
CREATE MATERIALIZED VIEW a_matview AS SELECT * FROM plain;
CREATE SEQUENCE a_sequence;
CREATE INDEX an_index ON plain (a);
CREATE TYPE a_type AS (x int);
CREATE TEMPORARY TABLE temporary (id int);
CREATE FOREIGN DATA WRAPPER a_wrapper;
CREATE SERVER a_server FOREIGN DATA WRAPPER a_wrapper;
CREATE FOREIGN TABLE a_foreign (id int) SERVER a_server;
SELECT ward.enable_audit(NULL);
SELECT ward.enable_audit('a_view');
SELECT ward.enable_audit('a_matview');
SELECT ward.enable_audit('a_foreign');
SELECT ward.enable_audit('a_sequence');
SELECT ward.enable_audit('an_index');
SELECT ward.enable_audit('a_type');
\set VERBOSITY sqlstate
SELECT ward.enable_audit('temporary');
\set VERBOSITY default
SELECT ward.enable_audit('pg_class');
SELECT ward.enable_audit('pg_catalog.pg_authid');
SELECT ward.enable_audit('information_schema.sql_features');
SELECT ward.enable_audit('information_schema.tables');
SELECT ward.enable_audit('ward.audit_block');
SELECT ward.enable_audit('ward.audit_journal_0');
SELECT ward.enable_audit('ward.audit_trail');
SELECT ward.enable_audit('ward.encryption_key');
SELECT ward.enable_audit('no_such_table');
SELECT ward.enable_audit(1::oid);
-- Lists of columns.
SELECT ward.enable_audit('plain', exclude => '{missing}');
SELECT ward.enable_audit('plain', redact => '{missing}');
SELECT ward.enable_audit('plain', exclude => '{A}');
SELECT ward.enable_audit('plain', exclude => '{ctid}');
SELECT ward.enable_audit('plain', exclude => '{a}', redact => '{b,a}');
SELECT ward.enable_audit('plain', exclude => '{a,NULL}');
SELECT ward.enable_audit('plain', redact => ARRAY[NULL]::name[]);
CREATE TABLE shrunk (id int PRIMARY KEY, gone int);
ALTER TABLE shrunk DROP COLUMN gone;
SELECT ward.enable_audit('shrunk', exclude => '{gone}');
SELECT ward.enable_audit('shrunk', exclude => '{........pg.dropped.2........}');
-- None of that left anything behind.
SELECT * FROM triggers;
SELECT count(*) FROM ward.audited_tables;
SELECT count(*) FROM ward.audit_log;

-- Disabling what is not audited.
SELECT ward.disable_audit('plain');
SELECT ward.disable_audit(NULL);
SELECT ward.disable_audit('a_view');
SELECT ward.disable_audit('pg_class');
SELECT ward.disable_audit('no_such_table');

-- Enabled, rolled back, enabled.
BEGIN;
SELECT ward.enable_audit('plain');
INSERT INTO plain VALUES (0, 'rolled', 'back');
ROLLBACK;
SELECT * FROM triggers;
SELECT count(*) FROM ward.audited_tables;
SELECT ward.enable_audit('plain');
SELECT * FROM triggers;
SELECT * FROM ward.audited_tables;
ALTER TABLE plain DISABLE TRIGGER ward_audit;
SELECT table_name, active FROM ward.audited_tables;
ALTER TABLE plain ENABLE ALWAYS TRIGGER ward_audit;
INSERT INTO plain VALUES (1, 'a1', 'b1');

-- Again, with other lists: the last call counts, from the next change on.
SELECT ward.enable_audit('plain');
SELECT ward.enable_audit('plain', exclude => '{a}');
INSERT INTO plain VALUES (2, 'a2', 'b2');
SELECT ward.enable_audit('plain', exclude => '{b}', redact => '{a}');
INSERT INTO plain VALUES (3, 'a3', 'b3');
SELECT ward.enable_audit('plain', NULL, NULL);
INSERT INTO plain VALUES (4, 'a4', 'b4');
SELECT ward.enable_audit('plain', exclude => '{a,a}', redact => '{b,b}');
INSERT INTO plain VALUES (5, 'a5', 'b5');
-- Also within one transaction.
BEGIN;
INSERT INTO plain VALUES (6, 'a6', 'b6');
SELECT ward.enable_audit('plain', redact => '{a}');
INSERT INTO plain VALUES (7, 'a7', 'b7');
COMMIT;
SELECT * FROM triggers;
SELECT table_name, exclude, redact FROM ward.audited_tables;
SELECT record_id, operation, new_values FROM trail WHERE table_name = 'plain' ORDER BY n;

-- Disabled: what was recorded stays, nothing is added.
SELECT ward.disable_audit('plain');
INSERT INTO plain VALUES (8, 'a8', 'b8');
TRUNCATE plain;
SELECT * FROM triggers;
SELECT count(*) FROM ward.audited_tables;
SELECT count(*) FROM trail WHERE table_name = 'plain';
SELECT ward.disable_audit('plain');
SELECT ward.enable_audit('plain');
BEGIN;
SELECT ward.disable_audit('plain');
INSERT INTO plain VALUES (9, 'a9', 'b9');
ROLLBACK;
INSERT INTO plain VALUES (10, 'a10', 'b10');
SELECT record_id FROM trail WHERE table_name = 'plain' ORDER BY n DESC LIMIT 1;

-- Names that need quoting, everywhere.
CREATE SCHEMA "Odd ""schema'";
CREATE TABLE "Odd ""schema'"."Odd ""table';--" ("the ""key" int PRIMARY KEY, "a'b\c" text, U&"\00fc\+01f512" text);
SELECT ward.enable_audit('"Odd ""schema''"."Odd ""table'';--"', ARRAY[U&'\00fc\+01f512'], ARRAY['a''b\c']);
INSERT INTO "Odd ""schema'"."Odd ""table';--" VALUES (1, 'secret', 'noise');
SELECT exclude, redact FROM ward.audited_tables WHERE table_name LIKE 'Odd%';
SELECT table_schema, table_name, record_id, new_values FROM trail WHERE table_name LIKE 'Odd%';
SELECT ward.enable_audit('"Odd ""schema''"."Odd ""table'';--"', ARRAY['no such "column']);
SELECT ward.disable_audit('"Odd ""schema''"."Odd ""table'';--"');
-- A search path with traps in it.
CREATE SCHEMA trap;
CREATE FUNCTION trap.gen_random_uuid() RETURNS uuid LANGUAGE sql AS 'SELECT NULL::uuid';
CREATE VIEW trap.audit_trigger AS SELECT 0::oid AS relation WHERE false;
CREATE TABLE trap.plain (id int);
SET search_path = trap, public, pg_catalog;
SELECT ward.enable_audit('plain');
SELECT * FROM public.triggers WHERE tab = 'trap.plain'::regclass;
SELECT ward.disable_audit('plain');
RESET search_path;

-- An unlogged table.
CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY);
SELECT ward.enable_audit('unlogged');
INSERT INTO unlogged VALUES (1);
SELECT table_name, record_id, operation FROM trail WHERE table_name = 'unlogged';

-- Partitions: made before, made after, attached, subpartitioned; through the root and directly.
CREATE TABLE part (id int, region text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE part_north PARTITION OF part FOR VALUES IN ('north');
CREATE TABLE part_south PARTITION OF part FOR VALUES IN ('south') PARTITION BY RANGE (id);
CREATE TABLE part_south_low PARTITION OF part_south FOR VALUES FROM (0) TO (100);
SELECT ward.enable_audit('part');
CREATE TABLE part_south_high PARTITION OF part_south FOR VALUES FROM (100) TO (200);
CREATE TABLE part_east (extra int, id int NOT NULL, region text NOT NULL);
INSERT INTO part_east VALUES (0, 1, 'east');
ALTER TABLE part_east DROP COLUMN extra;
ALTER TABLE part ATTACH PARTITION part_east FOR VALUES IN ('east');
SELECT tab, tgenabled, inherited FROM triggers WHERE tab::text LIKE 'part%' AND tgname = 'ward_audit_N';
INSERT INTO part VALUES (1, 'north'), (2, 'south'), (102, 'south'), (3, 'east');
INSERT INTO part_north VALUES (4, 'north');
INSERT INTO part_south VALUES (5, 'south');
INSERT INTO part_south_low VALUES (6, 'south');
INSERT INTO part_east VALUES (7, 'east');
UPDATE part_north SET id = 40 WHERE id = 4;
UPDATE part SET region = 'south' WHERE id = 1;
DELETE FROM part_south WHERE id = 102;
SELECT table_name, operation, record_id, old_values, new_values, changed_fields
FROM trail WHERE table_name LIKE 'part%' ORDER BY n;
SELECT table_name FROM ward.audited_tables WHERE table_name LIKE 'part%';
-- TRUNCATE of one partition, of a subtree, of all.
CREATE TABLE cut (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE cut_low PARTITION OF cut FOR VALUES FROM (0) TO (10);
CREATE TABLE cut_high PARTITION OF cut FOR VALUES FROM (10) TO (20) PARTITION BY RANGE (id);
CREATE TABLE cut_high_a PARTITION OF cut_high FOR VALUES FROM (10) TO (15);
SELECT ward.enable_audit('cut');
TRUNCATE cut_low;
SELECT table_name, operation, record_id, old_values, new_values, changed_fields FROM trail WHERE table_name LIKE 'cut%';
-- There is an entry for each table cut.
TRUNCATE cut_high;
TRUNCATE cut;
SELECT table_name, count(*) FROM trail WHERE table_name LIKE 'cut%' AND operation = 'TRUNCATE' GROUP BY 1 ORDER BY 1;
-- Disabled on the root: off in all of it.
SELECT ward.disable_audit('part'), ward.disable_audit('cut');
SELECT * FROM triggers WHERE tab::text ~ '^(part|cut)';
INSERT INTO part_north VALUES (8, 'north');
SELECT count(*) FROM trail WHERE record_id LIKE '%8%' AND table_name LIKE 'part%';
-- One partition by itself.
SELECT ward.enable_audit('part_north');
INSERT INTO part VALUES (9, 'north'), (9, 'east');
SELECT operation, record_id FROM trail WHERE table_name LIKE 'part%' ORDER BY n DESC LIMIT 1;
SELECT ward.disable_audit('part');

-- An application role needs its right on the table, and none in ward.
GRANT INSERT, SELECT, UPDATE, DELETE, TRUNCATE ON plain TO ward_audit_app;
SET ROLE ward_audit_app;
INSERT INTO plain VALUES (11, 'by app', '');
UPDATE plain SET a = 'changed' WHERE id = 11;
DELETE FROM plain WHERE id = 11;
TRUNCATE plain;
-- It may do nothing with the trail
SELECT ward.enable_audit('plain');
SELECT ward.disable_audit('plain');
SELECT ward.seal_audit_trail();
SELECT * FROM ward.verify_audit_trail_integrity();
SELECT * FROM ward.audit_violations();
SELECT ward.audit_checkpoint();
SELECT ward.audit_public_key();
SELECT ward.status();
SELECT ward.audit_capture();
SELECT * FROM ward.audit_trail;
SELECT * FROM ward.audit_entries();
SELECT * FROM ward.audit_blocks;
SELECT * FROM ward.audited_tables;
-- nor with the tables behind it.
SELECT * FROM ward.audit_log;
SELECT * FROM ward.audit_block;
SELECT * FROM ward.audit_journal_0;
SELECT * FROM ward.audit_trigger;
INSERT INTO ward.audit_journal_0 VALUES (1, 0, 0, '\x00');
DELETE FROM ward.audit_journal_1;
UPDATE ward.audit_block SET root = root;
TRUNCATE ward.audit_tile;
ALTER TABLE plain DISABLE TRIGGER ward_audit;
DROP TRIGGER ward_audit ON plain;
SET session_replication_role = replica;
RESET ROLE;
SELECT count(*) AS rights_of_public
FROM pg_class c, aclexplode(c.relacl) acl
WHERE c.relnamespace = 'ward'::regnamespace AND c.relname LIKE 'audit%' AND acl.grantee = 0;
SELECT operation, record_id, session_role = session_user AS session, "current_role"
FROM trail WHERE "current_role" = 'ward_audit_app' ORDER BY n;

-- SELECT on the view is all an auditor needs.
GRANT SELECT ON ward.audit_trail TO ward_audit_auditor;
SET ROLE ward_audit_auditor;
SELECT count(*) > 0 AS reads FROM ward.audit_trail;
SELECT count(*) > 0 AS reads FROM ward.audit_entries();
SELECT * FROM ward.audit_blocks;
SELECT ward.seal_audit_trail();
RESET ROLE;
GRANT SELECT ON ward.audit_blocks, ward.audited_tables TO ward_audit_auditor;
GRANT EXECUTE ON FUNCTION ward.seal_audit_trail(), ward.verify_audit_trail_integrity(timestamptz, timestamptz, integer),
    ward.audit_violations(timestamptz, timestamptz, integer), ward.audit_checkpoint() TO ward_audit_auditor;
SET ROLE ward_audit_auditor;
SELECT ward.seal_audit_trail() > 0 AS sealed;
SELECT is_valid, entries_checked > 0 AS some, first_bad_entry, reason FROM ward.verify_audit_trail_integrity();
SELECT * FROM ward.audit_violations();
SELECT ward.audit_checkpoint() IS NOT NULL AS signed;
SELECT count(*) > 0 AS blocks FROM ward.audit_blocks;
SELECT count(*) > 0 AS tables FROM ward.audited_tables;
RESET ROLE;
REVOKE SELECT ON ward.audit_trail FROM ward_audit_auditor;
SET ROLE ward_audit_auditor;
SELECT * FROM ward.audit_entries();
RESET ROLE;
-- Enabling and disabling can be granted.
GRANT EXECUTE ON FUNCTION ward.enable_audit(regclass, name[], name[], boolean), ward.disable_audit(regclass) TO ward_audit_admin;
SET ROLE ward_audit_admin;
SELECT ward.enable_audit('shrunk');
SELECT ward.disable_audit('shrunk');
SELECT ward.enable_audit('pg_authid');
RESET ROLE;

-- The trigger function outside of what enable_audit() makes.
SELECT ward.audit_capture();
CREATE TABLE hand (id int PRIMARY KEY, a text);
CREATE TRIGGER t BEFORE INSERT OR UPDATE OR DELETE ON hand FOR EACH ROW EXECUTE FUNCTION ward.audit_capture();
INSERT INTO hand VALUES (1, 'a');
DROP TRIGGER t ON hand;
CREATE TRIGGER t AFTER INSERT ON hand FOR EACH STATEMENT EXECUTE FUNCTION ward.audit_capture();
INSERT INTO hand VALUES (1, 'a');
DROP TRIGGER t ON hand;
CREATE TRIGGER t BEFORE TRUNCATE ON hand FOR EACH STATEMENT EXECUTE FUNCTION ward.audit_capture();
TRUNCATE hand;
DROP TRIGGER t ON hand;
CREATE VIEW hand_view AS SELECT * FROM hand;
CREATE TRIGGER t INSTEAD OF INSERT ON hand_view FOR EACH ROW EXECUTE FUNCTION ward.audit_capture();
INSERT INTO hand_view VALUES (1, 'a');
CREATE TRIGGER t AFTER INSERT ON hand FOR EACH ROW EXECUTE FUNCTION ward.audit_capture('not json', '[]');
INSERT INTO hand VALUES (1, 'a');
DROP TRIGGER t ON hand;
CREATE TRIGGER t AFTER INSERT ON hand FOR EACH ROW EXECUTE FUNCTION ward.audit_capture('{"a":1}');
INSERT INTO hand VALUES (1, 'a');
DROP TRIGGER t ON hand;
SELECT count(*) FROM hand;
SELECT count(*) FROM trail WHERE table_name LIKE 'hand%';
GRANT CREATE ON SCHEMA public TO ward_audit_app;
SET ROLE ward_audit_app;
CREATE TABLE of_app (id int);
CREATE TRIGGER t AFTER INSERT ON of_app FOR EACH ROW EXECUTE FUNCTION ward.audit_capture();
RESET ROLE;

-- Sealing: everything committed gets its place; twice is as good as once.
INSERT INTO plain VALUES (20, 'a', 'b');
SELECT ward.seal_audit_trail() AS size \gset
SELECT ward.seal_audit_trail() >= :size AS same_or_more;
SELECT count(*) AS unsealed FROM trail WHERE entry_id IS NULL OR block_no IS NULL;
SELECT count(*) AS misplaced FROM trail t LEFT JOIN ward.audit_blocks b USING (block_no)
WHERE b.block_no IS NULL OR t.entry_id NOT BETWEEN b.first_entry AND b.tree_size - 1;
SELECT count(*) = count(DISTINCT entry_id) AS unique_entries FROM ward.audit_trail;
SELECT count(*) AS broken FROM (
    SELECT block_no <> row_number() OVER w - 1 OR first_entry <> lag(tree_size, 1, 0::bigint) OVER w
           OR entries <> tree_size - first_entry OR root !~ '^[0-9a-f]{64}$' AS wrong
    FROM ward.audit_blocks WINDOW w AS (ORDER BY block_no)) b WHERE wrong;
SELECT relation AS segment FROM ward.audit_segment ORDER BY segment_no LIMIT 1 \gset
SELECT ward.enable_audit(format('ward.%I', :'segment')::regclass);
-- The transaction that seals has entries of its own: they wait for its commit.
BEGIN;
INSERT INTO plain VALUES (21, 'a', 'b');
SELECT ward.seal_audit_trail() > 0 AS sealed;
SELECT entry_id IS NULL AS unsealed, block_no IS NULL AS no_block FROM trail WHERE record_id = '21';
COMMIT;
SELECT ward.seal_audit_trail() > :size AS grown;
SELECT entry_id IS NULL AS unsealed, block_no IS NULL AS no_block FROM trail WHERE record_id = '21';

-- Verifying: all of it, and ranges.
SELECT is_valid, entries_checked = (SELECT count(*) FROM ward.audit_trail WHERE entry_id IS NOT NULL) AS all_entries,
       blocks_checked = (SELECT count(*) FROM ward.audit_blocks) AS all_blocks, first_bad_entry, reason
FROM ward.verify_audit_trail_integrity();
SELECT is_valid, entries_checked > 0 AS some, reason
FROM ward.verify_audit_trail_integrity(now() - interval '1 day', now() + interval '1 day');
SELECT is_valid, entries_checked > 0 AS some FROM ward.verify_audit_trail_integrity(to_time => now() + interval '1 day');
SELECT * FROM ward.verify_audit_trail_integrity(from_time => now() + interval '1 day');
SELECT * FROM ward.verify_audit_trail_integrity('2026-01-02', '2026-01-01');
SELECT * FROM ward.audit_violations('2026-01-02', '2026-01-01');
SELECT * FROM ward.audit_violations(NULL, NULL);
SELECT * FROM ward.audit_violations(now() - interval '1 day');
SELECT kind, detail FROM ward.audit_violations();

-- The checkpoint is a signed note over the head of the log.
SELECT ward.audit_checkpoint() ~ ('^pg_ward/[0-9]+/[0-9a-f-]{36}\n[0-9]+\n[A-Za-z0-9+/]{43}=\n\n'
       || U&'\2014' || ' pg_ward/[0-9]+/[0-9a-f-]{36} [A-Za-z0-9+/]{91}=\n$') AS well_formed;
SELECT split_part(note, E'\n', 1) = format('pg_ward/%s/%s', l.system_identifier, l.incarnation) AS origin,
       split_part(note, E'\n', 2)::bigint = b.tree_size AS size,
       encode(decode(split_part(note, E'\n', 3), 'base64'), 'hex') = b.root AS root
FROM ward.audit_checkpoint() AS note, ward.audit_log l,
     (SELECT * FROM ward.audit_blocks ORDER BY block_no DESC LIMIT 1) b;
SELECT ward.audit_public_key() ~ '^pg_ward/[0-9]+/[0-9a-f-]{36}\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}$' AS well_formed;

-- Everything of it has a comment.
SELECT p.oid::regprocedure AS without_comment FROM pg_proc p
WHERE p.pronamespace = 'ward'::regnamespace AND p.proname ~ 'audit' AND obj_description(p.oid, 'pg_proc') IS NULL;
SELECT c.oid::regclass AS without_comment FROM pg_class c
JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
WHERE c.relnamespace = 'ward'::regnamespace AND c.relname LIKE 'audit%' AND c.relkind IN ('r', 'v')
      AND obj_description(c.oid, 'pg_class') IS NULL;

\c :origin
SET client_min_messages = warning;
DROP DATABASE ward_audit WITH (FORCE);
DROP ROLE ward_audit_app, ward_audit_auditor, ward_audit_admin;
