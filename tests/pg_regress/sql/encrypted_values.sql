-- Values of ward.encrypted_text and ward.secret_text: who makes, compares and reads them, and how they come in.
SELECT current_database() AS origin \gset
\set VERBOSITY terse
SET client_min_messages = warning;
DROP DATABASE IF EXISTS ward_encrypted_values;
CREATE DATABASE ward_encrypted_values ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
\c ward_encrypted_values
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
DROP ROLE IF EXISTS ward_enc_none, ward_enc_writer, ward_enc_reader, ward_enc_importer, ward_enc_thief, "ward_enc_o'brien";
CREATE ROLE ward_enc_none;
CREATE ROLE ward_enc_writer;
CREATE ROLE ward_enc_reader;
CREATE ROLE ward_enc_importer;
CREATE ROLE ward_enc_thief;
CREATE ROLE "ward_enc_o'brien";
CREATE TABLE t (id int PRIMARY KEY, email ward.encrypted_text('k') UNIQUE, note ward.secret_text('k'));
GRANT ALL ON t TO PUBLIC;

-- The key can come after the table, as in a dump.
SELECT try($$INSERT INTO t VALUES (1, 'a@b.c', 'x')$$);
SELECT ward.generate_encryption_key('k') IS NOT NULL AS made;
SELECT ward.generate_encryption_key('other') IS NOT NULL AS made;
SELECT try($$SELECT ward.rotate_encryption_key('ward/search')$$);

-- Text in, ciphertext out.
INSERT INTO t VALUES (1, 'a@b.c', 'note one'), (2, 'b@b.c', NULL), (3, '', ''), (4, NULL, 'Grüße, 世界 🎉');
SELECT id, email::text, note::text, email::varchar, email::varchar(3), email::char(8), email::bytea, note::bytea FROM t ORDER BY id;
SELECT id, email::text LIKE 'ward:%' AS looks_like_ciphertext, left(format('%s', email), 15) AS email, left(format('%s', note), 12) AS note FROM t ORDER BY id;
SELECT id, length(ward.encrypted_text_send(email)) - octet_length(email::text) AS overhead,
       length(ward.secret_text_send(note)) - octet_length(note::text) AS secret_overhead FROM t ORDER BY id;
SELECT id, substr(ward.encrypted_text_send(email), 1, 1) AS form, substr(ward.encrypted_text_send(email), 26, 4) AS envelope
FROM t WHERE email IS NOT NULL ORDER BY id;
SELECT substr(ward.encrypted_text_send('x'), 1, 1) AS literal_form, substr(ward.secret_text_send('x'), 1, 1) AS literal_form;
-- Every value has its own nonce, every equal text the same tag.
INSERT INTO t SELECT g, 'u' || g, 'same' FROM generate_series(100, 1099) g;
SELECT count(DISTINCT substr(ward.secret_text_send(note), 14, 24)) FROM t WHERE id BETWEEN 100 AND 1099;
SELECT count(DISTINCT ward.search_tag('same'::ward.encrypted_text)), length(ward.search_tag('same')) FROM generate_series(1, 10) GROUP BY 2;

-- Comparing.
ANALYZE t;
SELECT id FROM t WHERE email = 'a@b.c';
SELECT id FROM t WHERE email = lower('A@B.C');
SELECT id FROM t WHERE email = 'a@b.c'::varchar;
SELECT id FROM t WHERE 'a@b.c' = email;
SELECT id FROM t WHERE email = '';
SELECT id FROM t WHERE email IN ('a@b.c', 'b@b.c', 'none') ORDER BY id;
SELECT id FROM t WHERE email = ANY ('{a@b.c,none}') ORDER BY id;
SELECT id FROM t WHERE email = ANY (ARRAY['a@b.c', lower('B@b.c')]) ORDER BY id;
SELECT count(*) FROM t WHERE email <> 'a@b.c';
SELECT count(*) FROM t WHERE email IS DISTINCT FROM 'a@b.c';
SELECT nullif(email, 'a@b.c') IS NULL AS is_null, CASE email WHEN 'a@b.c' THEN 'found' END AS found FROM t WHERE id = 1;
PREPARE by_email AS SELECT id FROM t WHERE email = $1;
EXECUTE by_email('a@b.c');
EXECUTE by_email(lower('B@B.C'));
PREPARE by_text(text) AS SELECT id FROM t WHERE email = $1;
EXECUTE by_text('a@b.c');
SET plan_cache_mode = force_generic_plan;
EXECUTE by_email('a@b.c');
EXECUTE by_text('a@b.c');
RESET plan_cache_mode;
-- Order is not the texts', so it is not offered under the usual names. Nor is anything for secret_text.
SELECT try($$SELECT id FROM t WHERE email < 'm'$$);
SELECT try($$SELECT id FROM t WHERE email LIKE 'a%'$$);
SELECT try($$SELECT id FROM t WHERE note = 'note one'$$);
SELECT try($$SELECT note FROM t GROUP BY note$$);
SELECT try($$SELECT id FROM t ORDER BY note$$);
SELECT try($$SELECT min(email) FROM t$$);
-- Without the extension's schema in the path, and with a pinned one.
SET search_path = pg_catalog;
SELECT id FROM public.t WHERE email = 'a@b.c';
RESET search_path;

