-- How values of every type stand in the trail, that session settings make no difference to it, and
-- values that are large, hostile or many.
\set VERBOSITY default
\set SHOW_CONTEXT never
SELECT current_database() AS origin \gset
SET client_min_messages = warning;
DROP DATABASE IF EXISTS ward_audit_types;
CREATE DATABASE ward_audit_types ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
\c ward_audit_types
SET client_min_messages = warning;
SET client_encoding = 'UTF8';
CREATE EXTENSION pg_ward;
RESET client_min_messages;
-- The trail in the order of the log: sealed entries come first, the rest by transaction.
CREATE VIEW trail AS SELECT row_number() OVER () AS n, * FROM ward.audit_trail WHERE operation <> 'EVENT';

-- One column of each type.
CREATE TYPE mood AS ENUM ('glad', 'sad "and" tired');
CREATE TYPE pair AS (a int, b text, c timestamptz, d float8);
CREATE DOMAIN positive AS int CHECK (value > 0);
CREATE DOMAIN moment AS timestamptz;
CREATE DOMAIN moments AS moment[];
CREATE TYPE floatrange AS RANGE (subtype = float8);
CREATE TABLE kinds (
    id int PRIMARY KEY,
    small smallint, big bigint, num numeric, num_scaled numeric(12,4), num_nan numeric, num_inf numeric, num_ninf numeric,
    f4 real, f8 double precision, f8_nan double precision, f8_inf double precision, f8_far double precision,
    cash money, yes boolean, no boolean,
    txt text, vc varchar(20), bp char(6), nm name, ch "char", raw bytea, u uuid,
    d date, d_inf date, d_bc date, tm time, tmtz timetz, ts timestamp, ts_inf timestamp, tstz timestamptz, tstz_ninf timestamptz, tstz_bc timestamptz,
    iv interval, iv_neg interval, iv_zero interval,
    js json, jsb jsonb, js_text json, jsb_num jsonb, jp jsonpath,
    ints int[], texts text[], nested int[], shifted int[], floats real[], raws bytea[], times timestamptz[], ivs interval[], moods mood[], pairs pair[],
    r int4range, r_empty int8range, r_num numrange, r_date daterange, r_ts tsrange, r_tstz tstzrange, r_float floatrange,
    mr int4multirange, mr_tstz tstzmultirange,
    en mood, dom positive, dom_ts moment, dom_arr moments, comp pair,
    ip inet, net cidr, mac macaddr, mac8 macaddr8, bits bit(5), vbits varbit,
    tsv tsvector, tsq tsquery,
    pt point, ln line, seg lseg, bx box, pth path, pol polygon, cir circle,
    o oid, reg regclass, regt regtype, regp regprocedure, lsn pg_lsn, xd xid8, snap pg_snapshot, td tid
);
SELECT ward.enable_audit('kinds');
CREATE FUNCTION kind(id int) RETURNS void LANGUAGE sql AS $$
INSERT INTO kinds VALUES (id,
    '-32768', '-9223372036854775808', '12345678901234567890.123456789012345678900', '1.5', 'NaN', 'Infinity', '-Infinity',
    '0.1', '0.30000000000000004', 'NaN', '-Infinity', '-1.5e-9',
    '-1234.50', true, false,
    'text', 'varchar', 'pad', 'a name', 'c', '\x00ff5c27', 'A0000000-0000-4000-8000-00000000000a',
    '2026-02-03', 'infinity', '0044-03-15 BC', '12:34:56.789', '12:34:56.7+05:30', '2026-02-03 04:05:06.789', '-infinity', '2026-07-03 04:05:06.789+00', '-infinity', '0044-03-15 00:00:00+00 BC',
    '1 year 2 mons 3 days 04:05:06.7', '-1 mons +2 days -00:00:01.5', '0',
    '{"b" : [1, 2.50, null], "a":"x"}', '{"b": [1, 2.50, null], "a": "x"}', '"quo\"ted"', '1.50', '$.a[*] ? (@ > 1)',
    '{1,NULL,-3}', '{"",NULL,"NULL","a,b","{q\"}","\\"}', '{{1,2},{3,4}}', '[-1:1]={1,2,3}', '{0.1,NaN,-Infinity}', ARRAY['\x00ff'::bytea, '\x5c'], ARRAY['2026-07-03 04:05:06+00'::timestamptz, 'infinity'], '{1 day 01:00:00,-1 year}', '{glad,"sad \"and\" tired"}', ARRAY[ROW(1, 'a,"b', '2026-07-03 04:05:06+00', 0.1)::pair],
    '[1,5)', 'empty', '(,2.5]', '[2026-01-01,2026-02-01)', '[2026-01-01 00:00:00,)', '[2026-01-01 00:00:00+00,2026-07-01 00:00:00+00)', '[0.1,0.30000000000000004)',
    '{[1,3),[5,7)}', '{[2026-01-01 00:00:00+00,2026-07-01 00:00:00+00)}',
    'sad "and" tired', '7', '2026-07-03 04:05:06+00', ARRAY['2026-07-03 04:05:06+00'::timestamptz], ROW(NULL, '', '2026-07-03 04:05:06+00', 0.1),
    '192.0.2.1/24', '2001:db8::/32', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', B'10101', B'101',
    'fat:2A cat:3', 'fat & (rat | !cat)',
    '(0.1,-2)', '{1,2,3}', '[(0,0),(0.1,1)]', '(1,1),(0,0)', '[(0,0),(1,1)]', '((0,0),(1,1),(1,0))', '<(0.1,2),3>',
    4294967295, 'pg_catalog.pg_class', 'timestamptz', 'pg_catalog.length(text)', '16/B374D848', '12345678901', '10:20:10,14,15', '(42,7)')
