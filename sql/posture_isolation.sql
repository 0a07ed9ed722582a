-- Checks of tables and of the ways around their policies. Everything here reads catalogs only, each of them once.

-- Tables, views and foreign tables of the application: neither the system's nor an extension's.
CREATE VIEW ward.posture_relation AS
SELECT c.oid, pg_catalog.format('%I.%I', n.nspname, c.relname) AS name, c.relkind AS kind, c.relowner AS owner,
       c.relrowsecurity AS secured, c.relforcerowsecurity AS forced, c.relispartition AS is_partition,
       c.relacl AS acl, c.relnamespace AS namespace, c.reloptions AS options,
       c.relrowsecurity AND p.polrelid IS NOT NULL AS isolated, p.polrelid IS NOT NULL AS has_policy
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN (SELECT DISTINCT polrelid FROM pg_catalog.pg_policy) p ON p.polrelid = c.oid
LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.objsubid = 0 AND d.deptype = 'e'
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't' AND d.objid IS NULL
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'ward', 'pg_toast');
COMMENT ON VIEW ward.posture_relation IS
    'Relations of applications, and whether row level security is in force. For security_posture().';

-- Roles that stand for everybody: PUBLIC, and the two that web gateways commonly switch to.
CREATE VIEW ward.posture_audience AS
SELECT 0::oid AS role, 'PUBLIC'::text AS name
UNION ALL SELECT oid, pg_catalog.quote_ident(rolname) FROM pg_catalog.pg_roles WHERE rolname IN ('anon', 'authenticated');
COMMENT ON VIEW ward.posture_audience IS
    'PUBLIC, and the roles anon and authenticated if they exist. For security_posture().';

-- The columns that a table's policies read: those that isolate it.
CREATE VIEW ward.posture_column AS
SELECT DISTINCT p.polrelid AS relation, d.refobjsubid::smallint AS number
FROM pg_catalog.pg_policy p
JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_policy'::regclass AND d.objid = p.oid
     AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = p.polrelid AND d.refobjsubid > 0;
COMMENT ON VIEW ward.posture_column IS
    'Columns of tables that their own policies read. For security_posture().';

REVOKE ALL ON ward.posture_relation, ward.posture_audience, ward.posture_column FROM PUBLIC;
GRANT SELECT ON ward.posture_relation, ward.posture_audience, ward.posture_column TO pg_monitor;

CREATE FUNCTION ward.posture_tables()
RETURNS TABLE (check_id text, object text, detail text, remediation text)
LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
WITH relation AS MATERIALIZED (SELECT * FROM ward.posture_relation),
tables AS MATERIALIZED (SELECT * FROM relation WHERE kind IN ('r', 'p')),
open AS MATERIALIZED (
    SELECT r.oid, string_agg(DISTINCT a.privilege_type || ' to ' || w.name, ', ' ORDER BY a.privilege_type || ' to ' || w.name) AS grants,
           string_agg(DISTINCT w.name, ', ') AS roles
    FROM relation r, LATERAL aclexplode(r.acl) a JOIN ward.posture_audience w ON w.role = a.grantee
    WHERE EXISTS (SELECT FROM pg_namespace n, LATERAL aclexplode(n.nspacl) u JOIN ward.posture_audience x ON x.role = u.grantee
                  WHERE n.oid = r.namespace AND u.privilege_type = 'USAGE')
    GROUP BY r.oid
),
-- A name that isolates one table most likely belongs to the tenant wherever it stands; "id" does not.
isolating AS MATERIALIZED (
    SELECT a.attname, a.atttypid, min(t.name) AS example
    FROM ward.posture_column c JOIN tables t ON t.oid = c.relation AND t.isolated
    JOIN pg_attribute a ON a.attrelid = c.relation AND a.attnum = c.number
    WHERE a.attname <> 'id' GROUP BY 1, 2
)
SELECT 'isolation.rls_disabled', t.name,
       coalesce(CASE WHEN count(i.attname) > 0 THEN format('column %I isolates %s, here it does nothing', min(i.attname), min(i.example)) END,
                format('column %I says whose a row is, and nothing looks at it', min(a.attname))),
       format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; -- and a policy, as by ward.enable_tenant_isolation(%L, %L)',
              t.name, t.name, min(a.attname))
