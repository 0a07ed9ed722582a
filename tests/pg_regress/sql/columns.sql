-- Columns that exist already: converted at once and online, re-encrypted, and counted.
SELECT current_database() AS origin \gset
\set VERBOSITY default
\set SHOW_CONTEXT never
SET client_min_messages = warning;
DROP DATABASE IF EXISTS ward_columns;
CREATE DATABASE ward_columns ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
\c ward_columns
SET client_min_messages = warning;
CREATE EXTENSION pg_ward;
DROP ROLE IF EXISTS ward_col_owner, ward_col_other;
CREATE ROLE ward_col_owner;
CREATE ROLE ward_col_other;
GRANT CREATE ON SCHEMA public TO ward_col_owner;
SELECT ward.generate_encryption_key('k') IS NOT NULL AS made;
SELECT ward.generate_encryption_key('k2') IS NOT NULL AS made;

-- At once. Values of every kind, also in a table and a column with odd names.
CREATE TABLE "Odd ""näme" (id int PRIMARY KEY, "the 'mail""" text NOT NULL DEFAULT 'nobody', plain text, n int);
INSERT INTO "Odd ""näme" SELECT id, v, v FROM (VALUES (1, 'ann@x.y'), (2, ''), (3, 'Straße 日本 🗝'), (4, repeat('long ', 20000)), (5, E'tab\tline\n')) AS t (id, v);
SET client_min_messages = notice;
SELECT ward.protect_column('"Odd ""näme"', 'the ''mail"', 'k');
SET client_min_messages = warning;
\d "Odd ""näme"
SELECT count(*) FROM "Odd ""näme" WHERE "the 'mail"""::text = plain;
SELECT id FROM "Odd ""näme" WHERE "the 'mail""" = 'ann@x.y';
INSERT INTO "Odd ""näme" (id) VALUES (6);
SELECT "the 'mail"""::text FROM "Odd ""näme" WHERE id = 6;
SELECT ward.protect_column('"Odd ""näme"', 'plain', 'k2', false);
SELECT ward.key_version("the 'mail"""), ward.key_version(plain) FROM "Odd ""näme" WHERE id = 1;
CALL ward.decrypt_column('"Odd ""näme"', 'plain');
CALL ward.decrypt_column('"Odd ""näme"', 'the ''mail"');
SELECT count(*), count(plain), count(*) FILTER (WHERE plain = "the 'mail""") FROM "Odd ""näme";
DROP TABLE "Odd ""näme";