$$;
SELECT kind(1);
SELECT key, jsonb_typeof(new_values->key) AS type, value
FROM trail, jsonb_each_text(new_values) WHERE table_name = 'kinds' AND record_id = '1' ORDER BY key;

-- Other settings, the same entries; the settings are as they were afterwards.
SET timezone = 'Asia/Tokyo'; SET datestyle = 'German'; SET intervalstyle = 'sql_standard';
SET extra_float_digits = -10; SET bytea_output = 'escape'; SET lc_monetary = 'C'; SET xmlbinary = 'hex';
SET search_path = pg_catalog, public; SET array_nulls = on; SET client_encoding = 'UTF8';
SELECT kind(2);
SELECT tstz, iv, f8, raw FROM kinds WHERE id = 2;
SHOW timezone;
SET timezone = '-03:30'; SET datestyle = 'SQL, DMY'; SET intervalstyle = 'postgres_verbose'; SET extra_float_digits = 3;
SELECT kind(3);
SET timezone = 'America/New_York'; SET datestyle = 'Postgres, MDY'; SET intervalstyle = 'iso_8601'; SET extra_float_digits = 0; SET search_path = public;
SELECT kind(4);
UPDATE kinds SET yes = false WHERE id = 4;
DELETE FROM kinds WHERE id = 4;
SELECT record_id, operation, coalesce(new_values, old_values) - '{id,yes}'::text[] = first - '{id,yes}'::text[] AS same
FROM trail, (SELECT new_values AS first FROM trail WHERE table_name = 'kinds' AND record_id = '1') f WHERE table_name = 'kinds' ORDER BY n;
-- Reading does not depend on them either.
SELECT md5(string_agg(new_values::text, ' ' ORDER BY n)) AS strange FROM trail WHERE table_name = 'kinds' \gset
RESET ALL;
SELECT md5(string_agg(new_values::text, ' ' ORDER BY n)) = :'strange' AS same FROM trail WHERE table_name = 'kinds';

