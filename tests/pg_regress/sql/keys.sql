-- The key registry: every function, every refusal, and what a role without a grant gets.
SELECT current_database() AS origin \gset
\set VERBOSITY terse
SET client_min_messages = warning;
DROP DATABASE IF EXISTS ward_keys;
CREATE DATABASE ward_keys ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
\c ward_keys
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

DROP ROLE IF EXISTS ward_keys_alice, ward_keys_bob, ward_keys_team, ward_keys_crew, ward_keys_super, ward_keys_admin;
CREATE ROLE ward_keys_alice;
CREATE ROLE ward_keys_bob;
CREATE ROLE ward_keys_team;
CREATE ROLE ward_keys_super SUPERUSER;
CREATE ROLE ward_keys_admin;
GRANT EXECUTE ON FUNCTION try(text) TO PUBLIC;

-- Nothing there yet.
SELECT try($$SELECT ward.encrypt('x')$$);
SELECT try($$SELECT ward.encrypt('x', 'first')$$);
SELECT count(*) FROM ward.encryption_keys;

-- The first data_encryption key becomes the default.
SELECT ward.generate_encryption_key('first', grantee => 'ward_keys_alice') IS NOT NULL AS made;
SELECT ward.generate_encryption_key('second') IS NOT NULL AS made;
SELECT ward.generate_encryption_key('nobody', 'data_encryption', NULL) IS NOT NULL AS made;
SELECT name, purpose, is_default, version, state, length(key_id), length(master_key_id)
FROM ward.encryption_keys ORDER BY name, version;
SELECT k.name, g.role_name = CASE k.name WHEN 'first' THEN 'ward_keys_alice' ELSE current_user END AS right_role, g.usage
FROM ward.key_grant g JOIN ward.encryption_key k USING (key) ORDER BY 1;

-- Names.
SELECT try($$SELECT ward.generate_encryption_key('first')$$);
SELECT try($$SELECT ward.generate_encryption_key(NULL)$$);
SELECT try($$SELECT ward.generate_encryption_key('')$$);
SELECT try($$SELECT ward.generate_encryption_key(repeat('x', 64))$$);
SELECT try($$SELECT ward.generate_encryption_key(E'a\nERROR:  forged log line')$$);
SELECT try($$SELECT ward.generate_encryption_key('a''; DROP TABLE ward.encryption_key; --')$$);
SELECT try($$SELECT ward.generate_encryption_key(U&'a\202Eb')$$);
SELECT try($$SELECT ward.generate_encryption_key('ward/audit')$$);
SELECT try($$SELECT ward.generate_encryption_key(repeat(U&'\00e9', 63)) IS NOT NULL$$);
-- Purposes and grantees.
SELECT try($$SELECT ward.generate_encryption_key('odd', 'everything')$$);
SELECT try($$SELECT ward.generate_encryption_key('odd', NULL)$$);
SELECT try($$SELECT ward.generate_encryption_key('odd', grantee => 'ward_no_such_role')$$);
SELECT ward.generate_encryption_key('trail', 'audit') IS NOT NULL AS made;
SELECT try($$SELECT ward.generate_encryption_key('trail2', 'audit')$$);
SELECT ward.generate_encryption_key('lookup', 'search') IS NOT NULL AS made;
SELECT count(*) AS grants_on_internal_keys FROM ward.key_grant g JOIN ward.encryption_key k USING (key)
WHERE k.purpose <> 'data_encryption';

-- Keys of other purposes are not for fields and cannot be granted, switched off, or made the default.
SELECT try($$SELECT ward.encrypt('x', 'trail')$$);
SELECT try($$SELECT ward.grant_key('trail', 'ward_keys_bob')$$);
SELECT try($$SELECT ward.revoke_key('trail', 'ward_keys_bob')$$);
SELECT try($$SELECT ward.disable_encryption_key('trail')$$);
SELECT try($$SELECT ward.destroy_encryption_key('trail', 'trail')$$);
SELECT try($$SELECT ward.set_default_encryption_key('trail')$$);
SELECT try($$SELECT ward.rotate_encryption_key('trail')$$);
SELECT try($$SELECT ward.rotate_encryption_key('lookup')$$);