-- Online: indexes, constraints, default, comment and grants follow; NULL stays NULL.
CREATE TABLE person (id int, email varchar(60) NOT NULL DEFAULT 'none', nick text, team int, PRIMARY KEY (id, email));
CREATE UNIQUE INDEX person_email ON person USING btree (email DESC NULLS LAST, team) INCLUDE (id) WITH (fillfactor = 70) WHERE team > 0;
CREATE INDEX person_nick ON person USING hash (nick);
ALTER TABLE person ADD CONSTRAINT person_nick_key UNIQUE (nick, team) DEFERRABLE INITIALLY DEFERRED;
COMMENT ON COLUMN person.email IS 'where to write to';
GRANT SELECT (email), UPDATE (email, nick) ON person TO ward_col_other;
INSERT INTO person SELECT g, 'p' || g, nullif('n' || g, 'n7'), g FROM generate_series(1, 1000) g;
CREATE TABLE before AS SELECT id, email::text, nick FROM person;
CALL ward.encrypt_column('person', 'email', 'k', 100);
CALL ward.encrypt_column('person', 'nick', 'k2', 1);
\d person
SELECT col_description('person'::regclass, attnum), attacl FROM pg_attribute WHERE attrelid = 'person'::regclass AND attname IN ('email', 'nick') ORDER BY attname;
SELECT count(*) FROM person p JOIN before b ON b.id = p.id AND b.email = p.email::text AND b.nick IS NOT DISTINCT FROM p.nick::text;
SELECT id FROM person WHERE email = 'p500';
INSERT INTO person (id, team) VALUES (0, 0) RETURNING email = 'none' AS by_default;
\set VERBOSITY terse
INSERT INTO person (id, email, nick, team) VALUES (1, 'p1', 'x', 1);
INSERT INTO person (id, email, nick, team) VALUES (-1, 'p1', 'x', 1);
INSERT INTO person (id, email, nick, team) VALUES (-1, NULL, 'x', 1);
\set VERBOSITY default
SELECT * FROM ward.column_conversions;
SELECT table_name, column_name, type, key, rows, encrypted, percentage, versions FROM ward.encryption_status(true);
SELECT table_name, column_name, key, percentage, versions FROM ward.encryption_status;
SELECT ward.rotate_encryption_key('k');
SELECT ward.rotate_encryption_key('k2');
CALL ward.reencrypt_column('person', 'email', 300);
SELECT column_name, rows, encrypted, versions FROM ward.encryption_status(true);
\set VERBOSITY terse
INSERT INTO person (id, email, nick, team) VALUES (-1, 'p1', 'x', 1);
\set VERBOSITY default
SELECT count(*) FROM person p JOIN before b ON b.id = p.id AND b.email = p.email::text AND b.nick IS NOT DISTINCT FROM p.nick::text;
CALL ward.decrypt_column('person', 'nick');
CALL ward.decrypt_column('person', 'email');
\d person
SELECT count(*) FROM person p JOIN before b USING (id, email) WHERE b.nick IS NOT DISTINCT FROM p.nick;

-- Columns of type bytea are listed when values of ward.encrypt are found in them; domains and arrays as well.
CREATE DOMAIN sealed AS ward.encrypted_text('k');
CREATE TABLE mixed (id int, value bytea, other bytea, looks bytea, nothing bytea, one sealed, many ward.secret_text('k2')[]);
INSERT INTO mixed SELECT g, CASE WHEN g % 4 = 0 THEN ward.encrypt('v' || g, 'k') WHEN g % 4 < 3 THEN '\x00' END, '\xe7',
    decode('e7010100' || repeat('00', 48), 'hex'), NULL, 'one', CASE WHEN g > 10 THEN ARRAY['a', NULL, 'b'] END FROM generate_series(1, 100) g;
ANALYZE mixed;
SELECT column_name, type, key, rows, encrypted, percentage, versions FROM ward.encryption_status(true) WHERE table_name = 'mixed';
SELECT column_name, type, key, rows, encrypted, percentage, versions FROM ward.encryption_status WHERE table_name = 'mixed';
-- What a policy would hide is not counted, and the policy is not run.
ALTER TABLE mixed ENABLE ROW LEVEL SECURITY;
GRANT SELECT ON mixed TO ward_col_other;
SET ROLE ward_col_other;
SELECT column_name, rows, encrypted, versions FROM ward.encryption_status(true) WHERE table_name = 'mixed';
RESET ROLE;
DROP TABLE mixed;
DROP DOMAIN sealed;

-- Who may write the table and lacks the key is named.
DROP ROLE IF EXISTS ward_col_writer, "ward col ""updater";
CREATE ROLE ward_col_writer LOGIN;
CREATE ROLE "ward col ""updater" LOGIN;
CREATE TABLE written (a text, b text, c text);
INSERT INTO written VALUES ('a', 'b', 'c');
GRANT INSERT ON written TO ward_col_writer;
GRANT UPDATE (c) ON written TO "ward col ""updater";
SELECT ward.grant_key('k2', 'ward_col_writer', '{encrypt,search}');
SELECT ward.protect_column('written', 'a', 'k');
SELECT ward.protect_column('written', 'b', 'k2');
ALTER TABLE written ADD d text;
CALL ward.encrypt_column('written', 'd', 'k2');
CALL ward.decrypt_column('written', 'd');
DROP TABLE written;
SELECT ward.revoke_key('k2', 'ward_col_writer');
DROP ROLE ward_col_writer, "ward col ""updater";

