-- Blind indexes and moving values to the active key.
SELECT current_database() AS origin \gset
\set VERBOSITY terse
SET client_min_messages = warning;
DROP ROLE IF EXISTS ward_index_searcher, ward_index_other;
DROP DATABASE IF EXISTS ward_blind_index;
CREATE DATABASE ward_blind_index ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
\c ward_blind_index
SET client_min_messages = warning;
SET client_encoding = 'UTF8';
CREATE EXTENSION pg_ward;
CREATE FUNCTION try(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE result text;
BEGIN
    EXECUTE statement INTO result;
    RETURN coalesce(result, 'NULL');
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
-- Without any key there is nobody who may.
SELECT try($$SELECT ward.blind_index('x', 'd')$$);
SELECT ward.generate_encryption_key('main') IS NOT NULL AS made;
CREATE ROLE ward_index_searcher;
CREATE ROLE ward_index_other;
SELECT ward.grant_key('main', 'ward_index_other');

-- The search key is made on first need, which a read-only transaction cannot do.
BEGIN READ ONLY;
SELECT try($$SELECT ward.blind_index('x', 'd')$$);
COMMIT;
SELECT length(ward.blind_index('x', 'd')) AS bytes;
SELECT name, purpose, state FROM ward.encryption_keys ORDER BY 1;
BEGIN READ ONLY;
SELECT length(ward.blind_index('x', 'd')) AS bytes;
COMMIT;

-- Equal for equal values of one domain and length, and for nothing else.
SELECT ward.blind_index('a@b.c', 'email') = ward.blind_index('a@b.c', 'email') AS same,
       ward.blind_index('a@b.c', 'email') = ward.blind_index('A@b.c', 'email') AS case_differs,
       ward.blind_index('a@b.c', 'email') = ward.blind_index('a@b.c', 'login') AS domain_differs,
       ward.blind_index('a@b.c', 'email', 64) = substr(ward.blind_index('a@b.c', 'email'), 1, 8) AS bits_differ;
SELECT ward.blind_index(ARRAY['ab', 'c'], 'd') = ward.blind_index(ARRAY['a', 'bc'], 'd') AS shifted,
       ward.blind_index(ARRAY['ab', 'c'], 'd') = ward.blind_index(ARRAY['ab', 'c', ''], 'd') AS longer,
       ward.blind_index(ARRAY['ab'], 'd') = ward.blind_index('ab', 'd') AS single;
SELECT bits, length(ward.blind_index('x', 'd', bits)) AS bytes,
       get_byte(ward.blind_index('x', 'd', bits), (bits - 1) / 8) & ((1 << (7 - (bits - 1) % 8)) - 1) AS surplus
    FROM unnest('{8,9,15,16,17,128,255,256}'::int[]) bits;
SELECT try(format('SELECT ward.blind_index(%L, %L, %s)', 'x', 'd', bits)) FROM unnest('{-1,0,7,257,65544,2147483647}'::int[]) bits;
SELECT ward.blind_index(NULL::text, 'd') IS NULL AS n1, ward.blind_index(NULL::text[], 'd') IS NULL AS n2,
       ward.blind_index(ARRAY['a', NULL], 'd') IS NULL AS n3;
SELECT try($$SELECT ward.blind_index('x', NULL)$$);
SELECT try($$SELECT ward.blind_index('x', 'd', NULL)$$);
SELECT length(ward.blind_index('', '')) AS empty, length(ward.blind_index(repeat('x', 10000000), 'd')) AS huge,
       length(ward.blind_index('{}'::text[], 'd')) AS none;
-- Normalising is said where it is done.
SELECT ward.blind_index(lower(normalize(E'JOSE\u0301@Example.org', NFKC) COLLATE "C"), 'email') =
       ward.blind_index(lower(normalize(E'JOS\u00c9@example.ORG', NFKC) COLLATE "C"), 'email') AS found;
-- Spread evenly: 8 bits of 10,000 values.
SELECT count(*) AS tags, max(n) < 100 AS even FROM (SELECT count(*) AS n FROM generate_series(1, 10000) i GROUP BY ward.blind_index(i::text, 'd', 8)) t;

-- An index on the column is used.
CREATE TABLE person (id int PRIMARY KEY, email bytea, email_index bytea);
INSERT INTO person SELECT i, ward.encrypt('p' || i || '@example.org'), ward.blind_index('p' || i || '@example.org', 'email') FROM generate_series(1, 2000) i;
CREATE INDEX person_email ON person (email_index);
ANALYZE person;
EXPLAIN (COSTS OFF) SELECT id FROM person WHERE email_index = ward.blind_index('p77@example.org', 'email');
SELECT id, ward.decrypt(email) FROM person WHERE email_index = ward.blind_index('p77@example.org', 'email');
PREPARE find(text) AS SELECT id FROM person WHERE email_index = ward.blind_index($1, 'email');
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE find('p78@example.org');
EXECUTE find('p78@example.org');
RESET plan_cache_mode;
-- Not immutable: a tag must not be kept in a plan or made by an index.
SELECT try('CREATE INDEX ON person (ward.blind_index(id::text, ''d''))');
SELECT proname, proargtypes::regtype[], provolatile, proparallel, proisstrict FROM pg_proc
    WHERE pronamespace = 'ward'::regnamespace AND proname IN ('blind_index', 'reencrypt') ORDER BY 1, 2;

-- Usage search of any key is needed, and is enough.
SET ROLE ward_index_searcher;
SELECT try($$SELECT ward.blind_index('x', 'd')$$);
SET ROLE ward_index_other;
SELECT try($$SELECT ward.blind_index('x', 'd')$$);
RESET ROLE;
SELECT ward.grant_key('main', 'ward_index_searcher', '{search}');
SELECT ward.blind_index('x', 'd') AS mine \gset
SET ROLE ward_index_searcher;
SELECT ward.blind_index('x', 'd') = :'mine' AS same;
RESET ROLE;
SELECT ward.revoke_key('main', 'ward_index_searcher', '{search}');
SET ROLE ward_index_searcher;
SELECT try($$SELECT ward.blind_index('x', 'd')$$);
RESET ROLE;

-- Moving values to the active version.
CREATE TABLE old AS SELECT ward.encrypt('text', aad => 'row') AS t, ward.encrypt('\x00ff'::bytea) AS b, ward.encrypt('{"n": 1.0}'::jsonb) AS j;
SELECT ward.reencrypt(t, 'row') = t AND ward.reencrypt(b) = b AND ward.reencrypt(j) = j AS unchanged FROM old;
SELECT ward.rotate_encryption_key('main');
CREATE TABLE new AS SELECT ward.reencrypt(t, 'row') AS t, ward.reencrypt(b) AS b, ward.reencrypt(j) AS j FROM old;
SELECT ward.decrypt(t, 'row'), ward.decrypt_bytea(b), ward.decrypt_jsonb(j) FROM new;
SELECT k.version, count(*) FROM new, unnest(ARRAY[t, b, j]) e JOIN ward.encryption_keys k ON k.key_id = encode(substr(e, 5, 8), 'hex') GROUP BY 1;
SELECT ward.reencrypt(t, 'row') = t AS unchanged FROM new;
SELECT ward.reencrypt(NULL) IS NULL AS n;
SELECT try($$SELECT ward.reencrypt(t) FROM old$$);
-- Also what is active already is authenticated.
SELECT try($$SELECT ward.reencrypt(t) FROM new$$);
SELECT try($$SELECT ward.reencrypt(set_byte(t, 40, get_byte(t, 40) # 1), 'row') FROM new$$);
SELECT try($$SELECT ward.reencrypt('')$$), try($$SELECT ward.reencrypt('plain text')$$);
SELECT try($$SELECT ward.reencrypt(substr(t, 1, 51), 'row') FROM old$$);
SELECT try($$SELECT ward.reencrypt(ward.encrypt_with_password('x', 'p', 100000))$$);
GRANT SELECT ON old, new TO ward_index_searcher;
SELECT ward.grant_key('main', 'ward_index_searcher', '{decrypt}');
SET ROLE ward_index_searcher;
SELECT try($$SELECT ward.reencrypt(t, 'row') FROM old$$), try($$SELECT ward.reencrypt(t, 'row') FROM new$$);
RESET ROLE;
SELECT ward.grant_key('main', 'ward_index_searcher', '{encrypt}'), ward.revoke_key('main', 'ward_index_searcher', '{decrypt}');
SET ROLE ward_index_searcher;
SELECT try($$SELECT ward.reencrypt(t, 'row') FROM old$$);
RESET ROLE;
SELECT ward.disable_encryption_key('main');
SELECT try($$SELECT ward.reencrypt(t, 'row') FROM old$$);
\c :origin
SET client_min_messages = warning;
DROP DATABASE ward_blind_index WITH (FORCE);
DROP ROLE ward_index_searcher, ward_index_other;
