-- Fields of documents: what comes back, and what is refused.
SELECT current_database() AS origin \gset
\set VERBOSITY terse
SET client_min_messages = warning;
DROP ROLE IF EXISTS ward_fields_reader, ward_fields_loader;
DROP DATABASE IF EXISTS ward_fields;
CREATE DATABASE ward_fields ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
\c ward_fields
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
SELECT ward.generate_encryption_key('main') IS NOT NULL AS made;
SELECT ward.generate_encryption_key('other') IS NOT NULL AS made;
-- The document with what is encrypted made short.
CREATE FUNCTION shown(doc jsonb) RETURNS jsonb LANGUAGE sql AS $$
    SELECT regexp_replace(doc::text, 'ward:enc:1:[A-Za-z0-9+/=]*', '***', 'g')::jsonb
$$;
CREATE FUNCTION round_trip(doc jsonb, fields text[]) RETURNS TABLE (encrypted jsonb, same boolean) LANGUAGE sql AS $$
    SELECT shown(e), ward.decrypt_fields(e, fields) = doc AND ward.decrypt_fields(e, fields)::text = doc::text
    FROM ward.encrypt_fields(doc, fields) e
$$;

-- Every kind of value, exactly as it was.
SELECT * FROM round_trip('{"n": 1.500, "big": 123456789012345678901234567890.10, "e": 1e400, "t": true, "f": false, "z": null,
    "s": "ä\"\\\n\u0001🎉", "": 1, "o": {"a": [1, {}]}, "a": [], "keep": 1}', '{n,big,e,t,f,z,s,o,a}');
-- Into objects and arrays.
SELECT * FROM round_trip('{"items": [{"card": "4111", "n": 1}, {"card": null}, {"n": 3}, {"card": {"no": [1]}}], "x": {"y": {"z": 1}}}',
    '{items.*.card,x.y.z}');
SELECT * FROM round_trip('[1, "two", [3], null]', '{*}');
SELECT * FROM round_trip('[[1, 2], [], [3]]', '{*.*}');
-- Names with dots, asterisks and backslashes.
SELECT * FROM round_trip('{"a.b": 1, "*": 2, "\\": 3, "a": {"b": 4}, "0": 5}', '{a\\.b,\\*,"\\\\",a.b,0}');
-- What is missing or null on the way is left alone.
SELECT * FROM round_trip('{"a": null, "b": {}, "c": []}', '{a.x,b.x,c.*.x,d.x.y,e}');
SELECT * FROM round_trip('{"a": 1}', '{}');
SELECT * FROM round_trip('null', '{a}');
SELECT ward.encrypt_fields(NULL, '{a}') IS NULL AS n1, ward.decrypt_fields(NULL, '{a}') IS NULL AS n2;
-- Large values, and a document 1,000 deep; on the way and inside.
SELECT same FROM round_trip(jsonb_build_object('a', repeat('0123456789', 300000), 'b', 1), '{a}');
SELECT same FROM round_trip((repeat('{"a":', 1000) || '1' || repeat('}', 1000))::jsonb, '{a}');
SELECT same FROM round_trip((repeat('[', 1000) || '1' || repeat(']', 1000))::jsonb, '{*.*.*}');
SELECT same FROM round_trip(('{"b": 1, "a": ' || repeat('[', 1000) || '1' || repeat(']', 1000) || '}')::jsonb, '{b}');
-- Other keys, additional data.
SELECT ward.decrypt_fields(ward.encrypt_fields('{"a": 1}', '{a}', 'other', 'row 1'), '{a}', 'row 1');
SELECT try($$SELECT ward.decrypt_fields(ward.encrypt_fields('{"a": 1}', '{a}', NULL, 'row 1'), '{a}', 'row 2')$$);
SELECT try($$SELECT ward.decrypt_fields(ward.encrypt_fields('{"a": 1}', '{a}', NULL, 'row 1'), '{a}')$$);
SELECT try($$SELECT ward.encrypt_fields('{"a": 1}', '{a}', 'none')$$);

-- The lists of fields.
SELECT try(format('SELECT ward.encrypt_fields(%L, %L)', '{"a": 1}', fields)) FROM (VALUES (NULL), ('{a,NULL}'), ('{""}'), ('{a..b}'), ('{a.}'),
    ('{a*}'), ('{"a\\b"}'), ('{a,a}'), ('{a,a.b}'), ('{a.b,a}'), ('{a.*,a.*.x}')) v (fields);
SELECT try(format('SELECT ward.encrypt_fields(%L, array[%L])', '{"a": 1}', 'a' || repeat('.a', 64)));
-- A document of another form is not passed through: it may hold what was to be encrypted.
SELECT doc, path, try(format('SELECT ward.encrypt_fields(%L, array[%L])', doc, path)) FROM (VALUES ('{"a": 1}', 'a.b'), ('{"a": "text"}', 'a.b'),
    ('{"a": [{"b": 1}]}', 'a.b'), ('{"a": {"b": 1}}', 'a.*'), ('{"a": 1}', '*'), ('[1]', 'a'), ('"text"', 'a'), ('7', '*'), ('false', 'a')) v (doc, path);