-- The type modifier of a filled column: all is encrypted anew, or nothing.
SELECT ward.protect_column('before', 'email', 'k');
ALTER TABLE before ALTER email TYPE ward.encrypted_text('k2');
SELECT DISTINCT ward.key_version(email) FROM before;
SELECT count(*) FROM before WHERE email::text = 'p' || id;
GRANT ward_col_owner TO CURRENT_USER;
ALTER TABLE before OWNER TO ward_col_owner;
SELECT ward.grant_key('k', 'ward_col_owner', '{encrypt,search}');
SET ROLE ward_col_owner;
ALTER TABLE before ALTER email TYPE ward.encrypted_text('k');
ALTER TABLE before ALTER email TYPE ward.encrypted_text('nokey');
CALL ward.decrypt_column('before', 'email');
RESET ROLE;
SELECT DISTINCT ward.key_version(email) FROM before;

-- Partitioned tables, as a whole.
CREATE TABLE event (id int, at date, who text, note text) PARTITION BY RANGE (at);
CREATE TABLE event_1 PARTITION OF event FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE event_2 (note text, dropped int, at date, id int, who text);
ALTER TABLE event_2 DROP dropped;
ALTER TABLE event ATTACH PARTITION event_2 FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
CREATE INDEX event_who ON event (who);
INSERT INTO event SELECT g, '2026-01-20'::date + g % 30, 'w' || g, 'note ' || g FROM generate_series(1, 900) g;
CALL ward.encrypt_column('event_1', 'who', 'k');
CALL ward.encrypt_column('event', 'who', 'k', 50);
SELECT ward.protect_column('event', 'note', 'k2');
INSERT INTO event (id, at, who, note) VALUES (0, '2026-02-03', 'w0', 'note 0');
SELECT count(*) FROM event WHERE who::text = 'w' || id AND note::text = 'note ' || id;
SELECT tableoid::regclass, id FROM event WHERE who = 'w77';
SELECT table_name, column_name, rows, encrypted, versions FROM ward.encryption_status(true) WHERE table_name ~ 'event';
CALL ward.reencrypt_column('event', 'note');
CALL ward.decrypt_column('event', 'who', 50);
SELECT count(*) FROM event WHERE who = 'w' || id AND note::text = 'note ' || id;
ALTER TABLE event ADD UNIQUE (who, at);
CALL ward.encrypt_column('event', 'who', 'k');
DROP TABLE event;

-- What cannot follow is named before anything happens.
CREATE TABLE base (id int PRIMARY KEY, a text UNIQUE, b text CHECK (b <> ''), c text, d text, e text, f text, g text, h text GENERATED ALWAYS AS (c || 'x') STORED);
CREATE TABLE refers (a text REFERENCES base (a));
CREATE VIEW shown AS SELECT d FROM base;
CREATE POLICY p ON base USING (d = 'x');
CREATE INDEX base_lower ON base (lower(e));
CREATE INDEX base_part ON base (id) WHERE e IS NOT NULL;
CREATE INDEX base_pattern ON base (f text_pattern_ops);
CREATE STATISTICS base_stat ON f, g FROM base;
CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER "ångström" BEFORE UPDATE OF g ON base FOR EACH ROW EXECUTE FUNCTION later();
INSERT INTO base VALUES (1, 'a', 'b', 'c', 'd', 'e', 'f', 'g');
SELECT c.col, o FROM unnest('{a,b,c,d,e,f,g,h}'::name[]) AS c (col), ward.conversion_obstacles('base', c.col) AS o ORDER BY 1, 2;
CALL ward.encrypt_column('base', 'd', 'k');
SELECT ward.protect_column('base', 'f', 'k');
SELECT ward.protect_column('base', 'a', 'k', false);
CALL ward.encrypt_column('base', 'id', 'k');
CALL ward.decrypt_column('base', 'c');
CALL ward.reencrypt_column('base', 'c');
SELECT count(*) FROM ward.column_conversions;
SELECT attname FROM pg_attribute WHERE attrelid = 'base'::regclass AND attnum > 0 ORDER BY attnum;