-- A row of NULLs, and the full row from it and back.
INSERT INTO kinds (id) VALUES (5);
SELECT count(*) AS columns, count(value) AS not_null, jsonb_object_agg(key, value) FILTER (WHERE value IS NOT NULL) AS values
FROM trail, jsonb_each_text(new_values) WHERE table_name = 'kinds' AND record_id = '5';
UPDATE kinds k SET (small, big, num, txt, raw, d, tstz, iv, js, ints, r, comp, pt) = (SELECT small, big, num, txt, raw, d, tstz, iv, js, ints, r, comp, pt FROM kinds WHERE id = 1) WHERE id = 5;
SELECT old_values, changed_fields FROM trail WHERE table_name = 'kinds' AND operation = 'UPDATE' AND record_id = '5';
-- What counts as changed is the stored value, also where = says equal.
CREATE TABLE equal (id int PRIMARY KEY, num numeric, f float8, j json, a text COLLATE "C", bp char(3), iv interval, c cidr);
SELECT ward.enable_audit('equal');
INSERT INTO equal VALUES (1, 1.0, 'NaN', '{"a":1}', 'x', 'a', '30 days', '10.0.0.0/8');
UPDATE equal SET num = 1.00, f = 'NaN', j = '{"a": 1}', a = 'x', bp = 'a  ', iv = '1 mon', c = '10.0.0.0/8';
SELECT old_values, new_values, changed_fields FROM trail WHERE table_name = 'equal' AND operation = 'UPDATE';

-- Hostile text, as value, as key, in arrays and JSON.
CREATE TABLE hostile (id text PRIMARY KEY, j jsonb, a text[]);
SELECT ward.enable_audit('hostile');
INSERT INTO hostile SELECT v, jsonb_build_object(v, v), ARRAY[v, v] FROM unnest(ARRAY[
    '', ' ', 'NULL', 'null', '''', '''; DROP TABLE hostile; --', '"', '\', '\\', E'\\''\\"', E'\n', E'a\r\nb\tc', E'\x01\x1f\x7f',
    '{"a": 1}', '{"', '[]', '{}', '{NULL}', '\x00', '\u0000', '\ud800', '%s %d %n', '$1', ':x', 'sha256:00', '[redacted]',
    U&'\00e9', U&'e\0301', U&'\FFFF', U&'\FEFFbom', U&'\202Eevil', U&'\+01F512', U&'\+10FFFF', repeat('"', 300)]) v;
SELECT count(*) AS entries,
       count(*) FILTER (WHERE new_values->>'id' = h.id) AS texts, count(*) FILTER (WHERE t.record_id = h.id) AS keys,
       count(*) FILTER (WHERE new_values->'j' = h.j) AS documents, count(*) FILTER (WHERE (new_values->>'a')::text[] = h.a) AS arrays
FROM trail t JOIN hostile h ON h.id = t.record_id WHERE t.table_name = 'hostile';
DELETE FROM hostile WHERE id LIKE '%DROP%';
SELECT operation, record_id, old_values FROM trail WHERE table_name = 'hostile' AND operation = 'DELETE';
CREATE TABLE formats (id int PRIMARY KEY, j json);
SELECT ward.enable_audit('formats');
INSERT INTO formats VALUES (1, ' { "k" : 1, "k" : 2 } '), (2, '"x"'), (3, 'true'), (4, '[1e3, -0.10]'), (5, '"\u00e9\n\ud83d\ude00"');
SELECT record_id, new_values FROM trail WHERE table_name = 'formats' ORDER BY n;

-- Values that jsonb refuses, or would change, are shown as strings: none makes the trail unreadable.
CREATE TABLE refused (id int PRIMARY KEY, j json, f float8, n numeric, b jsonb);
SELECT ward.enable_audit('refused');
INSERT INTO refused (id, j) VALUES (1, '{"a":"\u0000"}'), (2, '"\ud800"'), (3, '"\udc00\ud800"'), (4, '1e1000000'), (5, '[1e200000]'),
    (6, '{"\u0000":1}'), (7, '"\ud83d\ude00 \\u0000 \u00e9"'), (8, '[1e1000, -1E-30, true, false]'), (9, '-1e-1001'), (10, 'null'), (11, '"\ud800\u0041"');
