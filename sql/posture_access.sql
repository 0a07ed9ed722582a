-- Checks of roles, grants and functions.

CREATE FUNCTION ward.posture_roles()
RETURNS TABLE (check_id text, object text, detail text, remediation text)
LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
WITH RECURSIVE role AS MATERIALIZED (
    SELECT r.*, quote_ident(rolname) AS name FROM pg_roles r WHERE rolname !~ '^pg_'
),
owner AS MATERIALIZED (
    SELECT owner AS oid, count(*) AS tables, min(name) AS example FROM ward.posture_relation WHERE isolated GROUP BY 1
),
-- The attributes of a role are not inherited, but whoever may SET ROLE to it has them.
becomes (member, role) AS (
    SELECT m.member, m.roleid FROM pg_auth_members m
    WHERE (to_jsonb(m) ->> 'set_option')::boolean IS NOT FALSE OR (to_jsonb(m) ->> 'inherit_option')::boolean
    UNION
    SELECT b.member, m.roleid FROM becomes b JOIN pg_auth_members m ON m.member = b.role
    WHERE (to_jsonb(m) ->> 'set_option')::boolean IS NOT FALSE OR (to_jsonb(m) ->> 'inherit_option')::boolean
)
SELECT 'access.login_bypassrls', name, 'it sees the rows of every tenant', format('ALTER ROLE %s NOBYPASSRLS;', name)
FROM role WHERE rolcanlogin AND rolbypassrls AND NOT rolsuper
UNION ALL
SELECT 'access.login_owner', r.name, format('it owns %s isolated tables, as %s', o.tables, o.example),
       format('-- give the tables to a role that cannot log in: CREATE ROLE …; REASSIGN OWNED BY %s TO …;', r.name)
FROM role r JOIN owner o USING (oid) WHERE r.rolcanlogin AND NOT r.rolsuper
UNION ALL
SELECT 'access.login_member', format('%s in %s', m.name, r.name),
       format('%s %s', r.name, CASE WHEN r.rolsuper THEN 'is superuser' WHEN r.rolbypassrls THEN 'has BYPASSRLS' ELSE 'owns isolated tables' END),
       format('REVOKE %s FROM %s; -- or from the role in between', r.name, m.name)
FROM becomes b JOIN role m ON m.oid = b.member JOIN role r ON r.oid = b.role LEFT JOIN owner o ON o.oid = r.oid
WHERE m.rolcanlogin AND NOT m.rolsuper AND (r.rolsuper OR r.rolbypassrls OR o.oid IS NOT NULL)
UNION ALL
SELECT 'access.superusers', name, 'it may do everything', format('ALTER ROLE %s NOSUPERUSER;', name)
FROM role WHERE rolsuper AND oid <> 10
UNION ALL
SELECT 'access.createrole', name, 'it can make and change roles', format('ALTER ROLE %s NOCREATEROLE;', name)
FROM role WHERE rolcanlogin AND rolcreaterole AND NOT rolsuper
UNION ALL
SELECT 'access.replication', name, 'it can copy the cluster', format('-- unless it serves replication only: ALTER ROLE %s NOREPLICATION;', name)
FROM role WHERE rolreplication AND NOT rolsuper
UNION ALL
SELECT CASE WHEN r.rolname IN ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files') THEN 'access.server_roles'
            WHEN r.rolname IN ('pg_read_all_data', 'pg_write_all_data') THEN 'access.data_roles'
            ELSE 'access.predefined_roles' END,
       format('%I in %s', m.rolname, r.rolname), 'it is a member', format('REVOKE %s FROM %I;', r.rolname, m.rolname)
FROM (SELECT DISTINCT roleid, member FROM pg_auth_members) a
JOIN pg_roles r ON r.oid = a.roleid AND r.rolname ~ '^pg_' JOIN pg_roles m ON m.oid = a.member
WHERE NOT m.rolsuper AND m.rolname !~ '^pg_'
UNION ALL
SELECT 'access.connection_limit', name, 'it may take every connection', format('ALTER ROLE %s CONNECTION LIMIT 50; -- or what it needs', name)
FROM role WHERE rolcanlogin AND rolconnlimit = -1 AND NOT rolsuper
UNION ALL
SELECT 'access.role_settings',
       concat_ws(' in ', coalesce(quote_ident(r.rolname), 'all roles'), quote_ident(d.datname)), s.value,
       format('ALTER %s RESET session_replication_role;',
              CASE WHEN r.oid IS NULL AND d.oid IS NOT NULL THEN 'DATABASE ' || quote_ident(d.datname)
                   ELSE 'ROLE ' || coalesce(quote_ident(r.rolname), 'ALL') || coalesce(' IN DATABASE ' || quote_ident(d.datname), '') END)