FROM tables t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN isolating i ON i.attname = a.attname AND i.atttypid = a.atttypid
WHERE NOT t.secured
  -- The names that ward.enable_tenant_isolation() and ward.enable_user_isolation() take by default, in a database
  -- in which nothing is isolated yet.
  AND (i.attname IS NOT NULL
       OR a.attname IN ('tenant_id', 'user_id') AND a.atttypid IN ('uuid'::regtype, 'text'::regtype, 'varchar'::regtype, 'int2'::regtype, 'int4'::regtype, 'int8'::regtype))
  -- A partition that nobody was granted is reached through its parent, whose policies count.
  AND NOT (t.is_partition AND NOT EXISTS (SELECT FROM aclexplode(t.acl) g WHERE g.grantee <> t.owner))
GROUP BY t.oid, t.name
UNION ALL
SELECT 'isolation.exposed_without_rls', t.name, o.grants,
       format('REVOKE ALL ON %s FROM %s; -- or isolate it', t.name, o.roles)
FROM tables t JOIN open o USING (oid) WHERE NOT t.secured
UNION ALL
SELECT 'isolation.policy_without_rls', t.name, 'its policies do nothing',
       format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY;', t.name)
FROM tables t WHERE t.has_policy AND NOT t.secured
UNION ALL
SELECT 'isolation.no_policy', t.name, 'nobody but the owner sees a row',
       format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY; -- or a policy, as by ward.enable_tenant_isolation()', t.name)
FROM tables t WHERE t.secured AND NOT t.has_policy
UNION ALL
SELECT 'isolation.rls_not_forced', t.name, format('owner %I sees all rows', pg_get_userbyid(t.owner)),
       format('ALTER TABLE %s FORCE ROW LEVEL SECURITY;', t.name)
FROM tables t WHERE t.secured AND NOT t.forced
UNION ALL
SELECT 'isolation.foreign_table', r.name, 'granted to ' || string_agg(DISTINCT coalesce(quote_ident(p.rolname), 'PUBLIC'), ', '),
       format('REVOKE ALL ON %s FROM %s; -- give a view with a condition instead', r.name,
              string_agg(DISTINCT coalesce(quote_ident(p.rolname), 'PUBLIC'), ', '))
FROM relation r, LATERAL aclexplode(r.acl) a LEFT JOIN pg_roles p ON p.oid = a.grantee
WHERE r.kind = 'f' AND a.grantee <> r.owner GROUP BY r.oid, r.name
$$;
COMMENT ON FUNCTION ward.posture_tables() IS 'Findings about tables and their row level security. Part of security_posture().';

CREATE FUNCTION ward.posture_views()
RETURNS TABLE (check_id text, object text, detail text, remediation text)
LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
-- The planner takes the rows of the parts for few and would loop over them, for minutes with thousands of tables.
SET enable_nestloop = off
AS $$
WITH RECURSIVE relation AS MATERIALIZED (SELECT * FROM ward.posture_relation),
edge AS MATERIALIZED (
    SELECT DISTINCT w.ev_class AS reader, d.refobjid AS source
    FROM pg_depend d JOIN pg_rewrite w ON w.oid = d.objid AND w.rulename = '_RETURN'
    WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> w.ev_class
),
reach (reader, source) AS (
    SELECT e.reader, e.source FROM edge e JOIN relation r ON r.oid = e.source AND r.isolated
    UNION
    SELECT e.reader, reach.source FROM reach JOIN edge e ON e.source = reach.reader
)
SELECT CASE v.kind WHEN 'm' THEN 'isolation.materialized_view' ELSE 'isolation.view_owner_rights' END, v.name,
       'reads ' || string_agg(t.name, ', ' ORDER BY t.name),
       CASE v.kind WHEN 'm' THEN format('DROP MATERIALIZED VIEW %s; -- or keep it where no tenant can read it, and waive this', v.name)
            ELSE format('ALTER VIEW %s SET (security_invoker = true);', v.name) END