INSERT INTO refused (id, j) VALUES (20, (repeat('[', 5000) || repeat(']', 5000))::json), (21, (repeat('[', 128) || repeat(']', 128))::json),
    (22, ('0.' || repeat('1', 20000))::json), (23, repeat('9', 200000)::json);
INSERT INTO refused (id, f, n, b) VALUES (30, '-0', '-0', '-0'), (31, '1e300', 'NaN', '1e300'), (32, '-1e-300', '-0.0', '[1e1000]');
INSERT INTO refused (id, n) VALUES (33, ('1' || repeat('0', 131071))::numeric), (34, ('0.' || repeat('0', 16382) || '1')::numeric);
SELECT key, jsonb_typeof(value), length(value::text) AS length, left(value::text, 60) AS start
FROM trail, jsonb_each(new_values) WHERE table_name = 'refused' AND key <> 'id' AND value <> 'null' ORDER BY record_id::int, key;

-- A hidden column that was renamed or dropped is not recorded in clear: the change is refused.
CREATE TABLE hidden (id int PRIMARY KEY, secret text, noise text);
SELECT ward.enable_audit('hidden', exclude => '{noise}', redact => '{secret}');
INSERT INTO hidden VALUES (1, 'secret-canary', 'noise-canary');
-- Renamed and dropped behind the extension's back.
ALTER EVENT TRIGGER ward_audit_ddl DISABLE;
ALTER EVENT TRIGGER ward_audit_drop DISABLE;
ALTER TABLE hidden RENAME secret TO mystery;
INSERT INTO hidden VALUES (2, 'secret-canary', 'noise-canary');
SELECT ward.enable_audit('hidden', exclude => '{noise}', redact => '{mystery}');
INSERT INTO hidden VALUES (2, 'secret-canary', 'noise-canary');
ALTER TABLE hidden DROP noise;
UPDATE hidden SET mystery = 'secret-canary';
ALTER EVENT TRIGGER ward_audit_ddl ENABLE ALWAYS;
ALTER EVENT TRIGGER ward_audit_drop ENABLE ALWAYS;
SELECT ward.enable_audit('hidden', redact => '{mystery}');
UPDATE hidden SET mystery = 'secret-canary-2' WHERE id = 2;
SELECT operation, old_values, new_values FROM trail WHERE table_name = 'hidden';

-- Within arrays, composites and ranges, names and money do not depend on settings either.
CREATE SCHEMA other;
CREATE TYPE refs AS (c regclass, m money, t regtype[]);
CREATE DOMAIN prices AS money[];
CREATE TYPE moneyrange AS RANGE (subtype = money);
CREATE TABLE contained (id int PRIMARY KEY, c regclass[], p regprocedure[], m prices, r refs, rs refs[], mr moneyrange, mm moneymultirange, k regclass);
SELECT ward.enable_audit('contained');
CREATE FUNCTION contain(id int) RETURNS void LANGUAGE sql AS $$
INSERT INTO public.contained VALUES (id, ARRAY['public.hidden'::regclass, 'pg_catalog.pg_class'], '{public.kind(int)}', ARRAY[(-1234.5)::numeric::money],
    ROW('public.hidden', 7::money, '{public.refs,int}'), ARRAY[ROW('public.hidden', 7::money, NULL)::public.refs],
    public.moneyrange(1::money, 2::money), public.moneymultirange(public.moneyrange(1::money, 2::money)), 'public.hidden');
