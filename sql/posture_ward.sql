-- Checks of the extension's own state.

CREATE FUNCTION ward.posture_capture()
RETURNS TABLE (check_id text, object text, detail text, remediation text)
LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
WITH RECURSIVE capture AS MATERIALIZED (
    SELECT t.*, t.tgtype & 1 = 1 AS by_row FROM pg_trigger t WHERE t.tgfoid = 'ward.audit_capture()'::regprocedure
),
audited (oid, root) AS (
    SELECT tgrelid, tgrelid FROM capture WHERE by_row AND tgparentid = 0
    UNION
    SELECT i.inhrelid, a.root FROM audited a JOIN pg_inherits i ON i.inhparent = a.oid
),
audited_table AS MATERIALIZED (
    SELECT c.oid, c.relkind, format('%I.%I', n.nspname, c.relname) AS name, min(a.root) AS root
    FROM audited a JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relpersistence <> 't' GROUP BY c.oid, c.relkind, n.nspname, c.relname
)
SELECT 'ward.nothing_audited', format('database %I', current_database()), 'changes leave no trace', 'SELECT ward.enable_audit(''…'');'
WHERE NOT EXISTS (SELECT FROM capture)
UNION ALL
SELECT 'ward.audit_trigger_disabled', format('%I on %s', c.tgname, c.tgrelid::regclass),
       CASE c.tgenabled WHEN 'D' THEN 'it is disabled' ELSE 'it does not fire always' END,
       format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I;', c.tgrelid::regclass, c.tgname)
FROM capture c WHERE c.tgenabled <> 'A'
UNION ALL
SELECT 'ward.audit_trigger_missing', t.name,
       concat_ws(', ', CASE WHEN NOT coalesce(bool_or(c.by_row), false) THEN 'no trigger for rows' END,
                 CASE WHEN t.relkind <> 'f' AND NOT coalesce(bool_or(NOT c.by_row), false) THEN 'no trigger for TRUNCATE' END),
       format('SELECT ward.enable_audit(%L); -- with its lists of columns', t.root::regclass)
FROM audited_table t LEFT JOIN capture c ON c.tgrelid = t.oid
GROUP BY t.oid, t.name, t.root, t.relkind
HAVING NOT coalesce(bool_or(c.by_row), false) OR t.relkind <> 'f' AND NOT coalesce(bool_or(NOT c.by_row), false)
UNION ALL
-- A table whose row trigger is gone is not audited any more; the one for TRUNCATE stays behind and shows it.
SELECT 'ward.audit_trigger_missing', format('%s', c.tgrelid::regclass), 'no trigger for rows',
       format('SELECT ward.enable_audit(%L); -- with its lists of columns', c.tgrelid::regclass)
FROM capture c WHERE NOT c.by_row AND c.tgrelid NOT IN (SELECT oid FROM audited_table)
UNION ALL
SELECT 'ward.audit_trigger_altered', format('%I on %s', c.tgname, c.tgrelid::regclass), 'it does not record every change',
       format('SELECT ward.disable_audit(%1$L), ward.enable_audit(%1$L); -- with its lists of columns', c.tgrelid::regclass)
FROM capture c
-- After every inserted, updated and deleted row; after TRUNCATE.
WHERE c.tgtype NOT IN (1 + 4 + 8 + 16, 32) OR c.tgqual IS NOT NULL OR c.tgattr::text <> '' OR c.tgdeferrable
UNION ALL
SELECT 'ward.event_trigger', t.name, 'changes of audited tables would be neither followed nor recorded',
       format('ALTER EVENT TRIGGER %s ENABLE ALWAYS;', t.name)
FROM (VALUES ('ward_audit_ddl'), ('ward_audit_drop'), ('ward_audit_rewrite')) AS t (name)
WHERE NOT EXISTS (SELECT FROM pg_event_trigger
                  WHERE evtname = t.name AND evtenabled = 'A' AND evtfoid = to_regprocedure('ward.audit_ddl()'))
UNION ALL
SELECT 'ward.registry_trigger', format('registry_changed on %s', k.name), 'sessions would go on using what was revoked',
       format('ALTER TABLE %s ENABLE ALWAYS TRIGGER registry_changed;', k.name)