-- Grants. A superuser has none of itself.
CREATE TABLE vault (id int PRIMARY KEY, secret bytea);
GRANT ALL ON vault TO PUBLIC;
SET ROLE ward_keys_alice;
INSERT INTO vault VALUES (1, ward.encrypt('for alice', 'first'));
SELECT ward.decrypt(secret) FROM vault WHERE id = 1;
RESET ROLE;
SET ROLE ward_keys_super;
SELECT try($$SELECT ward.decrypt(secret) FROM vault WHERE id = 1$$);
SELECT try($$SELECT ward.encrypt('x', 'first')$$);
RESET ROLE;
SET ROLE ward_keys_bob;
SELECT try($$SELECT ward.decrypt(secret) FROM vault WHERE id = 1$$);
RESET ROLE;
SELECT ward.grant_key('first', 'ward_keys_bob', '{decrypt}');
SET ROLE ward_keys_bob;
SELECT try($$SELECT ward.decrypt(secret) FROM vault WHERE id = 1$$);
SELECT try($$SELECT ward.encrypt('x', 'first')$$);
RESET ROLE;
-- A second grant adds; revoking one usage leaves the other; all of it by default.
SELECT ward.grant_key('first', 'ward_keys_bob', '{encrypt}');
SET ROLE ward_keys_bob;
SELECT try($$SELECT ward.decrypt(ward.encrypt('both', 'first'))$$);
RESET ROLE;
SELECT ward.revoke_key('first', 'ward_keys_bob', '{decrypt}');
SET ROLE ward_keys_bob;
SELECT try($$SELECT length(ward.encrypt('x', 'first')) > 0$$);
SELECT try($$SELECT ward.decrypt(secret) FROM vault WHERE id = 1$$);
RESET ROLE;
SELECT ward.revoke_key('first', 'ward_keys_bob');
SET ROLE ward_keys_bob;
SELECT try($$SELECT ward.encrypt('x', 'first')$$);
RESET ROLE;
-- Through membership, which ends at once too; NOINHERIT does not count.
SELECT ward.grant_key('first', 'ward_keys_team');
GRANT ward_keys_team TO ward_keys_bob;
SET ROLE ward_keys_bob;
SELECT try($$SELECT ward.decrypt(secret) FROM vault WHERE id = 1$$);
RESET ROLE;
REVOKE ward_keys_team FROM ward_keys_bob;
SET ROLE ward_keys_bob;
SELECT try($$SELECT ward.decrypt(secret) FROM vault WHERE id = 1$$);
RESET ROLE;
-- A role of the same name is not the same role.
DROP ROLE ward_keys_team;
CREATE ROLE ward_keys_team;
GRANT ward_keys_team TO ward_keys_bob;
SET ROLE ward_keys_bob;
SELECT try($$SELECT ward.decrypt(secret) FROM vault WHERE id = 1$$);
RESET ROLE;
-- Nor is a role that was renamed.
SELECT ward.grant_key('first', 'ward_keys_team');
SET ROLE ward_keys_bob;
SELECT try($$SELECT ward.decrypt(secret) FROM vault WHERE id = 1$$);
RESET ROLE;
ALTER ROLE ward_keys_team RENAME TO ward_keys_crew;
SET ROLE ward_keys_bob;
SELECT try($$SELECT ward.decrypt(secret) FROM vault WHERE id = 1$$);
RESET ROLE;
-- What is left of a role that is gone can be revoked.
SELECT ward.revoke_key('first', 'ward_keys_team');
-- Refused arguments.
SELECT try($$SELECT ward.grant_key('first', 'ward_no_such_role')$$);
SELECT try($$SELECT ward.grant_key('none', 'ward_keys_bob')$$);
SELECT try($$SELECT ward.grant_key(NULL, 'ward_keys_bob')$$);
SELECT try($$SELECT ward.grant_key('first', NULL)$$);
SELECT try($$SELECT ward.grant_key('first', 'ward_keys_bob', NULL)$$);
SELECT try($$SELECT ward.grant_key('first', 'ward_keys_bob', '{}')$$);
SELECT try($$SELECT ward.grant_key('first', 'ward_keys_bob', '{encrypt,NULL}')$$);
SELECT try($$SELECT ward.grant_key('first', 'ward_keys_bob', '{encrypt,everything}')$$);
SELECT try($$SELECT ward.revoke_key('first', 'ward_no_such_role')$$);
SELECT try($$SELECT ward.revoke_key('first', 'ward_keys_bob')$$);
SELECT try($$SELECT ward.revoke_key('none', 'ward_keys_bob')$$);