$$;
SELECT contain(1);
SET search_path = other;
SELECT public.contain(2);
SHOW search_path;
RESET search_path;
SELECT record_id, new_values - '{id,k}'::text[] AS shown, jsonb_typeof(new_values->'k') AS k FROM trail WHERE table_name = 'contained' ORDER BY n;
-- A type that comes to contain one.
ALTER TYPE pair ADD ATTRIBUTE e regclass CASCADE;
CREATE TABLE later (id int PRIMARY KEY, p pair);
SELECT ward.enable_audit('later');
INSERT INTO later VALUES (1, ROW(1, '', NULL, 1, 'hidden'));
ALTER TYPE refs ADD ATTRIBUTE z int;
INSERT INTO later VALUES (2, ROW(1, '', NULL, 1, 'hidden'));
SELECT record_id, new_values->>'p' AS p FROM trail WHERE table_name = 'later' ORDER BY n;

-- Three hundred columns, a few of them dropped, some hidden.
DO $$
BEGIN
    EXECUTE (SELECT format('CREATE TABLE wide (id int PRIMARY KEY, %s)', string_agg(format('c%s %s DEFAULT %s', g, CASE g % 3 WHEN 0 THEN 'text' ELSE 'int' END, g), ', ')) FROM generate_series(1, 300) g);
    EXECUTE (SELECT format('ALTER TABLE wide %s', string_agg(format('DROP COLUMN c%s', g), ', ')) FROM generate_series(10, 300, 50) g);
END $$;
SELECT ward.enable_audit('wide', exclude => '{c1,c300}', redact => '{c2}');
INSERT INTO wide VALUES (1);
UPDATE wide SET c3 = 'changed', c299 = NULL, c300 = 'unseen';
SELECT operation, old_values, changed_fields, n, sum, c3, c299 FROM (
    SELECT t.n AS ord, operation, old_values, changed_fields, (SELECT count(*) FROM jsonb_object_keys(new_values)) AS n,
           (SELECT sum(value::int) FROM jsonb_each_text(new_values) WHERE value ~ '^[0-9]+$') AS sum, new_values->>'c3' AS c3, new_values->>'c299' AS c299
    FROM trail t WHERE table_name = 'wide') w ORDER BY ord;