FROM (VALUES ('ward.encryption_key'), ('ward.encryption_key_version'), ('ward.key_grant'), ('ward.jwt_key')) AS k (name)
WHERE to_regclass(k.name) IS NOT NULL AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = to_regclass(k.name) AND t.tgname = 'registry_changed' AND t.tgenabled = 'A')
$$;
COMMENT ON FUNCTION ward.posture_capture() IS 'Findings about the triggers of audited tables. Part of security_posture().';

CREATE FUNCTION ward.posture_extension()
RETURNS TABLE (check_id text, object text, detail text, remediation text)
LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
WITH member AS MATERIALIZED (
    SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
    WHERE d.deptype = 'e' AND e.extname = 'pg_ward'
),
-- What may be done now and could not when the extension was created.
added AS MATERIALIZED (
    SELECT c.oid, a.grantee, a.privilege_type
    FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a
    LEFT JOIN pg_init_privs i ON i.classoid = 'pg_class'::regclass AND i.objoid = c.oid AND i.objsubid = 0
    WHERE c.relnamespace = 'ward'::regnamespace AND c.relkind IN ('r', 'S', 'p') AND a.grantee <> c.relowner
      AND NOT EXISTS (SELECT FROM aclexplode(i.initprivs) o WHERE o.grantee = a.grantee AND o.privilege_type = a.privilege_type)
    UNION ALL
    SELECT c.oid, a.grantee, a.privilege_type
    FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid CROSS JOIN LATERAL aclexplode(t.attacl) a
    WHERE c.relnamespace = 'ward'::regnamespace AND c.relkind IN ('r', 'p') AND a.grantee <> c.relowner
)
SELECT 'ward.tables_granted', format('%s to %s', a.oid::regclass, coalesce(quote_ident(r.rolname), 'PUBLIC')),
       string_agg(DISTINCT a.privilege_type, ', '),
       format('REVOKE ALL ON %s FROM %s;', a.oid::regclass, coalesce(quote_ident(r.rolname), 'PUBLIC'))
FROM added a LEFT JOIN pg_roles r ON r.oid = a.grantee GROUP BY a.oid, r.rolname
UNION ALL
SELECT 'ward.tables_granted', format('schema ward to %s', coalesce(quote_ident(r.rolname), 'PUBLIC')), a.privilege_type,
       format('REVOKE CREATE ON SCHEMA ward FROM %s;', coalesce(quote_ident(r.rolname), 'PUBLIC'))
FROM pg_namespace n CROSS JOIN LATERAL aclexplode(n.nspacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
WHERE n.nspname = 'ward' AND a.privilege_type = 'CREATE' AND a.grantee <> n.nspowner
UNION ALL
SELECT 'ward.functions_public', f.oid::regprocedure::text, 'PUBLIC can execute it',
       format('REVOKE EXECUTE ON ROUTINE %s FROM PUBLIC;', f.oid::regprocedure)
FROM pg_proc f CROSS JOIN LATERAL aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) a
JOIN pg_init_privs i ON i.classoid = 'pg_proc'::regclass AND i.objoid = f.oid
WHERE f.pronamespace = 'ward'::regnamespace AND a.grantee = 0
  AND NOT EXISTS (SELECT FROM aclexplode(i.initprivs) o WHERE o.grantee = 0 AND o.privilege_type = a.privilege_type)
UNION ALL
SELECT 'ward.foreign_object', f.oid::regprocedure::text, format('its owner is %I', pg_get_userbyid(f.proowner)),
       format('DROP ROUTINE %s;', f.oid::regprocedure)
FROM pg_proc f LEFT JOIN member m ON m.classid = 'pg_proc'::regclass AND m.objid = f.oid
WHERE f.pronamespace = 'ward'::regnamespace AND m.objid IS NULL
UNION ALL
SELECT 'ward.context_loosened', concat_ws(' in ', coalesce(quote_ident(r.rolname), 'all roles'), quote_ident(d.datname)), s.value,
       format('ALTER %s RESET ward.context_mode;',
              CASE WHEN r.oid IS NULL AND d.oid IS NOT NULL THEN 'DATABASE ' || quote_ident(d.datname)
                   ELSE 'ROLE ' || coalesce(quote_ident(r.rolname), 'ALL') || coalesce(' IN DATABASE ' || quote_ident(d.datname), '') END)
