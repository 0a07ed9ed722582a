-- The tenant and user context: setting, reading, scope, the binding of a transaction to one
-- tenant, and every way to set it without the functions.
\set VERBOSITY default
\set SHOW_CONTEXT never

-- Unset, everything reads as NULL.
SELECT ward.get_tenant_context() IS NULL AS tenant, ward.get_current_tenant_id() IS NULL AS id,
       ward.get_current_tenant_number() IS NULL AS number, ward.get_current_user_id() IS NULL AS usr;

-- By uuid, by text, by number.
BEGIN;
SELECT ward.set_tenant_context('a0000000-0000-4000-8000-000000000001'::uuid);
SELECT ward.get_tenant_context(), ward.get_current_tenant_id(), ward.get_current_tenant_number();
COMMIT;
SELECT ward.get_tenant_context() IS NULL AS ended;
BEGIN;
SELECT ward.set_tenant_context('A0000000-0000-4000-8000-00000000000A');
SELECT ward.get_tenant_context(), ward.get_current_tenant_id();
COMMIT;
BEGIN;
SELECT ward.set_tenant_context('-9223372036854775808');
SELECT ward.get_tenant_context(), ward.get_current_tenant_number(), ward.get_current_tenant_id();
COMMIT;
-- Only the plain spelling is a number or a UUID.
CREATE FUNCTION pg_temp.forms(tenant text, OUT kept boolean, OUT number bigint, OUT id uuid)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM ward.set_tenant_context(tenant);
    kept := ward.get_tenant_context() = tenant;
    number := ward.get_current_tenant_number();
    id := ward.get_current_tenant_id();
END $$;
SELECT * FROM pg_temp.forms('007');
SELECT * FROM pg_temp.forms('+7');
SELECT * FROM pg_temp.forms('9223372036854775808');
SELECT * FROM pg_temp.forms('7.0');
SELECT * FROM pg_temp.forms('{a0000000-0000-4000-8000-000000000001}');
SELECT * FROM pg_temp.forms('a0000000000040008000000000000001');
SELECT * FROM pg_temp.forms('zzzzzzzz-zzzz-zzzz-zzzz-zzzzzzzzzzzz');
-- Hostile text is a value, nothing else.
SELECT * FROM pg_temp.forms('x","tenant":"other');
SELECT * FROM pg_temp.forms(E'\\"}\n\t\u0001''; DROP TABLE t; --');
SELECT * FROM pg_temp.forms(U&'\00e9\+01f600');
SELECT * FROM pg_temp.forms(repeat('t', 255));

-- Bounds.
SELECT ward.set_tenant_context(NULL);
SELECT ward.set_tenant_context(NULL::uuid);
SELECT ward.set_tenant_context('');
SELECT ward.set_tenant_context(E' \t\n');
SELECT ward.set_tenant_context(repeat('t', 256));
SELECT ward.set_tenant_context(repeat(U&'\00e9', 128));
SELECT ward.set_tenant_context('acme', NULL);
SELECT ward.set_tenant_context('not a uuid'::uuid);
SELECT ward.set_security_context(NULL);
SELECT ward.set_security_context(gen_random_uuid(), is_local => NULL);
SELECT ward.set_security_context(gen_random_uuid(), session_id => repeat('s', 256));
SELECT ward.set_security_context(gen_random_uuid(), service_name => repeat('s', 256));
SELECT ward.set_security_context(gen_random_uuid(), user_agent => repeat('u', 513));
SELECT length(repeat('t', 100000000)) AS huge, ward.set_tenant_context(repeat('t', 100000000));

-- The user beside the tenant: each setter leaves the other's parts alone.
BEGIN;
SELECT ward.set_tenant_context('acme');
SELECT ward.set_security_context('b0000000-0000-4000-8000-000000000001', repeat('s', 255),
                                 'billing', '2001:db8::1', repeat('u', 512));
SELECT ward.get_tenant_context(), ward.get_current_user_id();
SELECT ward.set_tenant_context('acme');
SELECT ward.get_current_user_id();
SELECT ward.set_security_context('b0000000-0000-4000-8000-000000000002');
SELECT ward.get_tenant_context(), ward.get_current_user_id();
-- A service may act for no user.
SELECT ward.set_security_context(NULL, service_name => 'billing');
SELECT ward.get_tenant_context(), ward.get_current_user_id();
ROLLBACK;

-- Outside a transaction block: an error when nothing used it.
SELECT ward.set_tenant_context('acme');
SELECT ward.set_security_context(gen_random_uuid());
SELECT ward.get_tenant_context() IS NULL AS unset;
DO $$ BEGIN PERFORM ward.set_tenant_context('acme'); END $$;
DO $$
BEGIN
    BEGIN
        PERFORM ward.set_tenant_context('acme');
        RAISE 'rolled back';
    EXCEPTION WHEN raise_exception THEN NULL;
    END;