-- Plans.
SET enable_seqscan = off;
CREATE FUNCTION plan(statement text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (COSTS OFF, VERBOSE) ' || statement LOOP
        RETURN NEXT regexp_replace(line, 'ward:(encrypted|secret):[A-Za-z0-9+/=]*', 'ward:\1:...', 'g');
    END LOOP;
END $$;
SELECT plan($$SELECT id FROM t WHERE email = 'a@b.c'$$);
SELECT plan($$SELECT id FROM t WHERE email = lower('A@B.C')$$);
SELECT plan($$SELECT id FROM t WHERE email = ANY (ARRAY['a@b.c', lower('B@b.c')])$$);
RESET enable_seqscan;
CREATE TABLE same AS SELECT id, email FROM t;
ANALYZE same;
SET enable_mergejoin = off;
SET enable_nestloop = off;
SELECT plan($$SELECT count(*) FROM t JOIN same USING (email)$$);
SELECT count(*) FROM t JOIN same USING (email);
RESET enable_mergejoin;
SET enable_hashjoin = off;
SELECT plan($$SELECT count(*) FROM t JOIN same USING (email)$$);
SELECT count(*) FROM t JOIN same USING (email);
RESET enable_nestloop;
RESET enable_hashjoin;
SELECT count(*), count(DISTINCT email) FROM (SELECT email FROM t UNION ALL SELECT email FROM same) AS two;
SELECT count(*) FROM (SELECT email FROM t UNION SELECT email FROM same) AS one;
SELECT count(*) FROM (SELECT email FROM t GROUP BY email) AS one;
SELECT count(*) FROM t WHERE email IN (SELECT email FROM same WHERE id < 4);
-- A join with plain text computes its tags.
CREATE TABLE plain AS SELECT 'u' || g AS name FROM generate_series(100, 200) g;
SELECT count(*) FROM plain JOIN t ON email = name;

-- Uniqueness.
SELECT try($$INSERT INTO t VALUES (5, 'a@b.c')$$) ~ '^23505' AS refused;
INSERT INTO t VALUES (5, 'a@b.c', 'again') ON CONFLICT (email) DO UPDATE SET note = excluded.note RETURNING id, note::text;
INSERT INTO t VALUES (6, 'a@b.c') ON CONFLICT DO NOTHING;
UPDATE t SET email = 'c@b.c' WHERE email = 'b@b.c' RETURNING id, email::text;
DELETE FROM t WHERE email = 'c@b.c' RETURNING id;

-- Keys: a literal has none yet; a cast to a type with a key, or a column, gives it one.
SELECT try($$SELECT 'x'::ward.encrypted_text::text$$);
SELECT try($$SELECT 'x'::ward.secret_text::text$$);
SELECT 'x'::ward.encrypted_text('other')::text, 'x'::ward.secret_text('k')::text, ('x'::text)::ward.encrypted_text('k')::text;
SELECT substr(ward.encrypted_text_send('x'::ward.encrypted_text('other')), 30, 8) = decode(key_id, 'hex') AS under_it
FROM ward.encryption_keys WHERE name = 'other';
CREATE TABLE under_other (email ward.encrypted_text('other'));
GRANT SELECT ON under_other TO ward_enc_writer;
INSERT INTO under_other SELECT email FROM t WHERE id < 4;
SELECT email::text, substr(ward.encrypted_text_send(email), 30, 8) = decode(key_id, 'hex') AS under_it
FROM under_other, ward.encryption_keys WHERE name = 'other' ORDER BY 1;
SELECT count(*) FROM t JOIN under_other USING (email);
SELECT try($$SELECT 'x'::ward.encrypted_text('none')$$);
SELECT try($$SELECT 'x'::ward.encrypted_text('a', 'b')$$);
SELECT try($$SELECT 'x'::ward.encrypted_text('')$$);
SELECT try($$SELECT 'x'::ward.encrypted_text('#0')$$);
SELECT try($$SELECT 'x'::ward.encrypted_text('#-5')$$);
SELECT try($$SELECT 'x'::ward.encrypted_text('#99999999999')$$);
SELECT try($$SELECT 'x'::ward.encrypted_text('ward/search')$$);
SELECT try($$SELECT ward.encrypted_text('x'::text, 0, true)$$);
SELECT NULL::ward.encrypted_text('k') IS NULL AS n, NULL::text::ward.secret_text('k') IS NULL AS n, ward.search_tag(NULL) IS NULL AS n;

-- Hostile and odd input.
SELECT try($$SELECT '\xff'::bytea::ward.encrypted_text('k')$$);
SELECT try($$SELECT '\x610062'::bytea::ward.encrypted_text('k')$$);
SELECT '\x'::bytea::ward.encrypted_text('k')::text = '' AS empty, 'é'::ward.encrypted_text('k')::bytea;
SELECT octet_length(repeat(repeat('x', 1000), 3000)::ward.secret_text('k')::text);
SELECT try($$SELECT repeat(repeat('x', 1000), 810000)::ward.secret_text('k')$$);
SELECT left(try($$INSERT INTO t VALUES (7, repeat('x', 3000))$$), 60);
INSERT INTO t VALUES (7, repeat('x', 2500));
SELECT id FROM t WHERE email = repeat('x', 2500);
-- Longer values: a unique index on the tag.
CREATE TABLE long (v ward.encrypted_text('k'));
CREATE UNIQUE INDEX ON long (ward.search_tag(v));
INSERT INTO long VALUES (repeat('long', 100000));
SELECT try($$INSERT INTO long VALUES (repeat('long', 100000))$$) ~ '^23505' AS refused;
SELECT octet_length(v::text) FROM long WHERE ward.search_tag(v) = ward.search_tag(repeat('long', 100000));
SELECT octet_length(v::text), v = repeat('long', 100000) AS equal FROM long;
CREATE INDEX ON long USING hash (v);
SET enable_seqscan = off;
SELECT octet_length(v::text) FROM long WHERE v = repeat('long', 100000);
RESET enable_seqscan;

-- Rights. Nothing without a grant; what works needs none.
SET ROLE ward_enc_none;
SELECT try($$SELECT id FROM t WHERE email = 'a@b.c'$$);
SELECT try($$SELECT id FROM t WHERE email = lower('a@b.c')$$);
SELECT try($$SELECT email::text FROM t WHERE id = 1$$);
SELECT try($$SELECT note::text FROM t WHERE id = 1$$);
SELECT try($$SELECT email::bytea FROM t WHERE id = 1$$);
SELECT try($$INSERT INTO t VALUES (8, 'x')$$);
SELECT try($$INSERT INTO t VALUES (8, NULL, 'x')$$);
SELECT try($$SELECT 'x'::text::ward.secret_text('k')$$);
SELECT count(*), count(DISTINCT a.email) FROM t a JOIN t b USING (email);
RESET ROLE;
SELECT ward.grant_key('k', 'ward_enc_writer', '{encrypt,search}');
SET ROLE ward_enc_writer;
INSERT INTO t VALUES (8, 'h@b.c', 'eight');
SELECT id FROM t WHERE email = 'h@b.c';
SELECT try($$SELECT email::text FROM t WHERE id = 8$$);
SELECT try($$SELECT 'x'::ward.encrypted_text('other')$$);
-- Between keys takes both.
SELECT try($$INSERT INTO t SELECT 9, email FROM under_other LIMIT 1$$);
RESET ROLE;
SELECT ward.grant_key('k', 'ward_enc_reader', '{decrypt}');
SET ROLE ward_enc_reader;
SELECT email::text, note::text FROM t WHERE id = 8;
SELECT try($$SELECT id FROM t WHERE email = 'h@b.c'$$);
SELECT try($$INSERT INTO t VALUES (9, 'x')$$);
RESET ROLE;
SELECT ward.grant_key('k', 'ward_enc_none', '{encrypt}');
SET ROLE ward_enc_none;
INSERT INTO t (id, note) VALUES (10, 'ten');
SELECT try($$INSERT INTO t SELECT 9, lower('X')$$);
RESET ROLE;
SET ROLE "ward_enc_o'brien";
SELECT try($$SELECT email::text FROM t WHERE id = 1$$);
RESET ROLE;

-- Ciphertext as input: as text of a thief it is text.
SELECT format('%s', email) AS stolen, format('%s', note) AS stolen_note FROM t WHERE id = 1 \gset
SELECT ward.grant_key('k', 'ward_enc_thief', '{encrypt,decrypt,search}');
SET ROLE ward_enc_thief;
INSERT INTO t VALUES (20, :'stolen', :'stolen_note');
INSERT INTO t (id, note) VALUES (21, :'stolen_note'::text);
SELECT id, email::text = :'stolen' AS is_text, note::text = :'stolen_note' AS note_is_text FROM t WHERE id IN (20, 21) ORDER BY id;
RESET ROLE;
-- A function of a superuser handles what others send.
CREATE FUNCTION store(id int, email text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN EXECUTE format('INSERT INTO t VALUES (%s, %L)', id, email); END $$;
DELETE FROM t WHERE id IN (20, 21);
SET SESSION AUTHORIZATION ward_enc_thief;
SELECT store(22, :'stolen');
SELECT email::text = :'stolen' AS is_text FROM t WHERE id = 22;
RESET SESSION AUTHORIZATION;
DELETE FROM t WHERE id = 22;
-- Text that a table holds is encrypted as text, whoever converts it.
SELECT (:'stolen'::text)::ward.encrypted_text('k')::text = :'stolen' AS is_text;
CREATE TABLE planted (email text);
INSERT INTO planted VALUES (:'stolen');
ALTER TABLE planted ALTER email TYPE ward.encrypted_text('k');
SELECT email::text = :'stolen' AS is_text FROM planted;
-- Text that no cast handled is an input like a literal's.
SELECT (jsonb_populate_record(NULL::planted, jsonb_build_object('email', 'ward:encrypted:x' || 'y'))).email::text LIKE 'never';
-- A superuser restores, an importer of that very key imports.
DELETE FROM t WHERE id = 1;
INSERT INTO t VALUES (1, :'stolen', :'stolen_note');
SELECT email::text, note::text FROM t WHERE id = 1;
SELECT id FROM t WHERE email = 'a@b.c';
SELECT ward.grant_key('k', 'ward_enc_importer', '{import}');
SELECT ward.grant_key('other', 'ward_enc_importer', '{encrypt,search}');
DELETE FROM t WHERE id = 1;
SET ROLE ward_enc_importer;
INSERT INTO t VALUES (1, :'stolen', :'stolen_note');
SELECT try($$INSERT INTO t VALUES (30, 'plain text')$$);
RESET ROLE;
SELECT email::text, note::text FROM t WHERE id = 1;
SELECT try($$INSERT INTO t VALUES (30, 'ward:encrypted:AAAA')$$);
SELECT try($$INSERT INTO t VALUES (30, 'ward:encrypted:')$$);
SELECT try($$INSERT INTO t (id, note) VALUES (30, 'ward:secret:#')$$);
-- One type's ciphertext is not the other's, and a changed one does not open.
SELECT try(format('SELECT %L::ward.secret_text::text', replace(:'stolen', 'encrypted', 'secret')));
SELECT try(format('SELECT %L::ward.encrypted_text::text', translate(:'stolen', 'GHIJ', 'JIHG'))) ~ '^(XX001|42704|22P02)' AS refused;
SELECT try(format('SELECT ward.decrypt(%L)', substr(ward.encrypted_text_send(email), 26))) FROM t WHERE id = 1;
CREATE TABLE copied (email ward.encrypted_text('other'));
-- The column's key is another one: encrypted anew, by a role that may use both.
INSERT INTO copied VALUES (:'stolen');
SELECT email::text FROM copied;

-- Nor is a known key's ciphertext stored in a column whose key is not there.
CREATE TABLE keyless (email ward.encrypted_text('not made'));
CREATE TABLE keyless (email ward.encrypted_text('not-made'));
SELECT try($$INSERT INTO keyless SELECT email FROM t WHERE id = 1$$);

-- Keys that are switched off or gone: ciphertext stays, tags compare.
SELECT ward.disable_encryption_key('k');
SELECT count(*) FROM t WHERE email = 'h@b.c';
SELECT try($$SELECT email::text FROM t WHERE id = 8$$);
SELECT try($$INSERT INTO t VALUES (31, 'x')$$);
SELECT ward.enable_encryption_key('k');
SELECT ward.rotate_encryption_key('k');
INSERT INTO t VALUES (32, 'after@rotation', 'after');
SELECT email::text FROM t WHERE email IN ('h@b.c', 'after@rotation') ORDER BY 1;
SELECT ward.destroy_encryption_key('k', 'k', force => true);
SELECT count(*) FROM t WHERE email = 'h@b.c';
SELECT try($$SELECT email::text FROM t WHERE id = 8$$);
ANALYZE t;
REINDEX TABLE t;
VACUUM FULL t;
CLUSTER t USING t_email_key;
SELECT count(*) FROM t WHERE email = 'h@b.c';

\c :origin
SET client_min_messages = warning;
DROP DATABASE ward_encrypted_values;
DROP ROLE ward_enc_none, ward_enc_writer, ward_enc_reader, ward_enc_importer, ward_enc_thief, "ward_enc_o'brien";
