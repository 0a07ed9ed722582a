-- Values under a password: every refusal. Stretching is slow on purpose, so few values are made.
SELECT current_database() AS origin \gset
\set VERBOSITY terse
SET client_min_messages = warning;
DROP DATABASE IF EXISTS ward_password;
CREATE DATABASE ward_password ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
\c ward_password
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

-- No key of the registry is involved.
BEGIN;
CREATE TABLE secret AS SELECT ward.encrypt_with_password('4111 1111', 'correct horse', 100000) AS e;
SELECT ward.decrypt_with_password(e, 'correct horse') FROM secret;
SELECT length(e) - 9 AS overhead, substr(e, 1, 9) AS head FROM secret;
-- One salt per transaction and password, and a nonce of its own for each value.
CREATE TABLE many AS SELECT i, ward.encrypt_with_password('value ' || i, 'correct horse', 100000) AS e
    FROM generate_series(1, 10000) i;
SELECT count(DISTINCT substr(e, 10, 16)) AS salts, count(DISTINCT substr(e, 58, 24)) AS nonces FROM many;
SELECT count(*) FROM many WHERE ward.decrypt_with_password(e, 'correct horse') = 'value ' || i;
SELECT substr(ward.encrypt_with_password('', 'another', 100000), 10, 16) = substr(e, 10, 16) AS same_salt FROM secret;
COMMIT;
-- Another transaction, another salt; the value still opens.
SELECT substr(ward.encrypt_with_password('', 'correct horse', 100000), 10, 16) = substr(e, 10, 16) AS same_salt FROM secret;
SELECT ward.decrypt_with_password(e, 'correct horse') FROM secret;
SELECT count(*) FROM many WHERE ward.decrypt_with_password(e, 'correct horse') = 'value ' || i;
SELECT ward.decrypt_with_password(ward.encrypt_with_password('Grüße, 世界', 'pässword', 100000, 'row 1'), 'pässword', 'row 1');
SELECT ward.decrypt_with_password(ward.encrypt_with_password('', 'p', 100000), 'p') = '' AS empty;
-- The default number of iterations.
SELECT substr(ward.encrypt_with_password('x', 'p'), 6, 4) AS iterations;

-- NULL in, NULL out; but no value is lost because its password is NULL.
SELECT ward.encrypt_with_password(NULL, 'p') IS NULL AS n1, ward.decrypt_with_password(NULL, 'p') IS NULL AS n2,
       ward.encrypt_with_password(NULL, NULL, NULL) IS NULL AS n3;
SELECT try($$SELECT ward.encrypt_with_password('x', NULL)$$);
SELECT try($$SELECT ward.decrypt_with_password(e, NULL) FROM secret$$);
SELECT try($$SELECT ward.encrypt_with_password('x', 'p', NULL)$$);
-- Passwords have a length.
SELECT try($$SELECT ward.encrypt_with_password('x', '')$$);
SELECT try($$SELECT ward.decrypt_with_password(e, '') FROM secret$$);
SELECT try($$SELECT ward.encrypt_with_password('x', repeat('p', 1025))$$);
SELECT length(ward.encrypt_with_password('x', repeat('p', 1024), 100000)) AS bytes;
-- Iterations have limits.
SELECT try(format($$SELECT ward.encrypt_with_password('x', 'p', %s)$$, i)) FROM unnest('{-1,0,99999,10000001,2147483647}'::int[]) i;

-- The wrong password is one error, a changed value another.
SELECT try($$SELECT ward.decrypt_with_password(e, 'incorrect horse') FROM secret$$);
SELECT try($$SELECT ward.decrypt_with_password(set_byte(e, 30, get_byte(e, 30) # 1), 'correct horse') FROM secret$$);
SELECT try($$SELECT ward.decrypt_with_password(set_byte(e, 90, get_byte(e, 90) # 1), 'correct horse') FROM secret$$);
SELECT try($$SELECT ward.decrypt_with_password(e, 'correct horse', 'row 1') FROM secret$$);
SELECT try($$SELECT ward.decrypt_with_password(e, 'correct horse', '') FROM secret$$);

-- Hostile and mistaken input; nothing of it is repeated.
SELECT try($$SELECT ward.decrypt_with_password('', 'p')$$);
SELECT try($$SELECT ward.decrypt_with_password('plain text by mistake', 'p')$$);
SELECT count(*) AS truncations, count(*) FILTER (WHERE try(format('SELECT ward.decrypt_with_password(%L, %L)',
    substr(e, 1, n), 'correct horse')) !~ '^(22P03 ciphertext is truncated|XX001 authentication failed)') AS undetected
    FROM secret, generate_series(0, length(e) - 1) n;
SELECT try(format('SELECT ward.decrypt_with_password(%L, %L)', set_byte(e, place, value), 'correct horse'))
    FROM secret, (VALUES (0, 0), (1, 2), (2, 99), (3, 1), (4, 2)) v (place, value);
-- Iterations from 0 to 4 billion in the header: refused before any work is done.
SELECT DISTINCT try(format('SELECT ward.decrypt_with_password(%L, %L)', overlay(e PLACING i FROM 6), 'correct horse'))
    FROM secret, unnest('{"\\x00000000","\\x0001869f","\\x00989681","\\xffffffff"}'::bytea[]) i;
-- Not a text.
SELECT try(format('SELECT ward.decrypt_with_password(%L, %L)', set_byte(e, 2, 2), 'correct horse')) FROM secret;

-- A table of values with a salt each cannot take for ever.
CREATE TABLE salts AS SELECT i, set_byte(e, 9, get_byte(e, 9) # i) AS e FROM secret, generate_series(1, 255) i;
SET ward.max_password_iterations = 300000;
SELECT try($$SELECT count(ward.decrypt_with_password(e, 'correct horse')) FROM secret$$);
CREATE FUNCTION spend() RETURNS TABLE (answer text, times bigint) LANGUAGE sql AS $$
    SELECT try(format('SELECT ward.decrypt_with_password(%L, %L)', e, 'correct horse')), count(*) FROM salts GROUP BY 1 ORDER BY 1
$$;
SELECT * FROM spend();
SELECT try(format('SELECT ward.decrypt_with_password(%L, %L)', overlay(e PLACING '\x000493e1' FROM 6), 'correct horse')) FROM secret;
SELECT try('SET ward.max_password_iterations = 99999');
RESET ward.max_password_iterations;

-- Values under a key and under a password are told apart.
SELECT ward.generate_encryption_key('main') IS NOT NULL AS made;
SELECT try($$SELECT ward.decrypt(e) FROM secret$$);
SELECT try($$SELECT ward.decrypt_with_password(ward.encrypt('x'), 'p')$$);

SELECT proname, provolatile, proparallel, proisstrict, procost FROM pg_proc
    WHERE pronamespace = 'ward'::regnamespace AND proname ~ 'with_password' ORDER BY 1;
\c :origin
SET client_min_messages = warning;
DROP DATABASE ward_password WITH (FORCE);