END $$;
DO $$
BEGIN
    BEGIN
        PERFORM ward.set_tenant_context('acme');
    EXCEPTION WHEN raise_exception THEN NULL;
    END;
END $$;
DO $$ BEGIN PERFORM ward.set_tenant_context('acme'); PERFORM ward.clear_security_context(); END $$;
DO $$
BEGIN
    PERFORM ward.set_tenant_context('acme');
    RAISE NOTICE 'tenant %', ward.get_tenant_context();
END $$;
WITH s AS MATERIALIZED (SELECT ward.set_tenant_context('acme'))
SELECT ward.get_tenant_context() FROM s;
-- Several statements in one message are one transaction.
SELECT ward.set_tenant_context('acme')\; SELECT ward.get_tenant_context();
SELECT ward.set_tenant_context('acme')\; SELECT 1 AS unused;
CREATE PROCEDURE pg_temp.commits() LANGUAGE plpgsql AS $$
BEGIN
    PERFORM ward.set_tenant_context('acme');
    COMMIT;
END $$;
CALL pg_temp.commits();

-- For the session.
SELECT ward.set_tenant_context('acme', is_local => false);
SELECT ward.get_tenant_context();
SELECT ward.set_security_context('b0000000-0000-4000-8000-000000000001', is_local => false);
SELECT ward.get_tenant_context(), ward.get_current_user_id();
-- A local one on top ends with the transaction.
BEGIN;
SELECT ward.set_tenant_context('globex');
SELECT ward.get_tenant_context(), ward.get_current_user_id();
SELECT ward.set_tenant_context('globex', is_local => false);
ROLLBACK;
BEGIN;
SELECT ward.set_security_context('b0000000-0000-4000-8000-000000000002');
SELECT ward.get_tenant_context(), ward.get_current_user_id();
COMMIT;
SELECT ward.get_tenant_context(), ward.get_current_user_id();
-- A rolled back one was never set.
BEGIN;
SELECT ward.set_tenant_context('globex', is_local => false);
ROLLBACK;
SELECT ward.get_tenant_context();
SELECT ward.set_tenant_context('globex', is_local => false);
SELECT ward.get_tenant_context();
-- Clearing ends all of it, unless it is rolled back.
BEGIN;
SELECT ward.clear_security_context();
SELECT ward.get_tenant_context(), ward.get_current_user_id();
ROLLBACK;
SELECT ward.get_tenant_context();
SELECT ward.clear_security_context();
SELECT ward.get_tenant_context(), ward.get_current_user_id();
SELECT ward.clear_security_context();
-- A connection pool's reset ends it too.
SELECT ward.set_tenant_context('acme', false);
RESET ALL;
SELECT ward.get_tenant_context();
SELECT ward.set_tenant_context('acme', false);
DISCARD ALL;
SELECT ward.get_tenant_context();

-- A transaction keeps its first tenant.
BEGIN;
SELECT ward.set_tenant_context('acme');
SAVEPOINT s;
SELECT ward.set_tenant_context('globex');
ROLLBACK TO s;
SELECT ward.set_tenant_context('a0000000-0000-4000-8000-000000000001'::uuid);
ROLLBACK TO s;
SELECT ward.set_tenant_context('ACME');
ROLLBACK TO s;
SELECT ward.set_tenant_context('globex', false);
ROLLBACK TO s;
SELECT ward.get_tenant_context();
-- not after RESET, in any of its forms
RESET ward.context;
SELECT ward.get_tenant_context();
SELECT ward.set_tenant_context('globex');
ROLLBACK TO s;
SET LOCAL ward.context TO DEFAULT;
SELECT ward.set_tenant_context('globex');
ROLLBACK TO s;
RESET ALL;
SELECT ward.set_tenant_context('globex');
ROLLBACK TO s;
SELECT ward.clear_security_context();
SELECT ward.set_tenant_context('globex');
ROLLBACK TO s;
-- nor in a block that catches the refusal
DO $$
BEGIN
    PERFORM ward.set_tenant_context('globex');
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'refused, still %', ward.get_tenant_context();
END $$;
RESET ward.context;
SELECT ward.set_tenant_context('acme');
SELECT ward.get_tenant_context();
COMMIT;
-- A savepoint's rollback takes the context back but does not release the transaction.
BEGIN;
SAVEPOINT s;
SELECT ward.set_tenant_context('acme');
ROLLBACK TO s;
SELECT ward.get_tenant_context();
SELECT ward.set_tenant_context('globex');
ROLLBACK;
-- Reading binds as setting does.
SELECT ward.set_tenant_context('acme', false);
BEGIN;
SELECT ward.get_current_user_id();
SELECT ward.set_tenant_context('globex');
ROLLBACK;
BEGIN;
SELECT ward.set_tenant_context('globex');
SELECT ward.get_tenant_context();
COMMIT;
-- A restored context of another tenant reads as none.
BEGIN;
SAVEPOINT s;
SELECT ward.set_tenant_context('globex');
ROLLBACK TO s;
SELECT ward.get_tenant_context(), ward.get_current_user_id();
SELECT ward.set_security_context('b0000000-0000-4000-8000-000000000002');
SELECT ward.get_tenant_context(), ward.get_current_user_id();
SELECT ward.set_tenant_context('globex');
SELECT ward.get_tenant_context(), ward.get_current_user_id();
COMMIT;
SELECT ward.get_tenant_context();
SELECT ward.clear_security_context();
-- A chained transaction is a new one.
BEGIN;
SELECT ward.set_tenant_context('acme');
COMMIT AND CHAIN;
SELECT ward.get_tenant_context();
SELECT ward.set_tenant_context('globex');
ROLLBACK;

