-- Columns of ward.encrypted_text and ward.secret_text: DDL, nesting, retagging, and what reveals text.
SELECT current_database() AS origin \gset
\set VERBOSITY terse
SET client_min_messages = warning;
DROP DATABASE IF EXISTS ward_encrypted_columns;
CREATE DATABASE ward_encrypted_columns ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
\c ward_encrypted_columns
SET client_min_messages = warning;
SET client_encoding = 'UTF8';
CREATE EXTENSION pg_ward;
CREATE FUNCTION try(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
    hint text;
BEGIN
    EXECUTE statement INTO result;
    RETURN coalesce(result, 'ok');
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
    RETURN SQLSTATE || ' ' || SQLERRM || coalesce(' / ' || nullif(hint, ''), '');
END $$;
DROP ROLE IF EXISTS ward_enc_reader, ward_enc_other;
CREATE ROLE ward_enc_reader;
CREATE ROLE ward_enc_other;
SELECT ward.generate_encryption_key('k') IS NOT NULL AS made;
SELECT ward.generate_encryption_key('k2') IS NOT NULL AS made;
SELECT ward.generate_encryption_key('schlüssel-4.b:c/d') IS NOT NULL AS made;

-- Types print their key: by name if there is one, else by a number that is read back.
CREATE TABLE named (a ward.encrypted_text('k'), b ward.secret_text('schlüssel-4.b:c/d'), c ward.encrypted_text(k), d ward.encrypted_text('later')[]);
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'named'::regclass AND attnum > 0 ORDER BY attnum;
SELECT format_type(atttypid, atttypmod) AS by_number FROM pg_attribute WHERE attrelid = 'named'::regclass AND attname = 'd' \gset
CREATE TABLE read_back (d :by_number);
SELECT ward.generate_encryption_key('later') IS NOT NULL AS made;
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'read_back'::regclass AND attnum > 0;
SELECT typname, typstorage, typalign, typlen FROM pg_type WHERE typname IN ('encrypted_text', 'secret_text') ORDER BY 1;

-- What would store a value without a key is refused.
CREATE TABLE bad (x ward.encrypted_text);
CREATE TABLE bad (x ward.secret_text[]);
CREATE TABLE bad AS SELECT 'x'::ward.encrypted_text AS y;
SELECT 'x'::ward.encrypted_text AS y INTO bad;
CREATE MATERIALIZED VIEW bad AS SELECT 'x'::ward.encrypted_text AS y;
CREATE TABLE bad AS SELECT a FROM named UNION ALL SELECT 'x'::ward.encrypted_text('k2');
CREATE TYPE bad AS (a int, b ward.secret_text);
CREATE DOMAIN bad AS ward.encrypted_text;
CREATE TYPE bad AS RANGE (subtype = ward.encrypted_text, subtype_opclass = ward.encrypted_text_ops);
CREATE VIEW literal AS SELECT 'x'::ward.encrypted_text AS y;
CREATE TABLE bad (x literal);
CREATE TABLE bad (LIKE literal);
CREATE SCHEMA bad CREATE TABLE bad (x ward.encrypted_text);
ALTER TABLE named ADD COLUMN e ward.encrypted_text;
ALTER TABLE named ALTER COLUMN a TYPE ward.encrypted_text;
CREATE TYPE good AS (a int, b ward.secret_text('k'));
ALTER TYPE good ADD ATTRIBUTE c ward.encrypted_text;
SELECT ward.encrypted_ddl();
SELECT try($$CREATE TEMP TABLE bad (x ward.encrypted_text)$$);
SELECT relname FROM pg_class WHERE relname = 'bad';

-- Arrays, domains, composites, defaults, generated rows, children.
CREATE DOMAIN email AS ward.encrypted_text('k') CHECK (VALUE::text LIKE '%@%');
CREATE TYPE person AS (name ward.secret_text('k'), mails email[]);
CREATE TABLE nested (id int, list ward.encrypted_text('k')[], mail email, who person, kind ward.encrypted_text('k2') DEFAULT 'standard');
INSERT INTO nested (id, list, mail, who) VALUES
    (1, '{a,"b c",NULL}', 'a@b.c', ROW('Ann', '{x@y.z}')),
    (2, ARRAY['d', lower('E')], lower('F@G.H'), '(Bob,"{m@n.o,p@q.r}")');
SELECT try($$INSERT INTO nested (id, mail) VALUES (3, 'nobody')$$) ~ '^23514' AS refused;
SELECT id, list::text[], mail::text, (who).name::text AS name, ((who).mails)::text[] AS mails, kind::text FROM nested ORDER BY id;
SELECT id FROM nested WHERE list @> '{a}' OR 'e' = ANY (list) ORDER BY id;
SELECT id FROM nested WHERE mail = 'a@b.c' AND kind = 'standard';
SELECT count(*) FROM nested WHERE substr(ward.encrypted_text_send(kind), 30, 8) =
    (SELECT decode(key_id, 'hex') FROM ward.encryption_keys WHERE name = 'k2');
CREATE TABLE alike (LIKE nested INCLUDING ALL);
CREATE TABLE child () INHERITS (nested);
SELECT attrelid::regclass, attname, format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid IN ('alike'::regclass, 'child'::regclass) AND attname IN ('kind', 'list') ORDER BY 1, 2;
CREATE FUNCTION through_variable(value text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    bare ward.encrypted_text := value;
    keyed ward.encrypted_text('k') := bare;
BEGIN
    INSERT INTO alike (id, kind) VALUES (1, bare);
    UPDATE alike SET kind = keyed;
    RETURN keyed::text;
END $$;
SELECT through_variable('varying');
SELECT kind::text FROM alike;

CREATE FUNCTION tidy() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.kind := lower(NEW.kind::text);
    NEW.list := NEW.list || 'appended'::ward.encrypted_text;
    RETURN NEW;
END $$;
CREATE TRIGGER tidy BEFORE INSERT ON alike FOR EACH ROW EXECUTE FUNCTION tidy();
INSERT INTO alike SELECT * FROM jsonb_populate_record(NULL::alike, '{"id": 2, "kind": "FROM JSON", "list": ["j"]}');
SELECT kind::text, list::text[], substr(ward.encrypted_text_send(kind), 30, 8) = decode(key_id, 'hex') AS under_k2
FROM alike, ward.encryption_keys WHERE name = 'k2' AND kind = 'from json';
CREATE INDEX ON alike USING gin (list);
SET enable_seqscan = off;
SELECT id FROM alike WHERE list @> '{appended,j}';
RESET enable_seqscan;

-- Partitions.
CREATE TABLE parted (id int, mail ward.encrypted_text('k')) PARTITION BY HASH (mail);
CREATE TABLE parted_0 PARTITION OF parted FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO parted SELECT g, 'p' || g FROM generate_series(1, 100) g;
SELECT count(*) > 20 AS spread FROM parted_0;
SELECT id FROM parted WHERE mail = 'p42';

-- Foreign keys.
CREATE TABLE person_of (mail ward.encrypted_text('k2') PRIMARY KEY);
CREATE TABLE letter (mail ward.encrypted_text('k') REFERENCES person_of ON UPDATE CASCADE);
INSERT INTO person_of VALUES ('r@x.y');
INSERT INTO letter VALUES ('r@x.y');
SELECT try($$INSERT INTO letter VALUES ('nobody@x.y')$$) ~ '^23503' AS refused;
UPDATE person_of SET mail = 's@x.y';
SELECT mail::text, substr(ward.encrypted_text_send(mail), 30, 8) = decode(key_id, 'hex') AS under_its_key
FROM letter, ward.encryption_keys WHERE name = 'k';
DROP TABLE letter, person_of;

-- Converting a filled column, changing its key, and back.
CREATE TABLE customer (id int PRIMARY KEY, mail text UNIQUE, note varchar(20) DEFAULT 'none');
INSERT INTO customer SELECT g, 'c' || g || '@x.y' FROM generate_series(1, 500) g;
ALTER TABLE customer ALTER mail TYPE ward.encrypted_text('k');
ALTER TABLE customer ALTER note DROP DEFAULT, ALTER note TYPE ward.secret_text('k');
SELECT id, mail::text, note::text FROM customer WHERE mail = 'c77@x.y';
CREATE FUNCTION keys_in_use() RETURNS TABLE (name text, number bigint) LANGUAGE sql AS $$
    SELECT v.name, count(*) FROM customer c
    LEFT JOIN ward.encryption_keys v ON v.key_id = encode(substr(ward.encrypted_text_send(c.mail), 30, 8), 'hex')
    GROUP BY 1 $$;
SELECT * FROM keys_in_use();
ALTER TABLE customer ALTER mail TYPE ward.encrypted_text('k2');
SELECT * FROM keys_in_use();
SELECT id, mail::text FROM customer WHERE mail = 'c77@x.y';
SELECT ward.revoke_key('k2', 'postgres', '{decrypt}');
SELECT try($$ALTER TABLE customer ALTER mail TYPE ward.encrypted_text('k')$$);
SELECT * FROM keys_in_use();
SELECT ward.grant_key('k2', 'postgres', '{decrypt}');
ALTER TABLE customer ALTER mail TYPE text;
ALTER TABLE customer ALTER mail TYPE text USING mail::text;
SELECT id, mail FROM customer WHERE mail = 'c77@x.y';
-- Nothing is decrypted, or stored as ciphertext's text, unless somebody writes it.
CREATE TABLE plain (a text, b varchar, c char(10), d bytea);
SELECT try($$INSERT INTO plain (a) SELECT mail FROM parted$$);
SELECT try($$INSERT INTO plain (b) SELECT mail FROM parted$$);
SELECT try($$INSERT INTO plain (c) SELECT mail FROM parted$$);
SELECT try($$INSERT INTO plain (d) SELECT mail FROM parted$$);
SELECT try($$INSERT INTO alike (kind) SELECT '\x61'::bytea$$);
SELECT try($$SELECT 'x'::text || mail FROM parted WHERE id = 1$$) LIKE '%ward:%' AS ciphertext;

-- Maintenance by a role without any grant.
CREATE TABLE owned (id int, mail ward.encrypted_text('k'), note ward.secret_text('k'));
INSERT INTO owned SELECT g, 'o' || g % 300, 'n' FROM generate_series(1, 1000) g;
CREATE INDEX ON owned (mail);
CREATE INDEX ON owned USING hash (mail);
GRANT CREATE ON SCHEMA public TO ward_enc_other;
ALTER TABLE owned OWNER TO ward_enc_other;
SET ROLE ward_enc_other;
ANALYZE owned;
REINDEX TABLE owned;
CLUSTER owned USING owned_mail_idx;
VACUUM FULL owned;
CREATE INDEX CONCURRENTLY ON owned (mail, id);
REINDEX INDEX CONCURRENTLY owned_mail_idx;
SELECT attname, n_distinct, left(most_common_vals::text, 16) AS common, histogram_bounds IS NULL AS no_histogram FROM pg_stats WHERE tablename = 'owned' AND attname <> 'id' ORDER BY 1;
SELECT count(*) FROM (SELECT mail FROM owned GROUP BY mail) AS groups;
ALTER TABLE owned ADD COLUMN more int DEFAULT 5;
ALTER TABLE owned SET UNLOGGED;
RESET ROLE;
-- In parallel.
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
EXPLAIN (COSTS OFF) SELECT count(*) FROM owned WHERE mail::text = 'o7';
SELECT count(*) FROM owned WHERE mail::text = 'o7';
SELECT count(*) FROM owned WHERE mail = lower('O7');
SELECT count(DISTINCT mail::text) FROM owned;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
RESET max_parallel_workers_per_gather;

-- A new search key. Kept plans notice.
PREPARE found AS SELECT count(*) FROM owned WHERE mail = 'o7';
EXECUTE found;
CREATE UNIQUE INDEX ON customer (mail);
ALTER TABLE customer ALTER mail TYPE ward.encrypted_text('k');
CREATE TEMP TABLE scratch (mail ward.encrypted_text('k'));
CREATE VIEW blind AS SELECT ward.blind_index('a', 'b');
\set VERBOSITY default
SELECT ward.renew_search_key();
\set VERBOSITY terse
DROP VIEW blind;
EXECUTE found;
SELECT count(*) FROM owned WHERE mail::text = 'o7';
INSERT INTO owned VALUES (1001, 'o7');
EXECUTE found;
SELECT ward.retag_column('owned', 'mail');
EXECUTE found;
SELECT ward.retag_column('owned', 'mail');
SELECT ward.retag_column('customer', 'mail');
SELECT id FROM customer WHERE mail = 'c77@x.y';
SELECT ward.retag_column('nested', 'mail');
SELECT id FROM nested WHERE mail = 'a@b.c';
SELECT try($$SELECT ward.retag_column('nested', 'list')$$);
SELECT try($$SELECT ward.retag_column('nested', 'id')$$);
SELECT try($$SELECT ward.retag_column('nested', 'none')$$);
SELECT try($$SELECT ward.retag_column(NULL, 'none')$$);
SELECT try($$SELECT ward.retag_column('nested', NULL)$$);
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT try($$SELECT ward.retag_column('nested', 'mail')$$);
ROLLBACK;
SET ROLE ward_enc_other;
SELECT try($$SELECT ward.renew_search_key()$$);
SELECT try($$SELECT ward.renew_search_key_alone()$$);
SELECT try($$SELECT * FROM ward.searchable_column$$);
SELECT try($$SELECT ward.retag_column('customer', 'mail')$$);
RESET ROLE;
-- Rows that row level security would hide must not be left out.
ALTER TABLE owned ENABLE ROW LEVEL SECURITY;
GRANT SELECT, UPDATE ON owned TO ward_enc_reader;
SET ROLE ward_enc_reader;
SELECT try($$SELECT ward.retag_column('owned', 'mail')$$);
RESET ROLE;
-- An equal text under the former key was not seen as equal.
CREATE TABLE once (mail ward.encrypted_text('k') UNIQUE);
INSERT INTO once VALUES ('twice');
SELECT ward.renew_search_key() > 2 AS renewed;
INSERT INTO once VALUES ('twice');
SELECT try($$SELECT ward.retag_column('once', 'mail')$$) ~ '^23505' AS refused;
-- Two sides of a foreign key: together, or not at all.
CREATE TABLE referenced (mail ward.encrypted_text('k') PRIMARY KEY);
CREATE TABLE referencing (mail ward.encrypted_text('k2') CONSTRAINT reference REFERENCES referenced);
INSERT INTO referenced VALUES ('a'), ('b');
INSERT INTO referencing VALUES ('a'), ('a');
SELECT ward.renew_search_key() > 3 AS renewed;
SELECT try($$SELECT ward.retag_column('referenced', 'mail')$$) ~ '^23503' AS refused;
SELECT try($$SELECT ward.retag_column('referencing', 'mail')$$) ~ '^23503' AS refused;
ALTER TABLE referencing ALTER CONSTRAINT reference DEFERRABLE;
BEGIN;
SET CONSTRAINTS ALL DEFERRED;
SELECT ward.retag_column('referenced', 'mail'), ward.retag_column('referencing', 'mail');
COMMIT;
SELECT count(*) FROM referenced JOIN referencing USING (mail) WHERE mail = 'a';
-- A literal in a view is of the key of its time; its text is not lost.
CREATE VIEW with_literal AS SELECT 'kept'::ward.encrypted_text AS kept;
SELECT ward.renew_search_key() > 4 AS renewed;
INSERT INTO once SELECT kept FROM with_literal;
SELECT mail::text FROM once WHERE mail = 'kept';

-- ward.reveal: rows of a SELECT for the client, and nothing else.
CREATE TABLE shown (id int PRIMARY KEY, mail ward.encrypted_text('k') CHECK (mail::text <> 'bad'), note ward.secret_text('k2'), list ward.encrypted_text('k')[]);
INSERT INTO shown VALUES (1, 'ann@x.y', 'her note', '{l1,l2}');
GRANT SELECT ON shown TO ward_enc_reader;
SET ward.reveal = on;
SELECT * FROM shown;
SELECT shown FROM shown;
SELECT mail FROM shown UNION ALL SELECT mail FROM parted WHERE id = 1;
-- EXECUTE and FETCH do not send their rows themselves.
PREPARE showing AS SELECT mail FROM shown;
EXECUTE showing \gset
SELECT :'mail' LIKE 'ward:%' AS ciphertext;
BEGIN;
DECLARE mails CURSOR FOR SELECT mail FROM shown;
FETCH mails \gset
SELECT :'mail' LIKE 'ward:%' AS ciphertext;
COMMIT;
INSERT INTO shown VALUES (2, 'new@x.y') RETURNING mail \gset
SELECT :'mail' LIKE 'ward:%' AS ciphertext;
SELECT format('%s', mail) LIKE 'ward:%' AS ciphertext, to_json(mail)::text LIKE '"ward:%' AS ciphertext, mail::text, concat(note) LIKE 'ward:%' AS ciphertext FROM shown;
CREATE FUNCTION said() RETURNS text LANGUAGE plpgsql AS $$
DECLARE message text;
BEGIN
    SELECT 'value ' || format('%s', mail) INTO message FROM shown;
    RETURN message;
END $$;
SELECT said() LIKE 'value ward:%' AS ciphertext;
SELECT try($$INSERT INTO shown VALUES (2, 'bad')$$) LIKE '%bad%' AS leaks;
DO $$
DECLARE detail text;
BEGIN
    BEGIN
        INSERT INTO shown VALUES (4, 'bad', 'canary') RETURNING id;
    EXCEPTION WHEN check_violation THEN
        GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
    END;
    IF detail !~ 'Failing row contains \(4, ward:encrypted:[^,]*, ward:secret:[^,]*, null\)' THEN
        RAISE EXCEPTION 'the detail shows more than ciphertext';
    END IF;
END $$;
SET ROLE ward_enc_reader;
-- Without a grant, and with a key that is disabled: ciphertext.
SELECT note FROM shown WHERE id = 1 \gset
SELECT :'note' LIKE 'ward:%' AS ciphertext;
RESET ROLE;
SELECT ward.grant_key('k2', 'ward_enc_reader', '{decrypt}');
SET ROLE ward_enc_reader;
SELECT note FROM shown WHERE id = 1;
RESET ROLE;
SELECT ward.disable_encryption_key('k2');
SELECT mail, note FROM shown WHERE id = 1 \gset
SELECT :'mail' AS mail, :'note' LIKE 'ward:%' AS ciphertext;
RESET ward.reveal;

-- Columns are named before the extension takes them along.
SELECT try($$DROP EXTENSION pg_ward$$);
DROP EXTENSION pg_ward CASCADE;
SELECT attname FROM pg_attribute WHERE attrelid = 'customer'::regclass AND attnum > 0 AND NOT attisdropped;

\c :origin
SET client_min_messages = warning;
DROP DATABASE ward_encrypted_columns;
DROP ROLE ward_enc_reader, ward_enc_other;