-- Managing keys is for those who were granted the functions; the tables are for nobody.
SET ROLE ward_keys_alice;
SELECT try($$SELECT ward.generate_encryption_key('mine')$$);
SELECT try($$SELECT ward.set_default_encryption_key('first')$$);
SELECT try($$SELECT ward.rotate_encryption_key('first')$$);
SELECT try($$SELECT ward.disable_encryption_key('first')$$);
SELECT try($$SELECT ward.enable_encryption_key('first')$$);
SELECT try($$SELECT ward.destroy_encryption_key('first', 'first')$$);
SELECT try($$SELECT ward.grant_key('first', 'ward_keys_alice')$$);
SELECT try($$SELECT ward.revoke_key('first', 'ward_keys_alice')$$);
SELECT try($$SELECT count(*) FROM ward.encryption_key$$);
SELECT try($$SELECT count(*) FROM ward.encryption_key_version$$);
SELECT try($$SELECT count(*) FROM ward.key_grant$$);
SELECT try($$SELECT count(*) > 0 FROM ward.encryption_keys$$);
RESET ROLE;
-- With EXECUTE alone a role manages keys, without any right on the tables; the default grantee is
-- the caller, not the functions' owner.
GRANT EXECUTE ON FUNCTION ward.generate_encryption_key(text, text, name, interval) TO ward_keys_admin;
SET ROLE ward_keys_admin;
SELECT try($$SELECT ward.generate_encryption_key('of_admin') IS NOT NULL$$);
SELECT try($$SELECT ward.decrypt(ward.encrypt('x', 'of_admin'))$$);
RESET ROLE;
-- A function of its caller's search_path is not called.
CREATE SCHEMA evil;
CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'search_path was followed'; END $$;
SET search_path = evil, pg_catalog, public;
SELECT public.try($$SELECT ward.grant_key('first', 'ward_keys_bob')$$);
SELECT public.try($$SELECT ward.revoke_key('first', 'ward_keys_bob')$$);
RESET search_path;

-- Rotation: the new version encrypts, the old one still decrypts.
SELECT ward.rotate_encryption_key('first');
SELECT version, state FROM ward.encryption_keys WHERE name = 'first' ORDER BY version;
SET ROLE ward_keys_alice;
SELECT try($$SELECT ward.decrypt(secret) FROM vault WHERE id = 1$$);
INSERT INTO vault VALUES (2, ward.encrypt('second version', 'first'));
RESET ROLE;
SELECT v.id, k.version FROM vault v JOIN ward.encryption_keys k
    ON k.key_id = encode(substr(v.secret, 5, 8), 'hex') ORDER BY 1;
SELECT try($$SELECT ward.rotate_encryption_key('none')$$);
SELECT try($$SELECT ward.rotate_encryption_key(NULL)$$);

-- The default.
SELECT ward.set_default_encryption_key('second');
SELECT DISTINCT name FROM ward.encryption_keys WHERE is_default;
SELECT ward.set_default_encryption_key('second');
SELECT try($$SELECT ward.set_default_encryption_key('none')$$);
SELECT try($$SELECT ward.set_default_encryption_key(NULL)$$);
SELECT ward.set_default_encryption_key('first');

