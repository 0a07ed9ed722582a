-- The key registry, continued: ages, what names a key, usage, exports, and odd arguments.
SELECT current_database() AS origin \gset
\set VERBOSITY terse
SET client_min_messages = warning;
DROP DATABASE IF EXISTS ward_registry;
CREATE DATABASE ward_registry ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
\c ward_registry
SET client_min_messages = warning;
SET client_encoding = 'UTF8';
CREATE EXTENSION pg_ward;

-- Runs a statement and says how it ended: 'ok', its result, or SQLSTATE and message.
CREATE FUNCTION try(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE result text;
BEGIN
    EXECUTE statement INTO result;
    RETURN coalesce(result, 'ok');
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
DROP ROLE IF EXISTS ward_registry_bob;
CREATE ROLE ward_registry_bob;

-- A maximum age is a reminder, shown with the day it is due.
SELECT ward.generate_encryption_key('k', max_age => '90 days') IS NOT NULL AS made;
SELECT name, max_age, active_since = created_at AS since, rotation_due - active_since AS due FROM ward.encryption_keys;
SELECT ward.set_encryption_key_max_age('k', '1 year 2 mons 3 days 04:05:06');
SELECT max_age, rotation_due > now() AS later FROM ward.encryption_keys;
SELECT ward.rotate_encryption_key('k');
SELECT version, active_since IS NOT NULL AS active, rotation_due IS NOT NULL AS due FROM ward.encryption_keys ORDER BY version;
SELECT ward.disable_encryption_key('k');
SELECT version, active_since IS NOT NULL AS active, rotation_due IS NOT NULL AS due FROM ward.encryption_keys ORDER BY version;
SELECT ward.enable_encryption_key('k');
SELECT ward.set_encryption_key_max_age('k', NULL);
SELECT DISTINCT max_age IS NULL AS none, rotation_due IS NULL AS never FROM ward.encryption_keys;
SELECT try($$SELECT ward.set_encryption_key_max_age('k', '0')$$);
SELECT try($$SELECT ward.set_encryption_key_max_age('k', '-1 day')$$);
SELECT try($$SELECT ward.set_encryption_key_max_age('k', '1 year -1 day')$$);
SELECT try($$SELECT ward.set_encryption_key_max_age('k', '101 years')$$);
SELECT try($$SELECT ward.set_encryption_key_max_age('k', '178000000 years')$$);
SELECT try($$SELECT ward.set_encryption_key_max_age('k', '100 years')$$);
SELECT try($$SELECT ward.set_encryption_key_max_age('none', '1 day')$$);
SELECT try($$SELECT ward.set_encryption_key_max_age(NULL, '1 day')$$);
SELECT try($$SELECT ward.generate_encryption_key('lookup', 'search', max_age => '1 day')$$);
SELECT ward.generate_encryption_key('lookup', 'search') IS NOT NULL AS made;
SELECT try($$SELECT ward.set_encryption_key_max_age('lookup', '1 day')$$);
SELECT try($$SELECT ward.rotate_encryption_key('lookup')$$);

-- Names that are none: nothing of them is repeated.
SELECT try(format('SELECT ward.rotate_encryption_key(%L)', repeat('secret', 1000000)));
SELECT try(format('SELECT ward.set_encryption_key_max_age(%L, NULL)', E'secret\n'));
SELECT try(format('SELECT ward.destroy_encryption_key(%L, %1$L)', $$k'; DROP TABLE ward.encryption_key; --$$));
SELECT try($$SELECT ward.destroy_encryption_key('', '')$$);
SELECT try(format('SELECT ward.export_encryption_keys(ARRAY[%L])', E'secret\u202e'));

-- Usage: of each version, what failed and what was rolled back included.
BEGIN;
SELECT length(ward.encrypt('x', 'k'));
ROLLBACK;
SELECT count(ward.decrypt(ward.encrypt(i::text, 'k'))) FROM generate_series(1, 10) i;
SELECT name, version, encryptions, decryptions, last_used_at > now() - interval '1 hour' AS recently FROM ward.key_usage ORDER BY version;
SELECT ward.flush_key_usage();
SELECT name, version, encryptions, decryptions FROM ward.key_usage ORDER BY version;
SELECT encryptions, decryptions FROM ward.encryption_key_usage;

-- Grants, with whether they count.
SELECT ward.grant_key('k', 'ward_registry_bob', '{decrypt}');
SELECT name, role_name = current_user AS own, usage, counts FROM ward.key_grants ORDER BY role_name = current_user;
ALTER ROLE ward_registry_bob RENAME TO ward_registry_rob;
SELECT role_name, counts FROM ward.key_grants WHERE role_name LIKE 'ward%';
ALTER ROLE ward_registry_rob RENAME TO ward_registry_bob;

-- Nothing to rewrap; what was destroyed is listed.
SELECT ward.rewrap_keys();
SELECT * FROM ward.shredding_status;
SELECT ward.generate_encryption_key('gone') IS NOT NULL AS made;
SELECT ward.destroy_encryption_key('gone', 'gone');
SELECT name, version, destroyed_at > now() - interval '1 hour' AS recently, master_key_ids = still_configured AS open,
       finished, regexp_replace(what_to_do, '[0-9a-f]{16}', 'ID') AS what_to_do
FROM ward.shredding_status;
SELECT s.key_id = k.key_id AS same, s.destroyed_at = k.destroyed_at AS same FROM ward.shredding_status() s
    JOIN ward.encryption_keys k USING (name, version);
-- A row that somebody altered is not called finished.
BEGIN;
UPDATE ward.encryption_key_version SET masters = '\x0102030405060708' WHERE state = 'destroyed';
SELECT name, finished, what_to_do FROM ward.shredding_status;
ROLLBACK;

-- Destroying is refused while a column names the key.
CREATE TABLE plain (id int, note bytea DEFAULT ward.encrypt('none', 'k'), length int GENERATED ALWAYS AS (id) STORED);
SELECT try($$SELECT ward.destroy_encryption_key('k', 'k')$$);
SELECT try($$SELECT ward.destroy_encryption_key('k', 'k', NULL)$$);
SELECT try($$SELECT ward.destroy_encryption_key('k', 'other', true)$$);
SELECT try($$SELECT ward.destroy_encryption_key('lookup', 'lookup', true)$$);
ALTER TABLE plain ALTER note DROP DEFAULT;
SELECT try($$SELECT ward.destroy_encryption_key('k', 'k')$$);

-- Exports need a backup master key.
SELECT try($$SELECT ward.export_encryption_keys()$$);
SELECT try($$SELECT ward.import_encryption_keys('{}')$$);
SELECT try($$SELECT ward.import_encryption_keys(NULL)$$);
SELECT try($$SET ward.backup_master_key_file = '/tmp/other'$$);

-- Nothing of this is for everybody.
SET ROLE ward_registry_bob;
SELECT statement, left(public.try(statement), 23) FROM unnest(ARRAY[
    'SELECT ward.set_encryption_key_max_age(''k'', NULL)', 'SELECT ward.rewrap_keys()',
    'SELECT ward.shredding_status()', 'SELECT ward.flush_key_usage()', 'SELECT ward.key_usage_counts()',
    'SELECT ward.export_encryption_keys()', 'SELECT ward.import_encryption_keys(NULL)',
    'SELECT FROM ward.key_usage', 'SELECT FROM ward.key_grants', 'SELECT FROM ward.shredding_status',
    'SELECT FROM ward.encryption_key_usage']) AS statement;
RESET ROLE;

\c :origin
SET client_min_messages = warning;
DROP DATABASE ward_registry WITH (FORCE);
DROP ROLE ward_registry_bob;