-- An array or an object there: both are said.
SELECT * FROM round_trip('[{"x": {"k": 1}}, {"x": [1, 2]}]', '{*.x.k,*.x.*}');

-- Fields cannot be exchanged for each other.
CREATE TABLE sealed AS SELECT ward.encrypt_fields('{"a": 1, "b": 2, "l": [{"c": 3}, {"c": 4}], "o": {"c": 5}}', '{a,b,l.*.c,o.c}') AS doc;
SELECT try(format('SELECT ward.decrypt_fields(%L, %L)', jsonb_set(doc, '{a}', doc->'b'), '{a}')) FROM sealed;
SELECT try(format('SELECT ward.decrypt_fields(%L, %L)', jsonb_set(doc, '{o,c}', doc#>'{l,0,c}'), '{o.c}')) FROM sealed;
-- Within an array they can: positions are not bound, because elements come and go.
SELECT ward.decrypt_fields(doc #- '{l,0}', '{a,b,l.*.c,o.c}') FROM sealed;
-- An envelope that is not of a field is none.
SELECT try(format('SELECT ward.decrypt_fields(%L, %L)', jsonb_build_object('a', 'ward:enc:1:' || encode(ward.encrypt('1'::jsonb), 'base64')), '{a}'));

-- What is not encrypted is not decrypted.
SELECT try(format('SELECT ward.decrypt_fields(%L, %L)', doc, '{b,a}')) FROM (VALUES ('{"a": 1}'), ('{"a": "text"}'), ('{"a": null}'), ('{"a": {}}'),
    ('{"a": "ward:enc:2:AAAA"}')) v (doc);
SELECT ward.decrypt_fields('{"b": 1}', '{a}');
-- What only looks encrypted is neither encrypted nor decrypted.
SELECT look, try(format('SELECT ward.encrypt_fields(%L, %L)', jsonb_build_object('a', look), '{a}')) AS encrypt,
    try(format('SELECT ward.decrypt_fields(%L, %L)', jsonb_build_object('a', look), '{a}')) AS decrypt
    FROM unnest('{"ward:enc:1:","ward:enc:1:?","ward:enc:1:5wE=","ward:enc:1:AAAA","ward:enc:1:5wEDAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}'::text[]) look;

-- What is encrypted already is not encrypted twice. It stays with usage import, so that a stolen
-- ciphertext cannot be planted by those who may only encrypt.
SELECT try(format('SELECT ward.encrypt_fields(%L, %L)', doc, '{a}')) FROM sealed;
SELECT ward.grant_key('main', current_user::name, '{import}');
SELECT ward.encrypt_fields(doc, '{a,b,l.*.c,o.c}') = doc AS unchanged FROM sealed;
SELECT shown(ward.encrypt_fields(doc || '{"new": 1}', '{a,new}')) FROM sealed;
SELECT try(format('SELECT ward.encrypt_fields(%L, %L)', jsonb_set(doc, '{a}', doc->'b'), '{a}')) FROM sealed;

-- Grants.
CREATE ROLE ward_fields_reader;
CREATE ROLE ward_fields_loader;
SELECT ward.grant_key('main', 'ward_fields_reader', '{decrypt}');
SELECT ward.grant_key('main', 'ward_fields_loader', '{encrypt}');
GRANT SELECT ON sealed TO ward_fields_reader, ward_fields_loader;
SET ROLE ward_fields_reader;
SELECT ward.decrypt_fields(doc, '{a}') -> 'a' AS a FROM sealed;
SELECT try($$SELECT ward.encrypt_fields('{"a": 1}', '{a}')$$);
SET ROLE ward_fields_loader;
SELECT shown(ward.encrypt_fields('{"a": 1}', '{a}'));
SELECT try($$SELECT ward.decrypt_fields(doc, '{a}') FROM sealed$$);
SELECT try($$SELECT ward.encrypt_fields(doc, '{a}') FROM sealed$$);
RESET ROLE;
SELECT ward.rotate_encryption_key('main');
SELECT ward.decrypt_fields(doc, '{a,b}') -> 'b' AS b FROM sealed;
SELECT proname, provolatile, proparallel, proisstrict FROM pg_proc WHERE pronamespace = 'ward'::regnamespace AND proname ~ 'fields' ORDER BY 1;
\c :origin
SET client_min_messages = warning;
DROP DATABASE ward_fields WITH (FORCE);
DROP ROLE ward_fields_reader, ward_fields_loader;
-- In another encoding names and values keep their text.
DROP DATABASE IF EXISTS ward_fields1;
CREATE DATABASE ward_fields1 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
\c ward_fields1
SET client_min_messages = warning;
SET client_encoding = 'UTF8';
CREATE EXTENSION pg_ward;
SELECT ward.generate_encryption_key('main') IS NOT NULL AS made;
SELECT ward.encrypt_fields('{"ä": "ß", "o": 1}', '{ä}') ->> 'ä' LIKE 'ward:enc:1:%' AS encrypted;
SELECT ward.decrypt_fields(ward.encrypt_fields('{"ä": "ß", "o": 1}', '{ä}'), '{ä}');
\c :origin
SET client_min_messages = warning;
DROP DATABASE ward_fields1 WITH (FORCE);
