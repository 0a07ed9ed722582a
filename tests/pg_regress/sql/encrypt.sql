-- Field encryption: every type, every refusal.
SELECT current_database() AS origin \gset
\set VERBOSITY terse
SET client_min_messages = warning;
DROP DATABASE IF EXISTS ward_encrypt;
CREATE DATABASE ward_encrypt ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
\c ward_encrypt
SET client_min_messages = warning;
SET client_encoding = 'UTF8';
CREATE EXTENSION pg_ward;
CREATE FUNCTION try(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE result text;
BEGIN
    EXECUTE statement INTO result;
    RETURN coalesce(result, 'ok');
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
SELECT ward.generate_encryption_key('main') IS NOT NULL AS made;
SELECT ward.generate_encryption_key('other') IS NOT NULL AS made;

-- Text.
SELECT ward.decrypt(ward.encrypt('hello'));
SELECT ward.decrypt(ward.encrypt('hello', 'other'));
SELECT ward.decrypt(ward.encrypt('Grüße, 世界 🎉'));
SELECT ward.decrypt(ward.encrypt('')) = '' AS empty, length(ward.encrypt('')) AS length;
SELECT ward.encrypt(NULL::text) IS NULL AS n1, ward.encrypt(NULL::bytea) IS NULL AS n2,
       ward.encrypt(NULL::jsonb) IS NULL AS n3, ward.decrypt(NULL) IS NULL AS n4,
       ward.decrypt_bytea(NULL) IS NULL AS n5, ward.decrypt_jsonb(NULL) IS NULL AS n6,
       ward.encrypt(NULL::text, 'no such key', 'aad') IS NULL AS n7;
SELECT length(ward.encrypt(repeat('x', n))) - n AS overhead FROM unnest('{1,15,16,17,1000}'::int[]) n;
SELECT ward.encrypt('same') <> ward.encrypt('same') AS differ;
SELECT count(DISTINCT ward.encrypt('same')) FROM generate_series(1, 10000);
SELECT substr(ward.encrypt('x'), 1, 4), substr(ward.encrypt('\x00'::bytea), 1, 4), substr(ward.encrypt('1'::jsonb), 1, 4);
SELECT encode(substr(ward.encrypt('x'), 5, 8), 'hex') = key_id AS names_its_key
    FROM ward.encryption_keys WHERE name = 'main';

-- Bytes and documents.
SELECT ward.decrypt_bytea(ward.encrypt('\x00ff00'::bytea)), ward.decrypt_bytea(ward.encrypt(''::bytea));
SELECT ward.decrypt_jsonb(ward.encrypt('{"n": 1.00000000000000000000000000000000001, "big": 123456789012345678901234567890, "e": 1e400, "z": -0.0, "s": "\u00e4\"\\", "a": [null, true, {}]}'::jsonb));
SELECT ward.decrypt_jsonb(ward.encrypt(d)) = d AS same
    FROM (SELECT '{"deep": {"er": [[[[1]]]]}, "": ""}'::jsonb AS d) t;
SELECT ward.decrypt_jsonb(ward.encrypt('null'::jsonb)), ward.decrypt_jsonb(ward.encrypt('"text"'::jsonb));

-- Large ones, also out of line and compressed.
SELECT ward.decrypt(ward.encrypt(t)) = t AS same, length(ward.encrypt(t)) FROM (SELECT repeat('0123456789abcdef', 655360) AS t) x;
CREATE TABLE large (plain text, secret bytea);
INSERT INTO large SELECT t, ward.encrypt(t) FROM (SELECT string_agg(md5(i::text), '') AS t FROM generate_series(1, 40000) i) x;
INSERT INTO large SELECT t, ward.encrypt(t) FROM (SELECT repeat('compresses well ', 4000) AS t) x;
SELECT length(plain), ward.decrypt(secret) = plain AS same FROM large ORDER BY 1;

-- Additional data: the same is needed again; none, empty and something all differ.
SELECT ward.decrypt(ward.encrypt('hello', NULL, 'row 1'), 'row 1');
SELECT ward.decrypt(ward.encrypt('hello', aad => ''), '');
SELECT try($$SELECT ward.decrypt(ward.encrypt('hello', NULL, 'row 1'), 'row 2')$$);
SELECT try($$SELECT ward.decrypt(ward.encrypt('hello', NULL, 'row 1'))$$);
SELECT try($$SELECT ward.decrypt(ward.encrypt('hello'), 'row 1')$$);
SELECT try($$SELECT ward.decrypt(ward.encrypt('hello', NULL, ''))$$);
SELECT try($$SELECT ward.decrypt(ward.encrypt('hello'), '')$$);

-- Another type than was encrypted.
SELECT try($$SELECT ward.decrypt(ward.encrypt('\x00'::bytea))$$);
SELECT try($$SELECT ward.decrypt(ward.encrypt('1'::jsonb))$$);
SELECT try($$SELECT ward.decrypt_bytea(ward.encrypt('hello'))$$);
SELECT try($$SELECT ward.decrypt_jsonb(ward.encrypt('hello'))$$);

-- Truncated, foreign, changed. No message shows a byte of the value.
SELECT try($$SELECT ward.decrypt('')$$);
SELECT try($$SELECT ward.decrypt('\xe7')$$);
SELECT try($$SELECT ward.decrypt(substr(ward.encrypt('hello'), 1, 51))$$);
SELECT try($$SELECT ward.decrypt('plain text passed by mistake')$$);
SELECT try($$SELECT ward.decrypt(set_byte(ward.encrypt('hello'), 1, 99))$$);
SELECT try($$SELECT ward.decrypt(set_byte(ward.encrypt('hello'), 2, 99))$$);
SELECT try($$SELECT ward.decrypt(set_byte(ward.encrypt('hello'), 3, 1))$$);
SELECT try($$SELECT ward.decrypt('\xe70101000102030405060708'::bytea || substr(ward.encrypt('hello'), 13))$$);
SELECT try($$SELECT ward.decrypt(substr(ward.encrypt('hello'), 1, 52))$$);
SELECT try($$SELECT ward.decrypt(ward.encrypt('hello') || '\x00')$$);
-- A type tag exchanged is authenticated too.
SELECT try($$SELECT ward.decrypt_bytea(set_byte(ward.encrypt('hello'), 2, 2))$$);
-- Every bit of the envelope.
SELECT count(*) AS bits, count(*) FILTER (WHERE try(format('SELECT ward.decrypt(%L)', set_bit(e, bit, 1 - get_bit(e, bit)))) !~
    '^(XX001 authentication|0A000 unknown|42804 |42704 )') AS undetected
    FROM (SELECT ward.encrypt('hello') AS e) x, generate_series(0, length(e) * 8 - 1) bit;

-- Keys that are not there.
SELECT try($$SELECT ward.encrypt('x', 'none')$$);
-- What cannot be a name is not repeated: it may be a value in the wrong place.
SELECT try($$SELECT ward.encrypt('x', '')$$);
SELECT try($$SELECT ward.encrypt('x', 'a value in the wrong place')$$);
SELECT try($$SELECT ward.encrypt('x', repeat('y', 100))$$);

-- What the planner may do: never fold a result into a plan.
SELECT proname, provolatile, proparallel, proisstrict FROM pg_proc
    WHERE pronamespace = 'ward'::regnamespace AND proname IN ('encrypt', 'decrypt', 'decrypt_bytea', 'decrypt_jsonb') ORDER BY 1, 2;
EXPLAIN (VERBOSE, COSTS OFF) SELECT ward.decrypt('\xe7'::bytea);

-- Parallel workers read the registry themselves.
CREATE TABLE many AS SELECT i, ward.encrypt('value ' || i, aad => i::text) AS secret FROM generate_series(1, 20000) i;
ANALYZE many;
SET min_parallel_table_scan_size = 0; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
SET parallel_leader_participation = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM many WHERE ward.decrypt(secret, i::text) = 'value ' || i;
SELECT count(*) FROM many WHERE ward.decrypt(secret, i::text) = 'value ' || i;
SELECT count(*) FROM many WHERE length(ward.encrypt('x')) = 53;

-- Other encodings: a value keeps its text.
SELECT ward.decrypt(ward.encrypt('Grüße'));
\c :origin
SET client_min_messages = warning;
DROP DATABASE ward_encrypt WITH (FORCE);
DROP DATABASE IF EXISTS ward_latin1;
CREATE DATABASE ward_latin1 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
\c ward_latin1
SET client_min_messages = warning;
SET client_encoding = 'UTF8';
CREATE EXTENSION pg_ward;
SELECT ward.generate_encryption_key('main') IS NOT NULL AS made;
SELECT ward.decrypt(ward.encrypt('Grüße', aad => 'ä'), 'ä') AS text;
SELECT ward.decrypt_jsonb(ward.encrypt('{"ä": "ß"}'::jsonb));
-- As many bytes as in UTF-8: the envelope does not depend on the database's encoding.
SELECT length(ward.encrypt('Grüße')) - 52 AS bytes;
\c :origin
SET client_min_messages = warning;
DROP DATABASE ward_latin1 WITH (FORCE);