FROM pg_db_role_setting c CROSS JOIN LATERAL unnest(c.setconfig) AS s (value)
LEFT JOIN pg_roles r ON r.oid = c.setrole LEFT JOIN pg_database d ON d.oid = c.setdatabase
WHERE lower(s.value) LIKE 'session\_replication\_role=%' AND lower(s.value) <> 'session_replication_role=origin'
UNION ALL
SELECT CASE WHEN lower(p.parname) LIKE 'ward.%' THEN 'ward.parameter_grants' ELSE 'access.parameter_grants' END,
       format('%s to %s', p.parname, coalesce(quote_ident(r.rolname), 'PUBLIC')), string_agg(a.privilege_type, ', '),
       format('REVOKE ALL ON PARAMETER %s FROM %s;', p.parname, coalesce(quote_ident(r.rolname), 'PUBLIC'))
FROM pg_parameter_acl p CROSS JOIN LATERAL aclexplode(p.paracl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
WHERE r.rolsuper IS NOT TRUE
  AND (lower(p.parname) LIKE 'ward.%' OR a.privilege_type = 'ALTER SYSTEM' OR lower(p.parname) IN
       ('session_replication_role', 'session_preload_libraries', 'shared_preload_libraries', 'dynamic_library_path',
        'allow_system_table_mods', 'event_triggers', 'log_statement', 'log_min_messages', 'log_min_error_statement'))
GROUP BY p.parname, r.rolname
$$;
COMMENT ON FUNCTION ward.posture_roles() IS 'Findings about roles and what they are members of. Part of security_posture().';

CREATE FUNCTION ward.posture_sessions()
RETURNS TABLE (check_id text, object text, detail text, remediation text)
LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
SELECT 'access.privileged_session', quote_ident(r.rolname),
       format('%s sessions; the role %s', count(*), CASE WHEN r.rolsuper THEN 'is superuser' WHEN r.rolbypassrls THEN 'has BYPASSRLS' ELSE 'owns isolated tables' END),
       '-- let the application log in as a role of its own: SELECT ward.grant_application_roles(…);'
FROM pg_stat_activity a JOIN pg_roles r ON r.oid = a.usesysid
WHERE a.datname = current_database() AND a.backend_type = 'client backend' AND a.pid <> pg_backend_pid()
  AND (r.rolsuper OR r.rolbypassrls OR r.oid IN (SELECT owner FROM ward.posture_relation WHERE isolated))
GROUP BY r.rolname, r.rolsuper, r.rolbypassrls
$$;
COMMENT ON FUNCTION ward.posture_sessions() IS 'Findings about sessions at work. Part of security_posture().';

CREATE FUNCTION ward.posture_passwords()
RETURNS TABLE (check_id text, object text, detail text, remediation text)
LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
SELECT 'access.md5_passwords', quote_ident(rolname), 'its password is stored as MD5',
       format('-- with password_encryption = ''scram-sha-256'', in psql: \password %s', quote_ident(rolname))
FROM pg_authid WHERE rolpassword LIKE 'md5%'
UNION ALL
SELECT 'access.password_expiry', quote_ident(rolname), 'its password is valid for ever',
       format('ALTER ROLE %I VALID UNTIL %L;', rolname, to_char(current_date + 180, 'YYYY-MM-DD'))
FROM pg_authid WHERE rolpassword IS NOT NULL AND rolcanlogin AND coalesce(rolvaliduntil, 'infinity') = 'infinity'
$$;
COMMENT ON FUNCTION ward.posture_passwords() IS 'Findings about stored passwords. Needs pg_authid. Part of security_posture().';

CREATE FUNCTION ward.posture_grants()
RETURNS TABLE (check_id text, object text, detail text, remediation text)
LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
WITH relation AS MATERIALIZED (SELECT * FROM ward.posture_relation),
-- Names that suggest a secret. Hashes of passwords are made to be stored.
secret AS MATERIALIZED (
    SELECT r.oid, r.name, r.secured, r.acl, r.kind, r.namespace, r.owner, a.attname, a.attnum, a.attacl, t.typcategory, t.typname
    FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type t ON t.oid = a.atttypid
    WHERE a.attname ~* '^(password|passwd|pwd|secret|client_?secret|api_?key|(access|refresh|auth|session|bearer)_?token|private_?key|ssn|social_?security(_?(no|number))?|(credit_?)?card_?(no|number)|cvv|cvc|iban|bank_?account(_?(no|number))?|tax_?(id|number)|passport(_?(no|number))?|national_?id|date_?of_?birth|medical_?record(_?(no|number))?)$'
)
SELECT 'access.public_create', format('schema %I', n.nspname), 'PUBLIC has CREATE', format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC;', n.nspname)
FROM pg_namespace n, LATERAL aclexplode(n.nspacl) a WHERE a.grantee = 0 AND a.privilege_type = 'CREATE'
UNION ALL
SELECT 'access.public_create', format('database %I', d.datname), 'PUBLIC has CREATE', format('REVOKE CREATE ON DATABASE %I FROM PUBLIC;', d.datname)
FROM pg_database d, LATERAL aclexplode(d.datacl) a
WHERE d.datname = current_database() AND a.grantee = 0 AND a.privilege_type = 'CREATE'
UNION ALL
SELECT 'access.public_connect', format('database %I', d.datname), 'PUBLIC has CONNECT', format('REVOKE CONNECT ON DATABASE %I FROM PUBLIC;', d.datname)
FROM pg_database d, LATERAL aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
WHERE d.datname = current_database() AND a.grantee = 0 AND a.privilege_type = 'CONNECT'
UNION ALL
SELECT 'access.public_table', r.name, 'PUBLIC has ' || string_agg(a.privilege_type, ', ' ORDER BY a.privilege_type),
       format('REVOKE ALL ON %s FROM PUBLIC;', r.name)
FROM relation r, LATERAL aclexplode(r.acl) a WHERE a.grantee = 0 GROUP BY r.oid, r.name
UNION ALL
SELECT 'access.public_table', format('%I.%I', n.nspname, c.relname), 'PUBLIC has ' || string_agg(a.privilege_type, ', ' ORDER BY a.privilege_type),
       format('REVOKE ALL ON SEQUENCE %I.%I FROM PUBLIC;', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, LATERAL aclexplode(c.relacl) a
WHERE c.relkind = 'S' AND a.grantee = 0 AND NOT EXISTS (SELECT FROM pg_depend d
      WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
GROUP BY n.nspname, c.relname
UNION ALL
SELECT 'access.public_defaults', format('%s of %I%s', k.what, pg_get_userbyid(d.defaclrole), coalesce(format(' in %I', n.nspname), '')),
       'PUBLIC gets ' || string_agg(a.privilege_type, ', ' ORDER BY a.privilege_type),
       format('ALTER DEFAULT PRIVILEGES FOR ROLE %I%s REVOKE ALL ON %s FROM PUBLIC;', pg_get_userbyid(d.defaclrole),
              coalesce(format(' IN SCHEMA %I', n.nspname), ''), upper(k.what))
FROM pg_default_acl d JOIN (VALUES ('r', 'tables'), ('S', 'sequences'), ('n', 'schemas')) AS k (type, what) ON k.type = d.defaclobjtype
LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace, LATERAL aclexplode(d.defaclacl) a
WHERE a.grantee = 0 GROUP BY d.oid, d.defaclrole, n.nspname, k.what
UNION ALL
SELECT 'access.sensitive_columns', format('%s.%I', s.name, s.attname), 'readable by ' || string_agg(DISTINCT w.name, ', '),
       format('REVOKE SELECT ON %s FROM %s; REVOKE SELECT (%I) ON %s FROM %s;', s.name, string_agg(DISTINCT w.name, ', '), s.attname, s.name, string_agg(DISTINCT w.name, ', '))
FROM secret s, LATERAL (SELECT grantee, privilege_type FROM aclexplode(s.acl) UNION ALL SELECT grantee, privilege_type FROM aclexplode(s.attacl)) a
JOIN ward.posture_audience w ON w.role = a.grantee
WHERE a.privilege_type = 'SELECT' AND NOT s.secured GROUP BY s.oid, s.name, s.attname
UNION ALL
SELECT 'ward.sensitive_plaintext', format('%s.%I', s.name, s.attname), format('it is stored as %s', s.typname),
       format('-- encrypt it: a column of type ward.secret_text or ward.encrypted_text, or ward.encrypt(); then waive or rename %I', s.attname)
FROM secret s WHERE s.kind IN ('r', 'p') AND s.typcategory = 'S'
  AND s.typname IN ('text', 'varchar', 'bpchar', 'name', 'citext')
$$;
COMMENT ON FUNCTION ward.posture_grants() IS 'Findings about privileges of PUBLIC and about sensitive columns. Part of security_posture().';

CREATE FUNCTION ward.posture_functions()
RETURNS TABLE (check_id text, object text, detail text, remediation text)
LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
WITH function AS MATERIALIZED (
    SELECT p.*, p.oid::regprocedure::text AS name, l.lanname,
           (SELECT substr(c, 13) FROM unnest(p.proconfig) AS c WHERE c LIKE 'search\_path=%') AS path,
           CASE p.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END AS kind
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
    LEFT JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
    WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'ward') AND n.nspname !~ '^pg_temp_' AND d.objid IS NULL
      AND p.prokind IN ('f', 'p', 'w')
)
SELECT CASE WHEN f.prosecdef THEN 'access.definer_search_path' ELSE 'access.function_search_path' END, f.name,
       'its search_path is the caller''s', format('ALTER %s %s SET search_path = pg_catalog, pg_temp; -- and name the schema of what it uses', f.kind, f.name)
FROM function f
-- A body in standard SQL was resolved when the function was made; C has no names to resolve.
WHERE f.path IS NULL AND (f.prosecdef OR f.lanname NOT IN ('c', 'internal') AND f.prosqlbody IS NULL)
UNION ALL
SELECT 'access.definer_temp_schema', f.name, format('its search_path is %s', f.path),
       format('ALTER %s %s SET search_path = %s, pg_temp;', f.kind, f.name, f.path)
FROM function f WHERE f.prosecdef AND f.path !~ 'pg_temp"?\s*$' AND f.path !~ '^("")?$'
UNION ALL
SELECT 'access.definer_public', f.name, 'executable by ' || string_agg(DISTINCT w.name, ', '),
       format('REVOKE EXECUTE ON %s %s FROM %s;', f.kind, f.name, string_agg(DISTINCT w.name, ', '))
FROM function f, LATERAL aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) a JOIN ward.posture_audience w ON w.role = a.grantee
-- Triggers check no privilege and cannot be called.
WHERE f.prosecdef AND f.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
GROUP BY f.name, f.kind
UNION ALL
SELECT 'access.untrusted_language', quote_ident(l.lanname), 'its functions can do what the server can',
       coalesce((SELECT format('DROP EXTENSION %I; -- when nothing uses it', e.extname) FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
                 WHERE d.classid = 'pg_language'::regclass AND d.objid = l.oid AND d.deptype = 'e'),
                format('DROP LANGUAGE %I; -- when nothing uses it', l.lanname))
FROM pg_language l WHERE NOT l.lanpltrusted AND l.lanname NOT IN ('internal', 'c')
UNION ALL
SELECT 'access.extension_in_public', quote_ident(e.extname), 'its objects are in schema public',
       format('CREATE SCHEMA IF NOT EXISTS extensions; ALTER EXTENSION %I SET SCHEMA extensions;', e.extname)
FROM pg_extension e WHERE e.extnamespace = to_regnamespace('public')
UNION ALL
SELECT 'access.extension_outdated', quote_ident(e.extname), format('%s is installed, %s is there', e.extversion, a.default_version),
       format('ALTER EXTENSION %I UPDATE;', e.extname)
FROM pg_extension e JOIN pg_available_extensions a ON a.name = e.extname WHERE a.default_version <> e.extversion
$$;
COMMENT ON FUNCTION ward.posture_functions() IS 'Findings about functions, languages and extensions. Part of security_posture().';
