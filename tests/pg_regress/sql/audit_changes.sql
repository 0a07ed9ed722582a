-- What every kind of change leaves in the trail: statements, keys, savepoints, who and where, and
-- reading the trail within the transaction that writes it.
\set VERBOSITY default
\set SHOW_CONTEXT never
SELECT current_database() AS origin \gset
SET client_min_messages = warning;
DROP DATABASE IF EXISTS ward_audit_changes;
DROP ROLE IF EXISTS ward_changes_app, ward_changes_definer;
CREATE DATABASE ward_audit_changes ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
CREATE ROLE ward_changes_app;
CREATE ROLE ward_changes_definer;
\c ward_audit_changes
SET client_min_messages = warning;
CREATE EXTENSION pg_ward;
RESET client_min_messages;

-- The trail in the order of the log: sealed entries come first, the rest by transaction.
CREATE VIEW trail AS SELECT row_number() OVER () AS n, * FROM ward.audit_trail WHERE operation <> 'EVENT';
-- Entries of a table, by its name at the time.
CREATE FUNCTION changes(tab text)
RETURNS TABLE (operation text, record_id text, old_values jsonb, new_values jsonb, changed_fields text[])
LANGUAGE sql AS
'SELECT operation, record_id, old_values, new_values, changed_fields FROM trail WHERE table_name = tab ORDER BY n';

-- INSERT, UPDATE, DELETE and TRUNCATE; NULL is not the empty string.
CREATE TABLE t (id int PRIMARY KEY, a text, b text);
SELECT ward.enable_audit('t');
INSERT INTO t VALUES (1, 'one', NULL), (2, '', 'two');
UPDATE t SET a = NULL, b = '' WHERE id = 1;
UPDATE t SET a = '' WHERE a IS NULL;
UPDATE t SET a = a, b = b WHERE id = 2;
UPDATE t SET a = 'none' WHERE id = 99;
DELETE FROM t WHERE id = 1;
TRUNCATE t;
SELECT * FROM changes('t');
-- The key that changed: the new one names the record, the old image tells the old one.
INSERT INTO t VALUES (3, 'three', NULL);
UPDATE t SET id = 4 WHERE id = 3;
DELETE FROM t;
SELECT * FROM changes('t') WHERE record_id IN ('3', '4');
-- Statements that change no row, or fail, leave nothing.
SELECT count(*) AS before FROM trail \gset
INSERT INTO t SELECT 5, 'five' WHERE false;
DELETE FROM t WHERE id = 99;
INSERT INTO t VALUES (6, 'six'), (6, 'again');
SELECT count(*) - :before AS added FROM trail;

-- Keys: none, composite, long, of types with their own text.
CREATE TABLE keyless (a int, b text);
CREATE TABLE composite (a int, b text, c date, v int, PRIMARY KEY (c, a, b));
CREATE TABLE long (id text PRIMARY KEY, v int);
CREATE TABLE dated (id timestamptz PRIMARY KEY);
SELECT ward.enable_audit('keyless'), ward.enable_audit('composite'), ward.enable_audit('long'), ward.enable_audit('dated');
INSERT INTO keyless VALUES (1, 'x'), (1, 'x');
UPDATE keyless SET b = 'y';
DELETE FROM keyless;
SELECT * FROM changes('keyless');
INSERT INTO composite VALUES (1, E'q"uo\\te,', '2026-01-02', 1);
UPDATE composite SET v = 2;
UPDATE composite SET b = '["1"]';
SELECT * FROM changes('composite');
INSERT INTO long VALUES (repeat('k', 1024), 1), (repeat('k', 1025), 2), ('', 3), (E'line\nbreak', 4);
SELECT v, length(record_id), record_id = id AS plain, record_id = 'sha256:' || encode(sha256(id::bytea), 'hex') AS hashed, length(new_values->>'id')
FROM long, LATERAL (SELECT * FROM trail WHERE table_name = 'long' AND (new_values->>'v')::int = v) e
WHERE id !~ E'\n' ORDER BY v;
SELECT record_id FROM changes('long') WHERE new_values->>'v' IN ('3', '4');
SET timezone = 'Asia/Tokyo';
INSERT INTO dated VALUES ('2026-01-02 03:04:05+00');
RESET timezone;
SELECT record_id FROM changes('dated');
-- A table that gets and loses its key.
ALTER TABLE keyless ADD PRIMARY KEY (a);
INSERT INTO keyless VALUES (7, 'keyed');
ALTER TABLE keyless DROP CONSTRAINT keyless_pkey;
INSERT INTO keyless VALUES (8, 'keyless again');
SELECT record_id, new_values FROM changes('keyless') WHERE new_values->>'a' IN ('7', '8');