-- Who may, and with which arguments.
CREATE TABLE mine (id int PRIMARY KEY, v text, w bytea);
INSERT INTO mine SELECT g, 'v' || g, ward.encrypt('w' || g, 'k', 'row ' || g) FROM generate_series(1, 50) g;
CALL ward.encrypt_column(NULL, 'v', 'k');
CALL ward.encrypt_column('mine', NULL, 'k');
CALL ward.encrypt_column('mine', 'v', NULL);
CALL ward.encrypt_column('mine', 'v', 'k', 100, NULL);
CALL ward.encrypt_column('mine', 'v', 'nokey');
CALL ward.encrypt_column('mine', 'v', 'k''); DROP TABLE mine; --');
CALL ward.encrypt_column('mine', 'none', 'k');
CALL ward.encrypt_column('pg_class', 'relname', 'k');
CALL ward.encrypt_column('ward.encryption_key', 'name', 'k');
CALL ward.encrypt_column('shown', 'd', 'k');
CALL ward.encrypt_column(0, 'd', 'k');
SELECT ward.protect_column('mine', 'v', NULL);
SELECT ward.protect_column(NULL, 'v', 'k');
CALL ward.decrypt_column('mine', NULL);
CALL ward.reencrypt_column(NULL, 'v');
BEGIN;
CALL ward.encrypt_column('mine', 'v', 'k');
ROLLBACK;
SELECT count(*) FROM ward.column_conversions;
GRANT SELECT, INSERT, UPDATE, DELETE ON mine TO ward_col_other;
SELECT ward.grant_key('k', 'ward_col_other', '{encrypt,decrypt,search}');
SET ROLE ward_col_other;
CALL ward.encrypt_column('mine', 'v', 'k');
SELECT ward.protect_column('mine', 'v', 'k');
CALL ward.reencrypt_column('mine', 'w');
SELECT * FROM ward.convert_next('mine', 'v', 'v', 10);
SELECT ward.forget_conversion('mine', 'v');
SELECT * FROM ward.column_conversion;
RESET ROLE;
SELECT ward.revoke_key('k', 'ward_col_other');
ALTER TABLE mine OWNER TO ward_col_owner;
SET ROLE ward_col_owner;
CALL ward.encrypt_column('mine', 'v', 'k2');
RESET ROLE;
SELECT ward.revoke_key('k', 'ward_col_owner', '{search}');
SET ROLE ward_col_owner;
CALL ward.encrypt_column('mine', 'v', 'k');
RESET ROLE;

CALL ward.encrypt_column('mine', 'v', 'k', 0);
CALL ward.decrypt_column('mine', 'v', NULL);
CALL ward.reencrypt_column('mine', 'w', -1);