FROM pg_db_role_setting c CROSS JOIN LATERAL unnest(c.setconfig) AS s (value)
LEFT JOIN pg_roles r ON r.oid = c.setrole LEFT JOIN pg_database d ON d.oid = c.setdatabase
WHERE lower(s.value) = 'ward.context_mode=trusted'
  -- Only while something else says token: the configuration file, or a wider setting.
  AND (EXISTS (SELECT FROM pg_settings g WHERE g.name = 'ward.context_mode' AND g.reset_val = 'token')
       OR EXISTS (SELECT FROM pg_db_role_setting o, unnest(o.setconfig) AS x (value) WHERE lower(x.value) = 'ward.context_mode=token'))
$$;
COMMENT ON FUNCTION ward.posture_extension() IS 'Findings about rights on the extension itself. Part of security_posture().';

CREATE FUNCTION ward.posture_registry(keys jsonb)
RETURNS TABLE (check_id text, object text, detail text, remediation text)
LANGUAGE sql STABLE STRICT PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
WITH version AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(keys) AS v (name text, purpose text, is_default boolean, state text, master_key_id text, rotation_due timestamptz)
)
SELECT 'ward.master_key_mixed', 'master keys ' || string_agg(DISTINCT master_key_id, ', '), 'keys are wrapped under each of them',
       'SELECT ward.rewrap_keys();'
FROM version WHERE state <> 'destroyed' HAVING count(DISTINCT master_key_id) > 1
UNION ALL
SELECT 'ward.key_rotation_due', name, format('it was to be rotated on %s', to_char(max(rotation_due), 'YYYY-MM-DD')), format('SELECT ward.rotate_encryption_key(%L);', name)
FROM version WHERE state = 'active' AND rotation_due <= now() GROUP BY name
UNION ALL
SELECT 'ward.no_default_key', 'default key', 'no key is the default and active', 'SELECT ward.set_default_encryption_key(''…'');'
FROM version WHERE purpose = 'data_encryption' HAVING count(*) > 0 AND NOT bool_or(is_default AND state = 'active')
UNION ALL
SELECT 'ward.key_unusable', name, CASE WHEN bool_and(state = 'destroyed') THEN 'it was destroyed' ELSE 'it is disabled' END,
       CASE WHEN bool_and(state = 'destroyed') THEN '-- nothing to mend: what it encrypted is gone'
            ELSE format('SELECT ward.enable_encryption_key(%L);', name) END
FROM version GROUP BY name HAVING bool_and(state IN ('disabled', 'destroyed')) OR bool_or(state = 'disabled')
$$;
COMMENT ON FUNCTION ward.posture_registry(jsonb) IS 'Findings about keys, given as rows of ward.encryption_keys. Part of security_posture().';

CREATE FUNCTION ward.posture_checkpoints(settings jsonb)
RETURNS TABLE (check_id text, object text, detail text, remediation text)
LANGUAGE sql STABLE STRICT PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
WITH block AS MATERIALIZED (SELECT tree_size, first_leaf, sealed_at FROM ward.audit_block ORDER BY block_no DESC LIMIT 10000),
published AS (
    SELECT coalesce(max(c.tree_size), 0) AS size FROM ward.audit_checkpoints c
    -- An older incarnation of the log has an origin of its own.
    WHERE c.origin = (SELECT origin FROM ward.audit_checkpoints ORDER BY signed_at DESC LIMIT 1)
)
SELECT 'ward.no_checkpoint', 'audit log', 'checkpoints do not leave the database',
       '-- in postgresql.conf: ward.checkpoint_file = ''…'' (on another machine''s disk) or ward.checkpoint_command, then SELECT pg_reload_conf();'
FROM block
WHERE coalesce(settings ->> 'ward.checkpoint_file', '') = '' AND coalesce(settings ->> 'ward.checkpoint_command', '') = ''
HAVING count(*) > 0
UNION ALL
SELECT 'ward.no_checkpoint', 'audit log',
       format('%s of %s leaves are published, the next wait since %s', p.size, max(b.tree_size), to_char(min(b.sealed_at), 'YYYY-MM-DD HH24:MI')),
       '-- see the server''s log, why the checkpoint could not be published'
FROM block b CROSS JOIN published p
WHERE b.tree_size > p.size AND (settings ->> 'ward.checkpoint_file' <> '' OR settings ->> 'ward.checkpoint_command' <> '')
GROUP BY p.size HAVING min(b.sealed_at) < now() - interval '1 hour'
$$;
COMMENT ON FUNCTION ward.posture_checkpoints(jsonb) IS
    'Findings about checkpoints, with the settings given as {name: value}. Needs the log''s tables. Part of security_posture().';

