-- What row level security does for each table. It runs as the extension's owner only to see that an
-- index is being built; it reads catalogs, which everybody may.

CREATE FUNCTION ward.check_rls_status()
RETURNS TABLE (schemaname name, tablename name, rls_enabled boolean, forced boolean, policies_count integer,
               isolated_by text, column_indexed boolean, index_state text, policy_functions_safe boolean,
               bypassing_roles name[], status text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
WITH RECURSIVE tables AS (
    SELECT c.oid, n.nspname, c.relname, c.relrowsecurity, c.relforcerowsecurity, c.relowner
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
      AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'ward')
      AND NOT EXISTS (SELECT FROM pg_depend d
                      WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
),
ancestry(child, ancestor) AS (
    SELECT i.inhrelid, i.inhparent FROM pg_inherits i
    UNION
    SELECT a.child, i.inhparent FROM ancestry a JOIN pg_inherits i ON i.inhrelid = a.ancestor
),
isolated AS MATERIALIZED (
    SELECT i.tab::oid AS rel, i.kind, i.columns, i.parent, p.polname,
           -- As pg_ward made it: a plain comparison with the context, for everybody and every command.
           p.polcmd = '*' AND p.polroles = '{0}'
           AND pg_get_expr(p.polqual, p.polrelid) IS NOT DISTINCT FROM pg_get_expr(p.polwithcheck, p.polrelid)
           AND CASE i.kind
               WHEN 'parent' THEN i.parent IS NOT NULL
                    AND pg_get_expr(p.polqual, p.polrelid) LIKE '(EXISTS ( SELECT 1%'
                    AND pg_get_expr(p.polqual, p.polrelid) LIKE '% = ward.get\_%'
                    -- Words of SQL are in capitals here, and names in capitals are quoted.
                    AND regexp_replace(pg_get_expr(p.polqual, p.polrelid), '"([^"]|"")*"', '', 'g')
                        !~ '\m(OR|NOT|UNION|INTERSECT|EXCEPT|CASE|COALESCE|JOIN|GROUP|HAVING|IS|ANY|ALL|VALUES)\M'
               ELSE EXISTS (SELECT FROM unnest(i.columns) AS c(name),
                                        regexp_match(pg_get_expr(p.polqual, p.polrelid),
                                                     '^\((.*) = ward\.(get_\w+)\(\)\)$') AS m(part)
                            WHERE (m.part[1] = quote_ident(c.name)
                                   OR m.part[1] IN (SELECT format('(%I)::%s', c.name, t)
                                                    FROM unnest('{uuid,text,smallint,integer,bigint}'::text[]) t))
                              AND m.part[2] = ANY (CASE i.kind
                                  WHEN 'tenant' THEN '{get_current_tenant_id,get_tenant_context,get_current_tenant_number}'::text[]
                                  ELSE '{get_current_user_id,get_user_context,get_current_user_number}'::text[] END))
               END AS intact,
           CASE WHEN EXISTS (SELECT FROM pg_index x JOIN pg_class xc ON xc.oid = x.indexrelid
                             JOIN pg_am am ON am.oid = xc.relam AND am.amname IN ('btree', 'hash')
                             WHERE x.indrelid = i.tab AND x.indkey[0] = ANY (i.column_numbers)
                               AND x.indisvalid AND x.indpred IS NULL) THEN 'valid'
                WHEN EXISTS (SELECT FROM pg_stat_progress_create_index b
                             WHERE b.datname = current_database()
                               AND (b.relid = i.tab OR b.relid IN (SELECT t.relid FROM pg_partition_tree(i.tab) t)))
                THEN 'building'
                WHEN EXISTS (SELECT FROM pg_index x
                             WHERE x.indrelid = i.tab AND x.indkey[0] = ANY (i.column_numbers)
                               AND NOT x.indisvalid) THEN 'invalid'
                ELSE 'missing' END AS index_state,
           -- What a build that was interrupted left behind: it costs writers and serves nobody.
           (SELECT string_agg(x.indexrelid::regclass::text, ', ' ORDER BY x.indexrelid)
            FROM pg_index x
            WHERE x.indrelid = i.tab AND x.indkey[0] = ANY (i.column_numbers) AND NOT x.indisvalid
              AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index b
                              WHERE b.datname = current_database() AND b.index_relid = x.indexrelid)) AS leftover
    FROM ward.isolated_tables i JOIN pg_policy p ON p.oid = i.policy
),
policies AS (
    SELECT p.polrelid AS rel, count(*)::integer AS number, bool_or(p.polpermissive) AS permissive,
           -- Built-in functions leave no dependency; the expression names them all.
           NOT EXISTS (SELECT FROM pg_policy q,
                              regexp_matches(concat(q.polqual::text, q.polwithcheck::text),
                                             ':(?:op)?funcid (\d+)', 'g') AS f(oid)
                       JOIN pg_proc fn ON fn.oid = f.oid[1]::oid
                       WHERE q.polrelid = p.polrelid AND (fn.provolatile = 'v' OR fn.proparallel <> 's')) AS safe
    FROM pg_policy p GROUP BY p.polrelid
),
per_table AS (
    SELECT i.rel, string_agg(format('%s (%s)', i.kind, array_to_string(i.columns, ', ')), ', '
                             ORDER BY array_position(ARRAY['tenant', 'user', 'parent'], i.kind)) AS isolated_by,
           (array_agg(i.index_state ORDER BY array_position(ARRAY['missing', 'invalid', 'building'], i.index_state)))[1] AS index_state,
           string_agg(DISTINCT i.leftover, ', ') AS leftover,
           string_agg(i.polname, ', ' ORDER BY i.polname) FILTER (WHERE NOT i.intact) AS changed,
           string_agg(i.parent::text, ', ' ORDER BY i.parent::text) FILTER (WHERE i.kind = 'parent' AND NOT EXISTS
               (SELECT FROM isolated up WHERE up.rel = i.parent)) AS open_parents
    FROM isolated i GROUP BY i.rel
)
SELECT t.nspname, t.relname, t.relrowsecurity, t.relforcerowsecurity, COALESCE(p.number, 0), i.isolated_by,
       i.index_state = 'valid', i.index_state, p.safe,
       CASE WHEN t.relrowsecurity THEN ARRAY(
           SELECT r.rolname FROM pg_roles r
           WHERE NOT r.rolsuper
             AND (r.rolbypassrls OR (NOT t.relforcerowsecurity AND pg_has_role(r.oid, t.relowner, 'USAGE')))
           ORDER BY r.rolname) END,
       COALESCE(NULLIF(concat_ws('; ',
           CASE WHEN i.rel IS NULL AND p.rel IS NULL AND NOT t.relrowsecurity AND above.names IS NULL
                THEN 'not isolated' END,
           CASE WHEN i.rel IS NULL AND p.rel IS NOT NULL THEN 'has policies, but none of pg_ward' END,
           CASE WHEN i.rel IS NULL AND above.names IS NOT NULL
                THEN format('isolated only when read through %s: enable isolation there again', above.names) END,
           CASE WHEN NOT t.relrowsecurity AND p.rel IS NOT NULL THEN 'row level security is disabled' END,
           CASE WHEN t.relrowsecurity AND NOT t.relforcerowsecurity
                THEN 'row level security is not forced: the owner is not bound' END,
           CASE WHEN t.relrowsecurity AND p.permissive IS NOT TRUE THEN 'no permissive policy: nobody sees a row' END,
           'changed: ' || i.changed,
           'the parent is not isolated any more: ' || i.open_parents,
           'not covered: ' || below.names,
           CASE WHEN i.index_state <> 'valid' THEN 'index ' || i.index_state END,
           'drop the invalid index ' || i.leftover,
           CASE WHEN NOT p.safe THEN 'a policy uses a volatile or parallel-unsafe function' END), ''), 'ok')
FROM tables t
LEFT JOIN policies p ON p.rel = t.oid
LEFT JOIN per_table i ON i.rel = t.oid
LEFT JOIN LATERAL (
    SELECT string_agg(a.ancestor::regclass::text, ', ' ORDER BY a.ancestor) AS names
    FROM ancestry a WHERE a.child = t.oid AND EXISTS (SELECT FROM isolated u WHERE u.rel = a.ancestor)) above ON true
LEFT JOIN LATERAL (
    SELECT string_agg(a.child::regclass::text, ', ' ORDER BY a.child) AS names
    FROM ancestry a
    WHERE a.ancestor = t.oid
      AND EXISTS (SELECT FROM isolated u WHERE u.rel = t.oid
                  AND NOT EXISTS (SELECT FROM isolated d WHERE d.rel = a.child AND d.kind = u.kind))) below ON true
ORDER BY t.nspname, t.relname
$function$;

GRANT EXECUTE ON FUNCTION ward.check_rls_status() TO PUBLIC;
COMMENT ON FUNCTION ward.check_rls_status() IS
'Row level security of every table of the application: what it is isolated by, whether the index is there, who gets past it, and what is wrong. Reads catalogs only.';
