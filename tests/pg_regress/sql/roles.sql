-- Roles for an application: the rights each gets, and what is refused.
\set VERBOSITY default
\set SHOW_CONTEXT never
SET client_min_messages = warning;
DROP ROLE IF EXISTS roles_owner, roles_read, roles_write, roles_admin, roles_plain;
RESET client_min_messages;
CREATE ROLE roles_owner;
CREATE ROLE roles_plain;
CREATE SCHEMA "Roles" AUTHORIZATION roles_owner;
GRANT ALL ON SCHEMA "Roles" TO PUBLIC;
SET ROLE roles_owner;
CREATE TABLE "Roles".t (id serial, n int);
GRANT ALL ON "Roles".t TO PUBLIC;
CREATE FUNCTION "Roles".reading() RETURNS int LANGUAGE sql STABLE AS 'SELECT 1';
CREATE FUNCTION "Roles".writing() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION "Roles".firing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
RESET ROLE;
CREATE VIEW public.roles_state AS
SELECT o.name, coalesce(nullif(a.grantee, 0)::regrole::text, 'PUBLIC') AS role, string_agg(a.privilege_type, ', ' ORDER BY a.privilege_type) AS may
FROM (SELECT 'schema', nspacl FROM pg_namespace WHERE nspname = 'Roles'
      UNION ALL SELECT relname, relacl FROM pg_class WHERE relnamespace = '"Roles"'::regnamespace AND relkind IN ('r', 'S')
      UNION ALL SELECT proname || '()', coalesce(proacl, acldefault('f', proowner)) FROM pg_proc WHERE pronamespace = '"Roles"'::regnamespace) AS o (name, acl),
     aclexplode(o.acl) a
WHERE pg_get_userbyid(a.grantee) <> 'roles_owner' AND a.privilege_type <> 'MAINTAIN'
GROUP BY 1, 2 ORDER BY 1, 2;
SELECT * FROM public.roles_state;

SELECT ward.grant_application_roles('"Roles"', 'roles_read', 'roles_write', 'roles_admin');
SELECT * FROM public.roles_state;
SELECT rolname, rolcanlogin, rolsuper, rolinherit FROM pg_roles WHERE rolname ~ '^roles_(read|write|admin)' ORDER BY 1;
-- Later objects, and the same again with deleting.
SET ROLE roles_owner;
CREATE TABLE "Roles".later (id serial);
CREATE FUNCTION "Roles".later() RETURNS int LANGUAGE sql AS 'SELECT 1';
RESET ROLE;
SELECT * FROM public.roles_state WHERE name LIKE 'later%';
SELECT ward.grant_application_roles('"Roles"', 'roles_read', 'roles_write', 'roles_admin', deletes => true);
SELECT * FROM public.roles_state;

-- Refused.
SELECT ward.grant_application_roles(NULL);
SELECT ward.grant_application_roles('"Roles"', 'roles_read', NULL);
SELECT ward.grant_application_roles('"Roles"', deletes => NULL);
SELECT ward.grant_application_roles('roles_none');
SELECT ward.grant_application_roles(4294967295::oid::regnamespace);
SELECT ward.grant_application_roles('ward');
SELECT ward.grant_application_roles('pg_catalog');
SELECT ward.grant_application_roles('"Roles"', 'roles_read', 'roles_read');
SELECT ward.grant_application_roles('"Roles"', 'pg_monitor');
SELECT ward.grant_application_roles('"Roles"', 'public');
SELECT ward.grant_application_roles('"Roles"', '');
SELECT ward.grant_application_roles('"Roles"', current_user);
SELECT ward.grant_application_roles('"Roles"', 'roles_owner');
-- Only for who owns all of it: otherwise some grants would be left out with a mere warning.
GRANT SELECT ON "Roles".t TO roles_plain;
SET ROLE roles_plain;
SELECT ward.grant_application_roles('"Roles"', 'roles_read', 'roles_write', 'roles_admin');
RESET ROLE;
SET client_min_messages = warning;
DROP VIEW public.roles_state;
DROP SCHEMA "Roles" CASCADE;
DROP ROLE roles_owner, roles_read, roles_write, roles_admin, roles_plain;