-- Excluded and redacted columns; an excluded key still names the record.
CREATE TABLE hidden (id int PRIMARY KEY, shown text, noise text, secret text, secret2 int);
SELECT ward.enable_audit('hidden', exclude => '{noise,id}', redact => '{secret,secret2}');
INSERT INTO hidden VALUES (1, 's', 'n', 'canary', 42), (2, NULL, NULL, NULL, NULL);
UPDATE hidden SET secret = 'canary two' WHERE id = 1;
UPDATE hidden SET noise = 'm' WHERE id = 1;
UPDATE hidden SET secret = secret, shown = 'z' WHERE id = 1;
UPDATE hidden SET secret = NULL, secret2 = 43 WHERE id = 1;
DELETE FROM hidden;
SELECT * FROM changes('hidden');
SELECT count(*) AS canaries FROM trail t WHERE t::text LIKE '%canary%';

-- COPY, ON CONFLICT, MERGE, a data-modifying WITH, a cursor.
COPY t FROM STDIN;
10	ten	\N
11		eleven
\.
INSERT INTO t VALUES (10, 'TEN', NULL), (12, 'twelve', NULL)
ON CONFLICT (id) DO UPDATE SET a = excluded.a || '!' ;
INSERT INTO t VALUES (10, 'nothing', NULL) ON CONFLICT DO NOTHING;
SELECT * FROM changes('t') WHERE record_id IN ('10', '11', '12');
MERGE INTO t USING (VALUES (10), (11), (13)) AS s (id) ON t.id = s.id
WHEN MATCHED AND t.id = 11 THEN DELETE
WHEN MATCHED THEN UPDATE SET b = 'merged'
WHEN NOT MATCHED THEN INSERT VALUES (s.id, 'new', 'merged');
SELECT * FROM changes('t') WHERE new_values->>'b' = 'merged' OR operation = 'DELETE' AND record_id = '11'
ORDER BY record_id;
WITH gone AS (DELETE FROM t WHERE id = 12 RETURNING *)
INSERT INTO t SELECT 14, a, b FROM gone;
SELECT operation, record_id, old_values, new_values FROM changes('t') WHERE record_id IN ('12', '14') ORDER BY record_id, operation;
BEGIN;
DECLARE c CURSOR FOR SELECT * FROM t WHERE id = 14 FOR UPDATE;
FETCH c;
UPDATE t SET a = 'by cursor' WHERE CURRENT OF c;
DELETE FROM t WHERE CURRENT OF c;
UPDATE t SET a = 'by cursor' WHERE id = 13;
COMMIT;
SELECT operation, record_id, old_values, new_values FROM changes('t') WHERE old_values->>'a' IS NOT NULL AND record_id IN ('13', '14');