CREATE FUNCTION ward.posture_tokens(keys jsonb)
RETURNS TABLE (check_id text, object text, detail text, remediation text)
LANGUAGE sql STABLE STRICT PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
SELECT 'ward.jwt_key_age', format('%s of %s', k.kid, k.issuer), format('it verifies tokens since %s', to_char(k.added_at, 'YYYY-MM-DD')),
       format('-- add the issuer''s next key with ward.add_jwt_key(), then: SELECT ward.retire_jwt_key(%L, %L);', k.issuer, k.kid)
FROM jsonb_to_recordset(keys) AS k (issuer text, kid text, state text, added_at timestamptz)
WHERE k.state = 'active' AND k.added_at < now() - interval '1 year'
$$;
COMMENT ON FUNCTION ward.posture_tokens(jsonb) IS 'Findings about keys that verify tokens, given as rows of ward.jwt_keys. Part of security_posture().';

CREATE FUNCTION ward.posture_rows(relation regclass) RETURNS jsonb
LANGUAGE plpgsql STABLE STRICT PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    rows jsonb;
BEGIN
    EXECUTE format('SELECT coalesce(jsonb_agg(to_jsonb(r)), ''[]'') FROM %s r', relation) INTO rows;
    RETURN rows;
END
$$;
COMMENT ON FUNCTION ward.posture_rows(regclass) IS 'The rows of a view of pg_ward, as an array. For security_posture().';

CREATE FUNCTION ward.posture_key_grants()
RETURNS TABLE (check_id text, object text, detail text, remediation text)
LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
SELECT 'ward.key_grant_void', format('%s to %I', k.name, g.role_name),
       CASE WHEN r.oid IS NULL THEN 'the role is gone' ELSE 'the role is another one now' END,
       CASE WHEN r.oid IS NULL THEN format('DELETE FROM ward.key_grant WHERE key = %L AND role_name = %L;', g.key, g.role_name)
            ELSE format('SELECT ward.grant_key(%L, %L, %L); -- if this role shall have it', k.name, g.role_name, g.usage) END
FROM ward.key_grant g JOIN ward.encryption_key k USING (key) LEFT JOIN pg_roles r ON r.rolname = g.role_name
WHERE r.oid IS DISTINCT FROM g.role_oid
$$;
COMMENT ON FUNCTION ward.posture_key_grants() IS 'Findings about grants on keys. Needs the registry''s tables. Part of security_posture().';

CREATE FUNCTION ward.posture_parts(parts jsonb)
RETURNS TABLE (check_id text, object text, detail text, remediation text)
LANGUAGE sql STABLE STRICT PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE p.part WHEN 'worker' THEN 'ward.worker' WHEN 'seal lag' THEN 'ward.seal_lag' WHEN 'checkpoints' THEN 'ward.checkpoint_refused'
            ELSE CASE WHEN p.state LIKE 'from environment%' THEN 'ward.master_key_environment' ELSE 'ward.master_key_missing' END END,
       p.part, p.state, '-- ' || p.what_to_do
FROM jsonb_to_recordset(parts) AS p (part text, ok boolean, state text, what_to_do text)
WHERE NOT p.ok AND p.part IN ('worker', 'seal lag', 'checkpoints', 'master key')
UNION ALL
SELECT 'ward.master_key_several', p.part, p.state,
       '-- SELECT ward.rewrap_keys(); then remove the old master key from its source'
FROM jsonb_to_recordset(parts) AS p (part text, state text)
WHERE p.part = 'master key' AND p.state ~ '\mids? \w+,'
$$;
COMMENT ON FUNCTION ward.posture_parts(jsonb) IS 'Findings about the parts of pg_ward, given as rows of ward.status(). Part of security_posture().';

CREATE FUNCTION ward.posture_status() RETURNS jsonb
LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT jsonb_agg(to_jsonb(s)) FROM ward.status() s $$;
COMMENT ON FUNCTION ward.posture_status() IS 'The rows of ward.status(). For security_posture().';

CREATE FUNCTION ward.posture_trail()
RETURNS TABLE (check_id text, object text, detail text, remediation text)
LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
SELECT 'ward.trail_invalid', 'audit trail', coalesce(v.reason, 'invalid'), 'SELECT * FROM ward.audit_violations();'
FROM ward.verify_audit_trail_integrity() v WHERE NOT v.is_valid
$$;
COMMENT ON FUNCTION ward.posture_trail() IS 'Recomputes the audit trail for run_security_validation(). Reads all of it.';