-- The setting cannot be written.
SET ward.context = 'x';
SET ward.context = '';
SET LOCAL ward.context = '{"source":"trusted","tenant":"globex","transaction_local":false}';
SET SESSION ward.context = '{"source":"trusted","tenant":"globex","transaction_local":false}';
SELECT set_config('ward.context', '{"source":"trusted","tenant":"globex","transaction_local":false}', false);
SELECT set_config('ward.context', '', true);
SELECT set_config('WARD.Context', 'x', true);
UPDATE pg_settings SET setting = 'x' WHERE name = 'ward.context';
ALTER ROLE CURRENT_USER SET ward.context = '{"source":"trusted","tenant":"globex","transaction_local":false}';
ALTER ROLE ALL SET ward.context = 'x';
ALTER SYSTEM SET ward.context = 'x';
DO $$
BEGIN
    EXECUTE format('ALTER DATABASE %I SET ward.context = %L', current_database(),
                   '{"source":"trusted","tenant":"globex","transaction_local":false}');
END $$;
CREATE FUNCTION pg_temp.forged() RETURNS text LANGUAGE sql
SET ward.context = '{"source":"trusted","tenant":"globex","transaction_local":false}'
AS 'SELECT ward.get_tenant_context()';
BEGIN;
SELECT ward.set_tenant_context('acme');
CREATE FUNCTION pg_temp.replayed() RETURNS text LANGUAGE sql SET ward.context FROM CURRENT
AS 'SELECT ward.get_tenant_context()';
ROLLBACK;
BEGIN;
SELECT ward.set_tenant_context('acme');
ALTER ROLE CURRENT_USER SET ward.context FROM CURRENT;
ROLLBACK;
-- nor read, beyond whether it is set
SHOW ward.context;
BEGIN;
SELECT ward.set_tenant_context('acme');
SHOW ward.context;
SELECT current_setting('ward.context');
SELECT count(*) FROM pg_settings WHERE name = 'ward.context';
ROLLBACK;

-- Parallel workers see the leader's tenant, and what they read binds the leader.
CREATE TABLE context_parallel AS
SELECT n, CASE WHEN n % 2 = 0 THEN 'acme' ELSE 'globex' END AS tenant FROM generate_series(1, 1000) n;
ANALYZE context_parallel;
SET parallel_leader_participation = off;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
EXPLAIN (COSTS OFF) SELECT count(*) FROM context_parallel WHERE tenant = ward.get_tenant_context();
PREPARE mine AS SELECT count(*), min(tenant) FROM context_parallel WHERE tenant = ward.get_tenant_context();
EXECUTE mine;
SELECT ward.set_tenant_context('acme', false);
EXECUTE mine;
BEGIN;
SELECT ward.set_tenant_context('globex');
EXECUTE mine;
COMMIT;
-- The plan is kept from an earlier transaction, so only the workers read the tenant.
SET plan_cache_mode = force_generic_plan;
EXECUTE mine;
BEGIN;
EXECUTE mine;
SELECT ward.set_tenant_context('globex');
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT ward.set_tenant_context('globex');
ROLLBACK TO s;
EXECUTE mine;
ROLLBACK;
-- Nor can a worker set it, whatever its function claims to be.
CREATE FUNCTION context_switch(tenant text) RETURNS text PARALLEL SAFE LANGUAGE plpgsql AS $$
BEGIN
    PERFORM ward.set_tenant_context(tenant, false);
    RETURN tenant;
END $$;
SELECT count(*) FROM context_parallel WHERE tenant = context_switch('globex');
DROP FUNCTION context_switch;
SELECT ward.clear_security_context();
EXECUTE mine;
DEALLOCATE mine;
RESET ALL;
DROP TABLE context_parallel;

-- Every function has a comment, and says truly how it may be planned.
SELECT p.proname, pg_get_function_identity_arguments(p.oid) AS arguments, p.provolatile AS vol,
       p.proparallel AS par, p.proisstrict AS strict, p.prosecdef AS definer,
       obj_description(p.oid, 'pg_proc') IS NOT NULL AS commented
FROM pg_proc p
WHERE p.pronamespace = 'ward'::regnamespace
  AND p.proname ~ '(_context|get_current_.*)$'
ORDER BY 1, 2;