-- What foreign keys do.
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE cascaded (id int PRIMARY KEY, p int REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE nulled (id int PRIMARY KEY, p int REFERENCES parent ON DELETE SET NULL ON UPDATE CASCADE);
CREATE TABLE defaulted (id int PRIMARY KEY, p int DEFAULT 0 REFERENCES parent ON DELETE SET DEFAULT);
SELECT ward.enable_audit(x::regclass) FROM unnest('{parent,cascaded,nulled,defaulted}'::text[]) x;
INSERT INTO parent VALUES (0), (1), (2);
INSERT INTO cascaded VALUES (10, 1), (11, 1);
INSERT INTO nulled VALUES (20, 1);
INSERT INTO defaulted VALUES (30, 2);
UPDATE parent SET id = 5 WHERE id = 1;
DELETE FROM parent WHERE id IN (2, 5);
TRUNCATE parent CASCADE;
SELECT table_name, operation, record_id, old_values, new_values FROM trail
WHERE table_name IN ('parent', 'cascaded', 'nulled', 'defaulted') AND operation <> 'INSERT'
ORDER BY operation DESC, table_name, record_id, n;

-- A row that moves to another partition.
CREATE TABLE moving (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE moving_low PARTITION OF moving FOR VALUES FROM (0) TO (10);
CREATE TABLE moving_high (junk int, v text, id int NOT NULL);
ALTER TABLE moving_high DROP COLUMN junk;
ALTER TABLE moving ATTACH PARTITION moving_high FOR VALUES FROM (10) TO (20);
SELECT ward.enable_audit('moving', redact => '{v}');
INSERT INTO moving VALUES (1, 'stays secret');
UPDATE moving SET id = 11, v = 'moved';
UPDATE moving SET v = 'again';
SELECT * FROM changes('moving');

-- Savepoints: rolled back, released, nested, and rolled back through levels.
CREATE TABLE s (id int PRIMARY KEY);
SELECT ward.enable_audit('s');
BEGIN;
INSERT INTO s VALUES (1);
SAVEPOINT a;
INSERT INTO s VALUES (-2);
ROLLBACK TO a;
INSERT INTO s VALUES (3);
SAVEPOINT b;
INSERT INTO s VALUES (4);
SAVEPOINT c;
INSERT INTO s VALUES (-5);
ROLLBACK TO c;
INSERT INTO s VALUES (6);
RELEASE b;
SAVEPOINT d;
INSERT INTO s VALUES (-7);
SAVEPOINT e;
INSERT INTO s VALUES (-8);
RELEASE e;
ROLLBACK TO d;
COMMIT;
BEGIN;
SAVEPOINT f;
INSERT INTO s VALUES (-9);
ROLLBACK TO f;
COMMIT;
BEGIN;
INSERT INTO s VALUES (-10);
ROLLBACK;
DO $$
BEGIN
    INSERT INTO s VALUES (11);
    FOR i IN 12..15 LOOP
        BEGIN
            INSERT INTO s VALUES (CASE WHEN i % 2 = 0 THEN i ELSE -i END);
            IF i % 2 = 1 THEN RAISE 'undone'; END IF;
        EXCEPTION WHEN raise_exception THEN NULL;
        END;
    END LOOP;
END $$;
SELECT string_agg(record_id, ' ' ORDER BY n) FROM trail WHERE table_name = 's';
-- Enough of it that parts are written before they are undone, released, or followed by more.
BEGIN;
INSERT INTO s SELECT 1000 + g FROM generate_series(1, 3000) g;
SAVEPOINT a;
INSERT INTO s SELECT 10000 + g FROM generate_series(1, 5000) g;
ROLLBACK TO a;
INSERT INTO s SELECT 20000 + g FROM generate_series(1, 3000) g;
SAVEPOINT a;
DELETE FROM s WHERE id > 20000;
RELEASE a;
DELETE FROM s WHERE id > 1000;
COMMIT;
SELECT operation, count(*), count(context_source) AS with_context, min(record_id::int), max(record_id::int)
FROM trail WHERE table_name = 's' AND record_id::int > 100 GROUP BY 1 ORDER BY 1;
-- Procedures that commit.
CREATE PROCEDURE commits() LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO s VALUES (31);
    COMMIT;
    INSERT INTO s VALUES (-32);
    ROLLBACK;
    INSERT INTO s VALUES (33);
END $$;
CALL commits();
SELECT record_id, dense_rank() OVER (ORDER BY transaction_id) AS transaction FROM trail
WHERE table_name = 's' AND record_id IN ('31', '-32', '33') ORDER BY n;

-- Two-phase commit: an entry is there from COMMIT PREPARED on.
BEGIN;
INSERT INTO s VALUES (40);
SAVEPOINT a;
INSERT INTO s VALUES (-41);
ROLLBACK TO a;
INSERT INTO s VALUES (42);
PREPARE TRANSACTION 'ward_changes_kept';
BEGIN;
INSERT INTO s VALUES (-43);
PREPARE TRANSACTION 'ward_changes_undone';
SELECT count(*) FROM trail WHERE table_name = 's' AND record_id ~ '^-?4[0-9]$';
SELECT ward.seal_audit_trail() > 0 AS sealed;
COMMIT PREPARED 'ward_changes_kept';
ROLLBACK PREPARED 'ward_changes_undone';
SELECT record_id FROM trail WHERE table_name = 's' AND record_id ~ '^-?4[0-9]$' ORDER BY n;

-- Triggers of the table itself: what a BEFORE trigger changes or drops, what AFTER and deferred
-- triggers do elsewhere.
CREATE TABLE ruled (id int PRIMARY KEY, v text);
CREATE TABLE follow (id int PRIMARY KEY, why text);
CREATE FUNCTION rule() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF new.v = 'drop' THEN RETURN NULL; END IF;
    new.v := upper(new.v);
    RETURN new;
END $$;
CREATE FUNCTION follow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO follow VALUES (new.id + tg_argv[0]::int, tg_name);
    RETURN NULL;
END $$;
CREATE TRIGGER rule BEFORE INSERT ON ruled FOR EACH ROW EXECUTE FUNCTION rule();
CREATE TRIGGER direct AFTER INSERT ON ruled FOR EACH ROW EXECUTE FUNCTION follow(100);
CREATE CONSTRAINT TRIGGER deferred AFTER INSERT ON ruled DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION follow(200);
SELECT ward.enable_audit('ruled'), ward.enable_audit('follow');
BEGIN;
INSERT INTO ruled VALUES (1, 'kept'), (2, 'drop');
SELECT table_name, record_id, new_values FROM trail WHERE table_name IN ('ruled', 'follow') ORDER BY n;
COMMIT;
SELECT table_name, record_id, new_values FROM trail WHERE table_name IN ('ruled', 'follow') ORDER BY n;

-- Reading the trail within the writing transaction.
BEGIN;
INSERT INTO s VALUES (50);
SELECT record_id, entry_id, block_no FROM trail WHERE record_id = '50';
SAVEPOINT a;
INSERT INTO s VALUES (-51);
SELECT record_id FROM trail WHERE table_name = 's' AND record_id ~ '^-?5[0-9]$' ORDER BY n;
ROLLBACK TO a;
SELECT record_id FROM trail WHERE table_name = 's' AND record_id ~ '^-?5[0-9]$' ORDER BY n;
INSERT INTO s VALUES (52);
DECLARE c CURSOR FOR SELECT record_id FROM trail WHERE table_name = 's' AND record_id ~ '^-?5[0-9]$' ORDER BY n;
FETCH 1 FROM c;
INSERT INTO s VALUES (53);
FETCH ALL FROM c;
SELECT record_id FROM trail WHERE table_name = 's' AND record_id ~ '^-?5[0-9]$' ORDER BY n;
SELECT count(DISTINCT transaction_id) AS transactions, bool_and(transaction_id = pg_current_xact_id()::text::bigint) AS mine
FROM trail WHERE table_name = 's' AND record_id ~ '^-?5[0-9]$';
COMMIT;
BEGIN;
INSERT INTO s VALUES (-54);
SELECT count(*) FROM trail WHERE record_id = '-54';
ROLLBACK;
SELECT count(*) FROM trail WHERE record_id = '-54';
-- A statement that reads the trail and writes an audited table.
INSERT INTO s SELECT count(*) + 100000 FROM ward.audit_trail WHERE record_id = '50';
SELECT record_id FROM trail WHERE table_name = 's' ORDER BY n DESC LIMIT 1;

-- Who and where: columns that come from the connection
SELECT DISTINCT context_source, tenant_id, user_id, session_id, service_name, client_ip, user_agent,
       authenticated_role = session_user AS authenticated, session_role = session_user AS session,
       "current_role" = current_user AS current, application_name
FROM trail;
-- from the security context, which may change within a transaction
CREATE VIEW who AS
SELECT record_id, context_source, tenant_id, user_id, session_id, service_name, client_ip, user_agent
FROM trail WHERE table_name = 's' AND record_id ~ '^6[0-9]$' ORDER BY n;
BEGIN;
INSERT INTO s VALUES (60);
SELECT ward.set_tenant_context('acme "1"');
INSERT INTO s VALUES (61);
SELECT ward.set_security_context('b0000000-0000-4000-8000-000000000001', 'sess-1', 'billing', '2001:db8::1', E'agent\t"x"\\');
INSERT INTO s VALUES (62);
SAVEPOINT a;
SELECT ward.set_security_context('b0000000-0000-4000-8000-000000000002', client_ip => '192.0.2.0/24');
INSERT INTO s VALUES (63);
ROLLBACK TO a;
INSERT INTO s VALUES (64);
SELECT ward.clear_security_context();
INSERT INTO s VALUES (65);
COMMIT;
INSERT INTO s VALUES (66);
SELECT * FROM who;
-- from settings
BEGIN;
SET LOCAL application_name = 'first';
INSERT INTO s VALUES (70);
SET LOCAL application_name = 'second';
INSERT INTO s VALUES (71);
SAVEPOINT a;
SET LOCAL application_name = '';
INSERT INTO s VALUES (72);
ROLLBACK TO a;
INSERT INTO s VALUES (73);
COMMIT;
SELECT record_id, application_name FROM trail WHERE table_name = 's' AND record_id ~ '^7[0-9]$' ORDER BY n;
-- and from the role, which a SECURITY DEFINER function changes for the time of its call.
GRANT INSERT, UPDATE ON s TO ward_changes_app, ward_changes_definer;
CREATE FUNCTION writes(id int) RETURNS void LANGUAGE sql SECURITY DEFINER AS 'INSERT INTO s VALUES (id)';
ALTER FUNCTION writes(int) OWNER TO ward_changes_definer;
BEGIN;
INSERT INTO s VALUES (80);
SET LOCAL ROLE ward_changes_app;
INSERT INTO s VALUES (81);
SELECT writes(82);
INSERT INTO s VALUES (83);
RESET ROLE;
SELECT writes(84);
SET LOCAL SESSION AUTHORIZATION ward_changes_app;
INSERT INTO s VALUES (85);
SELECT writes(86);
COMMIT;
SELECT record_id, authenticated_role = session_user AS authenticated,
       CASE session_role WHEN session_user THEN '(session user)' ELSE session_role END AS session_role,
       CASE "current_role" WHEN current_user THEN '(session user)' ELSE "current_role" END AS "current_role"
FROM trail WHERE table_name = 's' AND record_id ~ '^8[0-9]$' ORDER BY n;
SELECT bool_and(occurred_at BETWEEN now() - interval '1 hour' AND clock_timestamp()) AS recent,
       bool_and(table_schema = 'public') AS schema FROM trail;

-- The definition changes between changes, in one transaction.
CREATE TABLE shape (id int PRIMARY KEY, a text, b int);
SELECT ward.enable_audit('shape', exclude => '{b}');
BEGIN;
INSERT INTO shape VALUES (1, 'a1', 1);
ALTER TABLE shape ADD COLUMN c int DEFAULT 7;
UPDATE shape SET a = 'a2';
ALTER TABLE shape DROP COLUMN a;
INSERT INTO shape VALUES (2, 2, 8);
ALTER TABLE shape RENAME COLUMN c TO d;
UPDATE shape SET d = d + 1 WHERE id = 1;
ALTER TABLE shape ALTER COLUMN d TYPE text USING 'n' || d;
DELETE FROM shape WHERE id = 1;
SAVEPOINT a;
ALTER TABLE shape ADD COLUMN undone int DEFAULT 1;
INSERT INTO shape VALUES (-3, 2, 'x', 1);
ROLLBACK TO a;
INSERT INTO shape VALUES (4, 2, 'x');
ALTER TABLE shape RENAME TO reshaped;
INSERT INTO reshaped VALUES (5, 2, 'y');
CREATE SCHEMA elsewhere;
ALTER TABLE reshaped SET SCHEMA elsewhere;
INSERT INTO elsewhere.reshaped VALUES (6, 2, 'z');
COMMIT;
SELECT table_schema, table_name, operation, record_id, old_values, new_values FROM trail WHERE table_name LIKE '%shape%' ORDER BY n;
SELECT table_schema, table_name, exclude FROM ward.audited_tables WHERE table_name LIKE '%shape%';
-- Schemas, types and partitioned tables that get other names, within the session that writes.
CREATE SCHEMA house;
CREATE TYPE house.hue AS ENUM ('red');
CREATE TABLE house.parent (id int, h house.hue) PARTITION BY RANGE (id);
CREATE TABLE house.child PARTITION OF house.parent FOR VALUES FROM (0) TO (10);
SELECT ward.enable_audit('house.parent');
INSERT INTO house.parent VALUES (1, 'red');
ALTER SCHEMA house RENAME TO home;
INSERT INTO home.parent VALUES (2, 'red');
ALTER TABLE home.parent RENAME TO elder;
INSERT INTO home.child VALUES (3, 'red');
ALTER TYPE home.hue RENAME TO colour;
INSERT INTO home.child VALUES (4, 'red');
SELECT table_schema, table_name, new_values FROM trail WHERE table_schema IN ('house', 'home') ORDER BY n;
-- Made, audited, changed and dropped in one transaction.
BEGIN;
CREATE TABLE brief (id int PRIMARY KEY);
SELECT ward.enable_audit('brief');
INSERT INTO brief VALUES (1);
DROP TABLE brief;
COMMIT;
SELECT table_name, operation, record_id, new_values FROM trail WHERE table_name = 'brief';
-- Generated columns, identity, defaults.
CREATE TABLE made (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, w int DEFAULT 3,
                   area int GENERATED ALWAYS AS (w * w) STORED);
SELECT ward.enable_audit('made');
INSERT INTO made DEFAULT VALUES;
UPDATE made SET w = -3;
UPDATE made SET w = 4;
SELECT * FROM changes('made');
-- Rewrites are no changes of rows.
SELECT count(*) AS before FROM trail \gset
VACUUM FULL made;
CLUSTER made USING made_pkey;
ALTER TABLE made ALTER id TYPE bigint;
SELECT count(*) - :before AS added FROM trail;
-- Through an updatable view.
CREATE VIEW seen AS SELECT id, a FROM t WHERE id > 12;
UPDATE seen SET a = 'through the view';
SELECT operation, record_id, new_values FROM changes('t') WHERE new_values->>'a' = 'through the view';
-- As replication applies changes.
SET session_replication_role = replica;
INSERT INTO s VALUES (90);
SET session_replication_role = local;
INSERT INTO s VALUES (91);
RESET session_replication_role;
SELECT record_id FROM changes('s') WHERE record_id IN ('90', '91');

-- All of it seals and verifies, and reads the same when sealed.
SELECT count(*) AS entries, md5(string_agg(concat_ws('|', table_name, operation, record_id, old_values, new_values, changed_fields, "current_role", application_name, tenant_id), E'\n' ORDER BY n)) AS content FROM trail \gset
SELECT ward.seal_audit_trail() > 0 AS sealed;
SELECT count(*) = :entries AS all, count(*) FILTER (WHERE entry_id IS NULL OR block_no IS NULL) AS unsealed,
       :'content' = md5(string_agg(concat_ws('|', table_name, operation, record_id, old_values, new_values, changed_fields, "current_role", application_name, tenant_id), E'\n' ORDER BY n)) AS same FROM trail;
SELECT is_valid, first_bad_entry, reason FROM ward.verify_audit_trail_integrity();
SELECT * FROM ward.audit_violations();

\c :origin
SET client_min_messages = warning;
DROP DATABASE ward_audit_changes WITH (FORCE);
DROP ROLE ward_changes_app, ward_changes_definer;
