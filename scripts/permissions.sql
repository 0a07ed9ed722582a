-- Every object of the extension in schema ward and who may use it, as rows of a Markdown table.
-- scripts/permissions writes them to docs/permissions.md; a test compares.
WITH member AS (
    SELECT d.classid, d.objid
    FROM pg_catalog.pg_depend d
    JOIN pg_catalog.pg_extension e ON d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.refobjid = e.oid
    WHERE d.deptype = 'e' AND e.extname = 'pg_ward'
),
object AS (
    SELECT CASE p.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END AS kind,
           pg_catalog.format('ward.%s(%s)', p.proname, pg_catalog.oidvectortypes(p.proargtypes)) AS signature,
           p.proowner AS owner, coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner)) AS acl, p.prosecdef AS definer
    FROM member m JOIN pg_catalog.pg_proc p ON m.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND p.oid = m.objid
    UNION ALL
    SELECT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'S' THEN 'sequence' ELSE 'table' END, 'ward.' || c.relname, c.relowner,
           coalesce(c.relacl, pg_catalog.acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner)), false
    FROM member m JOIN pg_catalog.pg_class c ON m.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND c.oid = m.objid
    WHERE c.relkind IN ('r', 'v', 'S')
    UNION ALL
    SELECT 'type', 'ward.' || t.typname, t.typowner, coalesce(t.typacl, pg_catalog.acldefault('T', t.typowner)), false
    FROM member m JOIN pg_catalog.pg_type t ON m.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND t.oid = m.objid
    WHERE (t.typelem = 0 OR t.typtype <> 'b')
      -- row types of tables and views, members themselves from PostgreSQL 17 on
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = t.typrelid AND c.relkind <> 'c')
),
granted AS (
    SELECT o.kind, o.signature, o.definer,
           (SELECT pg_catalog.string_agg(w.who || CASE WHEN o.kind IN ('table', 'view', 'sequence') THEN ': ' || w.what ELSE '' END, '; ' ORDER BY w.who)
            FROM (SELECT coalesce(r.rolname, 'everybody') AS who, pg_catalog.string_agg(a.privilege_type, ', ' ORDER BY a.privilege_type) AS what
                  FROM pg_catalog.aclexplode(o.acl) a LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
                  WHERE a.grantee <> o.owner GROUP BY r.rolname) w) AS who
    FROM object o
)
SELECT pg_catalog.format('| %s | `%s` | %s%s |', kind, signature, coalesce(who, 'the owner'),
                         CASE WHEN definer THEN ' (runs as the owner)' ELSE '' END) AS line
FROM granted
ORDER BY pg_catalog.array_position('{function,procedure,aggregate,view,table,sequence,type}', kind), signature COLLATE "C";
