-- Checks of policies. Functions are found in the stored expression itself, so that neither names nor literals deceive.

CREATE FUNCTION ward.posture_occurrences(expression text, part text) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT (length(expression) - length(replace(expression, part, ''))) / nullif(length(part), 0) $$;
COMMENT ON FUNCTION ward.posture_occurrences(text, text) IS 'How often a part stands in an expression. For security_posture().';

CREATE FUNCTION ward.posture_policies()
RETURNS TABLE (check_id text, object text, detail text, remediation text)
LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
WITH policy AS MATERIALIZED (
    SELECT p.oid, p.polrelid AS relation, r.name AS table_name, r.secured, p.polpermissive AS permissive, p.polroles AS roles,
           format('%I on %s', p.polname, r.name) AS object,
           CASE p.polcmd WHEN '*' THEN '{r,a,w,d}'::"char"[] ELSE ARRAY[p.polcmd] END AS commands, p.polcmd AS command,
           coalesce(pg_get_expr(p.polqual, p.polrelid), '') AS condition,
           pg_get_expr(p.polwithcheck, p.polrelid) AS new_rows,
           coalesce(p.polqual::text, '') || coalesce(p.polwithcheck::text, '') AS tree
    FROM pg_policy p JOIN ward.posture_relation r ON r.oid = p.polrelid
),
everybody AS (SELECT array_agg(role) AS roles FROM ward.posture_audience),
-- Tables and commands that a restrictive policy for everybody limits, whatever the permissive ones say.
limited AS MATERIALIZED (
    SELECT DISTINCT relation, command.c AS command FROM policy, unnest(commands) AS command (c)
    WHERE NOT permissive AND roles = '{0}' AND lower(condition) NOT IN ('true', '(true)')
),
-- Policies for a role are joined with those for everybody.
permissive AS MATERIALIZED (
    SELECT p.relation, p.table_name, c.command, role, count(*) AS policies
    FROM policy p, unnest(p.commands) AS c (command), unnest(p.roles) AS role
    WHERE p.permissive AND p.secured
    GROUP BY p.relation, p.table_name, c.command, role
),
used AS MATERIALIZED (
    SELECT DISTINCT p.oid AS policy, (m.ids)[1]::oid AS function FROM policy p, LATERAL regexp_matches(p.tree, ':funcid (\d+)', 'g') AS m (ids)
    UNION
    SELECT p.oid, o.oprcode::oid FROM policy p, LATERAL regexp_matches(p.tree, ':opno (\d+)', 'g') AS m (ids)
    JOIN pg_operator o ON o.oid = (m.ids)[1]::oid
),
call AS MATERIALIZED (
    SELECT p.*, f.oid AS function, f.provolatile, f.proparallel, f.pronargs, f.prosrc, f.prosqlbody::text AS body, l.lanname, n.nspname,
           CASE n.nspname WHEN 'pg_catalog' THEN quote_ident(f.proname) ELSE format('%I.%I', n.nspname, f.proname) END AS name,
           n.nspname = 'pg_catalog' AND f.proname = 'current_setting' AS reads_setting,
           regexp_replace(p.condition || ' ' || coalesce(p.new_rows, ''), 'SELECT \(*', 'SELECT ', 'g') AS text
    FROM policy p JOIN used u ON u.policy = p.oid JOIN pg_proc f ON f.oid = u.function
    JOIN pg_namespace n ON n.oid = f.pronamespace JOIN pg_language l ON l.oid = f.prolang
)
SELECT 'isolation.permissive_policies', p.table_name,
       format('%s permissive policies apply to %s', max(p.several),
              string_agg(DISTINCT CASE p.command WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' ELSE 'DELETE' END, ', ')),
       format('-- merge them, or limit them: CREATE POLICY … ON %s AS RESTRICTIVE …; as ward.enable_tenant_isolation() does', p.table_name)
FROM (
    SELECT o.relation, o.table_name, o.command, o.policies + CASE o.role WHEN 0 THEN 0 ELSE coalesce(e.policies, 0) END AS several
    FROM permissive o LEFT JOIN permissive e ON e.relation = o.relation AND e.command = o.command AND e.role = 0
) p LEFT JOIN limited l USING (relation, command)
WHERE p.several > 1 AND l.relation IS NULL
GROUP BY p.relation, p.table_name
UNION ALL
SELECT 'isolation.policy_always_true', p.object, 'everybody may ' || string_agg(DISTINCT CASE c.command
           WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' ELSE 'DELETE' END, ', '),
       format('DROP POLICY %s; -- or give it a condition', p.object)
FROM policy p CROSS JOIN everybody e, unnest(p.commands) AS c (command)
WHERE p.permissive AND p.secured AND p.roles && e.roles
  -- For UPDATE either side: with a WITH CHECK of true, rows are given to somebody else.
  AND EXISTS (SELECT FROM (VALUES (CASE WHEN c.command <> 'a' THEN p.condition END),
                                  (CASE WHEN c.command IN ('a', 'w') THEN coalesce(p.new_rows, p.condition) END)) AS side (expression)
              WHERE regexp_replace(lower(side.expression), '[\s()]', '', 'g') ~ '^(true|([a-z0-9_.]+)=\2)$')
  AND NOT EXISTS (SELECT FROM limited l WHERE l.relation = p.relation AND l.command = c.command)
GROUP BY p.oid, p.object
UNION ALL
SELECT 'isolation.no_with_check', p.object, CASE p.command WHEN 'a' THEN 'it allows no row' ELSE 'USING is applied to new rows too' END,
       CASE p.command WHEN 'a' THEN format('DROP POLICY %s;', p.object)
            ELSE format('ALTER POLICY %s WITH CHECK (%s);', p.object, p.condition) END
FROM policy p WHERE p.command IN ('a', 'w', '*') AND p.new_rows IS NULL
UNION ALL
SELECT 'isolation.policy_volatile', c.object, 'it calls ' || string_agg(DISTINCT c.function::regprocedure::text, ', '),
       '-- if the function always gives the same result within a statement: ' ||
       string_agg(DISTINCT format('ALTER FUNCTION %s STABLE;', c.function::regprocedure), ' ')
FROM call c WHERE c.provolatile = 'v' GROUP BY c.oid, c.object
UNION ALL
SELECT 'isolation.policy_parallel_unsafe', c.object, 'it calls ' || string_agg(DISTINCT c.function::regprocedure::text, ', '),
       '-- if the function only reads: ' || string_agg(DISTINCT format('ALTER FUNCTION %s PARALLEL SAFE;', c.function::regprocedure), ' ')
FROM call c WHERE c.proparallel = 'u' GROUP BY c.oid, c.object
UNION ALL
-- The extension's own functions are cheap, and bare calls let an index be used.
SELECT 'isolation.policy_initplan', c.object, 'it calls ' || string_agg(DISTINCT c.name || '(…)', ', ') || ' for every row',
       '-- write ' || string_agg(DISTINCT format('(SELECT %s(…))', c.name), ', ') || ' instead of the bare call'
FROM call c
WHERE c.nspname <> 'ward' AND (c.reads_setting OR c.pronargs = 0 AND c.lanname NOT IN ('internal', 'c'))
  AND ward.posture_occurrences(c.text, c.name || '(') > ward.posture_occurrences(c.text, 'SELECT ' || c.name || '(')
GROUP BY c.oid, c.object
UNION ALL
SELECT 'isolation.policy_unindexed', p.object, 'no index begins with ' || string_agg(quote_ident(a.attname), ' or ' ORDER BY a.attnum),
       format('CREATE INDEX %sON %s (%I);', CASE r.relkind WHEN 'p' THEN '' ELSE 'CONCURRENTLY ' END, p.table_name,
              (array_agg(a.attname ORDER BY a.attnum))[1])
FROM policy p JOIN pg_class r ON r.oid = p.relation
JOIN pg_depend d ON d.classid = 'pg_policy'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_class'::regclass
     AND d.refobjid = p.relation AND d.refobjsubid > 0
JOIN pg_attribute a ON a.attrelid = p.relation AND a.attnum = d.refobjsubid
GROUP BY p.oid, p.object, p.table_name, p.relation, r.relkind
HAVING NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = p.relation AND i.indisvalid AND i.indpred IS NULL
                   AND i.indkey[0] = ANY (array_agg(a.attnum)))
UNION ALL
SELECT 'isolation.policy_user_setting', s.object, 'it reads ' || string_agg(DISTINCT s.what, ', '),
       '-- use ward.get_tenant_context(), ward.get_current_tenant_id() or ward.get_current_user_id(), as ward.enable_tenant_isolation() does'
FROM (
    SELECT c.oid, c.object, quote_literal((m.parts)[1]) AS what
    FROM call c, LATERAL regexp_matches(c.text, 'current_setting\(''([^'']*)''', 'g') AS m (parts)
    WHERE c.reads_setting
      AND NOT EXISTS (SELECT FROM pg_settings g WHERE lower(g.name) = lower((m.parts)[1]) AND g.context <> 'user')
    UNION ALL
    SELECT c.oid, c.object, 'a setting that it computes' FROM call c
    WHERE c.reads_setting AND ward.posture_occurrences(c.text, 'current_setting(') > ward.posture_occurrences(c.text, 'current_setting(''')
    UNION ALL
    SELECT c.oid, c.object, 'a setting, in ' || c.function::regprocedure::text FROM call c
    WHERE c.nspname NOT IN ('pg_catalog', 'ward')
      AND (c.prosrc ~* '\mcurrent_setting\M'
           OR EXISTS (SELECT FROM regexp_matches(c.body, ':funcid (\d+)', 'g') AS m (ids)
                      JOIN pg_proc g ON g.oid = (m.ids)[1]::oid AND g.proname = 'current_setting'))
) s GROUP BY s.oid, s.object
UNION ALL
SELECT 'isolation.policy_user_metadata', p.object, 'its user can edit what it reads',
       '-- use a claim that only the issuer sets, as app_metadata, or ward.authenticate()'
FROM policy p WHERE p.condition || coalesce(p.new_rows, '') ~* '\m(raw_)?user_meta(_)?data\M'
$$;
COMMENT ON FUNCTION ward.posture_policies() IS 'Findings about policies. Part of security_posture().';