-- Large values: compressed, stored apart, neither; larger than a chunk of the journal, and much larger.
CREATE TABLE large (id int PRIMARY KEY, packed text, apart text, raw bytea, other int);
ALTER TABLE large ALTER apart SET STORAGE EXTERNAL;
SELECT ward.enable_audit('large');
CREATE FUNCTION noise(bytes int) RETURNS text LANGUAGE sql AS
'SELECT left(string_agg(md5(g::text), ''''), bytes) FROM generate_series(1, bytes / 32 + 1) g';
INSERT INTO large SELECT g, repeat('packed ', size / 7), noise(size), convert_to(noise(size), 'UTF8'), 0
FROM unnest(ARRAY[100, 2000, 3980, 7900, 8000, 8192, 16000, 1048576]) WITH ORDINALITY s (size, g);
UPDATE large SET other = 1;
UPDATE large SET packed = packed || '!', apart = apart || '!';
-- In a subtransaction that is undone, and one that is not.
BEGIN;
SAVEPOINT a;
INSERT INTO large (id, apart) VALUES (21, noise(1048576));
ROLLBACK TO a;
INSERT INTO large (id, apart) VALUES (22, noise(1048577));
RELEASE a;
COMMIT;
SELECT record_id, operation, changed_fields, length(new_values->>'packed') AS packed, length(new_values->>'apart') AS apart,
       new_values->>'apart' = l.apart AS same, new_values->>'apart' = left(l.apart, -1) AS before,
       md5(new_values->>'raw') = md5(raw::text) AS raw, old_values->>'apart' = left(l.apart, -1) AS old
FROM trail t LEFT JOIN large l ON l.id::text = t.record_id WHERE table_name = 'large' ORDER BY record_id::int, n;
INSERT INTO large VALUES (30, '', repeat(md5('twenty megabytes'), 20 * 1024 * 32), NULL, 0);
SELECT length(apart) AS bytes, md5(apart) AS huge FROM large WHERE id = 30 \gset
DELETE FROM large WHERE id = 30;
SELECT :bytes AS bytes, operation, md5(coalesce(new_values, old_values)->>'apart') = :'huge' AS same
FROM trail WHERE table_name = 'large' AND record_id = '30' ORDER BY n;

-- All of it seals and verifies, and reads the same when sealed.
SELECT ward.seal_audit_trail() > 0 AS sealed;
SELECT count(*) FILTER (WHERE entry_id IS NULL OR block_no IS NULL) AS unsealed,
       count(*) FILTER (WHERE record_id = '30' AND md5(coalesce(new_values, old_values)->>'apart') = :'huge') AS large,
       md5(string_agg(new_values::text, ' ' ORDER BY n) FILTER (WHERE table_name = 'kinds' AND record_id <> '5')) = :'strange' AS same
FROM trail;
SELECT is_valid, first_bad_entry, reason FROM ward.verify_audit_trail_integrity();
SELECT * FROM ward.audit_violations();

\c :origin
SET client_min_messages = warning;
DROP DATABASE ward_audit_types WITH (FORCE);

-- More elements than a jsonb array can hold, and longer than a jsonb string can be.
DROP DATABASE IF EXISTS ward_audit_huge;
CREATE DATABASE ward_audit_huge ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
\c ward_audit_huge
SET client_min_messages = warning;
CREATE EXTENSION pg_ward;
RESET client_min_messages;
CREATE TABLE huge (id int PRIMARY KEY, j json, raw bytea);
SELECT ward.enable_audit('huge');
INSERT INTO huge VALUES (1, ('[' || repeat('1,', 7000000) || '1]')::json, NULL), (2, NULL, decode(repeat('ab', 140000000), 'hex'));
SELECT record_id, key, jsonb_typeof(value) AS type, length(value::text), left(value::text, 20) AS start
FROM ward.audit_trail, jsonb_each(new_values) WHERE operation <> 'EVENT' AND value <> 'null' ORDER BY record_id, key;
\c :origin
SET client_min_messages = warning;
DROP DATABASE ward_audit_huge WITH (FORCE);

-- A database that is not UTF-8.
DROP DATABASE IF EXISTS ward_audit_latin;
CREATE DATABASE ward_audit_latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
\c ward_audit_latin
SET client_min_messages = warning;
SET client_encoding = 'UTF8';
CREATE EXTENSION pg_ward;
RESET client_min_messages;
CREATE VIEW trail AS SELECT row_number() OVER () AS n, * FROM ward.audit_trail WHERE operation <> 'EVENT';
CREATE TABLE latin (id text PRIMARY KEY, "é" text, j json);
SELECT ward.enable_audit('latin');
ALTER TABLE latin RENAME TO "über";
BEGIN;
SELECT ward.set_tenant_context('café');
SELECT ward.set_security_context('00000000-0000-4000-8000-000000000001', 'séance', user_agent => 'é');
INSERT INTO "über" VALUES ('clé', 'été', '{"é": "\u0041"}'), ('2', NULL, '"\u20ac"');
SELECT ward.get_tenant_context(), length(ward.get_tenant_context());
COMMIT;
SELECT tenant_id, session_id, user_agent, table_name, record_id, new_values FROM trail ORDER BY n;
CREATE TABLE "té" ("locataireé" text, v int);
CREATE INDEX ON "té" ("locataireé");
SELECT ward.enable_tenant_isolation('"té"', 'locataireé');
SELECT polname, pg_get_expr(polqual, polrelid) FROM pg_policy ORDER BY 1;
SELECT ward.disable_isolation('"té"');
SELECT ward.seal_audit_trail() > 0 AS sealed;
SELECT tenant_id, table_name, record_id, new_values FROM trail ORDER BY n;
SELECT is_valid, reason FROM ward.verify_audit_trail_integrity();

\c :origin
SET client_min_messages = warning;
DROP DATABASE ward_audit_latin WITH (FORCE);