-- Disabled: nothing, until enabled again.
SELECT ward.disable_encryption_key('first');
SET ROLE ward_keys_alice;
SELECT try($$SELECT ward.encrypt('x')$$);
SELECT try($$SELECT ward.decrypt(secret) FROM vault WHERE id = 1$$);
RESET ROLE;
SELECT version, state FROM ward.encryption_keys WHERE name = 'first' ORDER BY version;
SELECT try($$SELECT ward.disable_encryption_key('first')$$);
SELECT try($$SELECT ward.rotate_encryption_key('first')$$);
SELECT try($$SELECT ward.set_default_encryption_key('first')$$);
SELECT ward.enable_encryption_key('first');
SELECT version, state FROM ward.encryption_keys WHERE name = 'first' ORDER BY version;
SET ROLE ward_keys_alice;
SELECT try($$SELECT ward.decrypt(secret) FROM vault WHERE id = 1$$);
SELECT try($$SELECT ward.decrypt(ward.encrypt('x'))$$);
RESET ROLE;
SELECT try($$SELECT ward.enable_encryption_key('first')$$);
SELECT try($$SELECT ward.enable_encryption_key('none')$$);
SELECT try($$SELECT ward.enable_encryption_key(NULL)$$);
SELECT try($$SELECT ward.disable_encryption_key(NULL)$$);
SELECT try($$SELECT ward.disable_encryption_key('none')$$);

-- What a transaction or savepoint rolls back never counted.
SET ROLE ward_keys_alice;
BEGIN;
RESET ROLE;
SAVEPOINT before;
SELECT ward.disable_encryption_key('first');
SET LOCAL ROLE ward_keys_alice;
SELECT try($$SELECT ward.encrypt('x')$$);
ROLLBACK TO before;
SET LOCAL ROLE ward_keys_alice;
SELECT try($$SELECT ward.decrypt(ward.encrypt('after the savepoint'))$$);
RESET ROLE;
SELECT ward.revoke_key('first', 'ward_keys_alice');
SET LOCAL ROLE ward_keys_alice;
SELECT try($$SELECT ward.decrypt(ward.encrypt('x'))$$);
ROLLBACK;
RESET ROLE;
SET ROLE ward_keys_alice;
SELECT try($$SELECT ward.decrypt(ward.encrypt('after the transaction'))$$);
RESET ROLE;
-- A transaction that changed keys cannot be prepared: nobody would be told when it commits.
BEGIN;
SELECT ward.rotate_encryption_key('second');
PREPARE TRANSACTION 'ward_keys';
SELECT version, state FROM ward.encryption_keys WHERE name = 'second';

-- Rows altered outside the functions, by a superuser: noticed at once, also in this session, which has
-- the key in its cache; the key is refused, the others still work.
CREATE FUNCTION as_alice() RETURNS text LANGUAGE plpgsql AS $$
DECLARE result text;
BEGIN
    SET LOCAL ROLE ward_keys_alice;
    result := try($q$SELECT ward.decrypt(secret) FROM vault WHERE id = 1$q$);
    RESET ROLE;
    RETURN result;
END $$;
SELECT as_alice();
BEGIN;
UPDATE ward.encryption_key SET name = 'renamed' WHERE name = 'first';
SELECT as_alice();
SELECT try($$SELECT ward.decrypt(ward.encrypt('x', 'second'))$$);
ROLLBACK;
BEGIN;
UPDATE ward.encryption_key_version v SET state = 'destroyed', wrapped = NULL, destroyed_at = now()
    FROM ward.encryption_key k WHERE k.key = v.key AND k.name = 'first' AND v.version = 1;