FROM reach JOIN relation v ON v.oid = reach.reader AND v.kind IN ('v', 'm') JOIN relation t ON t.oid = reach.source
JOIN pg_roles o ON o.oid = v.owner
WHERE v.kind = 'm'
   OR NOT EXISTS (SELECT FROM pg_options_to_table(v.options) x
                  WHERE x.option_name = 'security_invoker' AND lower(x.option_value) IN ('true', 'on', 'yes', '1', 'tru', 'tr', 't', 'ye', 'y'))
  -- The policies bind the view's owner as they would bind the caller.
  AND NOT (NOT o.rolsuper AND NOT o.rolbypassrls AND (t.forced OR NOT pg_has_role(v.owner, t.owner, 'USAGE'))
           AND NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = t.oid AND p.polroles <> '{0}'))
GROUP BY v.kind, v.name
$$;
COMMENT ON FUNCTION ward.posture_views() IS 'Findings about views of isolated tables. Part of security_posture().';

CREATE FUNCTION ward.posture_keys()
RETURNS TABLE (check_id text, object text, detail text, remediation text)
LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
-- The planner takes the rows of the parts for few and would loop over them, for minutes with thousands of tables.
SET enable_nestloop = off
AS $$
WITH relation AS MATERIALIZED (SELECT * FROM ward.posture_relation WHERE isolated),
isolating AS MATERIALIZED (SELECT relation, array_agg(number) AS columns FROM ward.posture_column GROUP BY 1)
SELECT 'isolation.unique_leak', format('%s on %s', c.relname, r.name),
       'an error of this unique index shows that another tenant has the value',
       format('-- replace the index: CREATE UNIQUE INDEX ON %s (%s, %s);', r.name,
              (SELECT string_agg(quote_ident(a.attname), ', ') FROM pg_attribute a
               WHERE a.attrelid = r.oid AND a.attnum = s.columns[1]),
              (SELECT string_agg(pg_get_indexdef(i.indexrelid, n, true), ', ' ORDER BY n) FROM generate_series(1, i.indnkeyatts) n))
FROM relation r JOIN isolating s ON s.relation = r.oid
JOIN pg_index i ON i.indrelid = r.oid AND i.indisunique
JOIN pg_class c ON c.oid = i.indexrelid AND NOT c.relispartition
WHERE NOT i.indkey::smallint[] && s.columns
  -- Values nobody chooses tell nothing: UUIDs, and numbers that the server hands out.
  AND EXISTS (
      SELECT FROM unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (number, place)
      LEFT JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum = k.number AND k.number > 0
      LEFT JOIN pg_attrdef d ON d.adrelid = r.oid AND d.adnum = a.attnum
      WHERE k.place <= i.indnkeyatts
        AND NOT coalesce(a.atttypid = 'uuid'::regtype OR a.attidentity <> ''
                         OR pg_get_expr(d.adbin, d.adrelid) LIKE 'nextval(%', false))
UNION ALL
SELECT 'isolation.foreign_key_leak', format('%I on %s', k.conname, r.name),
       format('a row can refer to another tenant''s row of %s', f.name),
       format('-- include the column that isolates both tables in the key (ward.isolation_foreign_keys() gives the statements): '
              'ALTER TABLE %s DROP CONSTRAINT %I, ADD FOREIGN KEY …', r.name, k.conname)
FROM pg_constraint k
JOIN relation r ON r.oid = k.conrelid JOIN isolating s ON s.relation = r.oid
JOIN relation f ON f.oid = k.confrelid JOIN isolating g ON g.relation = f.oid
WHERE k.contype = 'f' AND k.conparentid = 0
  -- A table isolated through its parent has this key as its only column; the parent's policy then decides.
  AND NOT (k.conkey && s.columns)
UNION ALL
SELECT 'isolation.foreign_key_leak', format('%I on %s', k.conname, r.name),
       format('the key does not include the column that isolates %s', f.name),
       format('-- make the key composite: include the column that isolates %s', f.name)
FROM pg_constraint k
JOIN relation r ON r.oid = k.conrelid JOIN isolating s ON s.relation = r.oid
JOIN relation f ON f.oid = k.confrelid JOIN isolating g ON g.relation = f.oid
WHERE k.contype = 'f' AND k.conparentid = 0 AND cardinality(k.conkey) > 1
  AND k.conkey && s.columns AND NOT (k.confkey && g.columns)
$$;
COMMENT ON FUNCTION ward.posture_keys() IS 'Findings about unique and foreign keys of isolated tables. Part of security_posture().';