-- A conversion that was interrupted can be gone on with, or cancelled.
SELECT ward.begin_conversion('mine', 'v', 'ward.encrypted_text(''k'')');
SELECT table_name, column_name, new_type, rows_converted FROM ward.column_conversions;
SELECT column_name, type, percentage FROM ward.encryption_status WHERE table_name = 'mine';
CALL ward.encrypt_column('mine', 'v', 'k2');
-- Writers who may not use the key fail; nobody writes the new column by himself.
SET ROLE ward_col_other;
INSERT INTO mine (id, v) VALUES (100, 'x');
UPDATE mine SET v = NULL WHERE id = 1;
RESET ROLE;
UPDATE mine SET ward_new_v = 'forged' WHERE id = 2;
UPDATE mine SET v = 'changed', ward_new_v = NULL WHERE id = 3;
INSERT INTO mine (id, v, ward_new_v) VALUES (101, NULL, 'forged');
SELECT id, v, ward_new_v::text FROM mine WHERE id IN (1, 2, 3, 101) ORDER BY id;
ALTER TABLE mine RENAME v TO renamed;
INSERT INTO mine (id, renamed) VALUES (102, 'x');
ALTER TABLE mine RENAME renamed TO v;
CREATE VIEW meanwhile AS SELECT v FROM mine;
CALL ward.encrypt_column('mine', 'v', 'k', 10);
DROP VIEW meanwhile;
ALTER TABLE mine DISABLE TRIGGER "~ward_new_v";
CALL ward.encrypt_column('mine', 'v', 'k', 10);
SELECT ward.cancel_conversion('mine', 'v');
SELECT ward.cancel_conversion('mine', 'v');
SELECT ward.cancel_conversion(NULL, 'v');
\d mine
CALL ward.encrypt_column('mine', 'v', 'k', 10);
SELECT count(*) FROM mine WHERE v::text = CASE id WHEN 3 THEN 'changed' ELSE 'v' || id END;
SELECT ward.keep_in_step();
CREATE TRIGGER wrong AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION ward.keep_in_step('v', 'w');
INSERT INTO mine (id) VALUES (200);
DROP TRIGGER wrong ON mine;
CREATE TRIGGER wrong BEFORE INSERT ON mine FOR EACH ROW EXECUTE FUNCTION ward.keep_in_step('v', 'w');
INSERT INTO mine (id, v) VALUES (200, 'x');
DROP TRIGGER wrong ON mine;

-- Envelopes in bytea, with an aad of the row's own.
SELECT ward.rotate_encryption_key('k');
INSERT INTO mine (id, w) VALUES (60, ward.encrypt('w60', 'k', 'row 60')), (61, NULL);
SELECT ward.is_current(w), count(*) FROM mine GROUP BY 1 ORDER BY 1;
CALL ward.reencrypt_column('mine', 'w');
CALL ward.reencrypt_column('mine', 'w', 10, '''wrong''');
CALL ward.reencrypt_column('mine', 'w', 10, 'nothing');
CALL ward.reencrypt_column('mine', 'w', 10, '(SELECT 1) + ');
CALL ward.reencrypt_column('mine', 'v', 10, 'id');
SELECT ward.is_current(w), count(*) FROM mine GROUP BY 1 ORDER BY 1;
CALL ward.reencrypt_column('mine', 'w', 10, '''row '' || id');
SELECT ward.is_current(w), count(*) FROM mine GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM mine WHERE ward.decrypt(w, 'row ' || id) = 'w' || id;
ALTER TABLE mine ENABLE ROW LEVEL SECURITY;
ALTER TABLE mine FORCE ROW LEVEL SECURITY;
SELECT ward.rotate_encryption_key('k');
SELECT ward.grant_key('k', 'ward_col_owner', '{encrypt,decrypt,search}');
SET ROLE ward_col_owner;
CALL ward.reencrypt_column('mine', 'w', 10, '''row '' || id');
CALL ward.reencrypt_column('mine', 'v');
RESET ROLE;
ALTER TABLE mine DISABLE ROW LEVEL SECURITY;
SELECT ward.is_current(w), count(*) FROM mine GROUP BY 1 ORDER BY 1;
SELECT ward.key_version(v), count(*) FROM mine GROUP BY 1 ORDER BY 1;
SELECT ward.is_current('\x00'), ward.is_current(NULL);
SELECT ward.key_version('\x00'::bytea), ward.key_version(NULL::bytea);
SELECT ward.is_current('\x');

-- Dropping the extension names the columns that would go with it.
\set VERBOSITY default
DROP EXTENSION pg_ward;
BEGIN;
SET LOCAL client_min_messages = notice;
DROP EXTENSION pg_ward CASCADE;
SELECT attname FROM pg_attribute WHERE attrelid = 'mine'::regclass AND attnum > 0 AND NOT attisdropped;
ROLLBACK;

\c :origin
SET client_min_messages = warning;
DROP DATABASE ward_columns;
DROP ROLE ward_col_owner, ward_col_other;