SELECT as_alice();
ROLLBACK;
BEGIN;
UPDATE ward.encryption_key_version v SET wrapped = set_byte(wrapped, 40, get_byte(wrapped, 40) # 1)
    FROM ward.encryption_key k WHERE k.key = v.key AND k.name = 'first' AND v.version = 1;
SELECT as_alice();
ROLLBACK;
BEGIN;
-- A grant made by hand, copied from another role's.
INSERT INTO ward.key_grant (key, role_name, role_oid, usage, mac)
    SELECT g.key, 'ward_keys_bob', 'ward_keys_bob'::regrole, g.usage, g.mac FROM ward.key_grant g
    JOIN ward.encryption_key k USING (key) WHERE k.name = 'first' LIMIT 1;
SET LOCAL ROLE ward_keys_bob;
SELECT try($$SELECT ward.decrypt(secret) FROM vault WHERE id = 1$$);
RESET ROLE;
SELECT try($$SELECT ward.rotate_encryption_key('first')$$);
ROLLBACK;
BEGIN;
UPDATE ward.key_grant g SET usage = '{encrypt,decrypt,search,import}' FROM ward.encryption_key k
    WHERE k.key = g.key AND k.name = 'first';
SELECT as_alice();
ROLLBACK;
BEGIN;
-- Another master key's row.
UPDATE ward.encryption_key SET mac = '\x0102030405060708' || substr(mac, 9) WHERE name = 'first';
SELECT left(as_alice(), 81);
ROLLBACK;
SELECT as_alice();

-- Destroyed: final, also for the default.
SELECT try($$SELECT ward.destroy_encryption_key('first', 'second')$$);
SELECT try($$SELECT ward.destroy_encryption_key('first', NULL)$$);
SELECT try($$SELECT ward.destroy_encryption_key(NULL, NULL)$$);
SELECT try($$SELECT ward.destroy_encryption_key('none', 'none')$$);
SELECT ward.destroy_encryption_key('first', 'first');
SELECT k.name, k.is_default, v.version, v.state, v.wrapped FROM ward.encryption_key k
    JOIN ward.encryption_key_version v USING (key) WHERE k.name = 'first' ORDER BY v.version;
SELECT as_alice();
SET ROLE ward_keys_alice;
SELECT try($$SELECT ward.encrypt('x')$$);
SELECT try($$SELECT ward.encrypt('x', 'first')$$);
RESET ROLE;
SELECT try($$SELECT ward.destroy_encryption_key('first', 'first')$$);
SELECT try($$SELECT ward.enable_encryption_key('first')$$);
SELECT try($$SELECT ward.disable_encryption_key('first')$$);
SELECT try($$SELECT ward.rotate_encryption_key('first')$$);
SELECT try($$SELECT ward.set_default_encryption_key('first')$$);
SELECT try($$SELECT ward.generate_encryption_key('first')$$);
SELECT ward.generate_encryption_key('third') IS NOT NULL AS made;
SELECT DISTINCT name FROM ward.encryption_keys WHERE is_default;

-- The settings cannot be reached from SQL.
SELECT try($$SET ward.master_key_file = '/tmp/other'$$);
SELECT try($$SELECT set_config('ward.master_key_command', 'id', false)$$);
SELECT try($$ALTER ROLE ward_keys_bob SET ward.master_key_command = 'id'$$);
ALTER SYSTEM SET ward.master_key_file = '/tmp/other';
ALTER SYSTEM SET ward.master_key_command = 'id';
SET ROLE ward_keys_bob;
SELECT left(try($$SELECT current_setting('ward.master_key_file')$$), 5);
SELECT left(try($$SELECT current_setting('ward.master_key_command')$$), 5);
RESET ROLE;

-- Everything that is public has a comment.
SELECT p.oid::regprocedure AS without_comment FROM pg_proc p
    JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
    WHERE obj_description(p.oid, 'pg_proc') IS NULL
    AND p.proname ~ '(crypt|_key$)' ORDER BY 1;

\c :origin
SET client_min_messages = warning;
DROP DATABASE ward_keys WITH (FORCE);
DROP ROLE ward_keys_alice, ward_keys_bob, ward_keys_crew, ward_keys_super, ward_keys_admin;
