-- Foreign and unique keys that reach across isolation. PostgreSQL checks them without row level security.

CREATE FUNCTION ward.isolation_foreign_keys(tab regclass DEFAULT NULL)
RETURNS TABLE (table_name regclass, constraint_name name, kind text, problem text, remediation text)
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $function$
WITH isolated AS MATERIALIZED (
    SELECT i.tab::oid AS rel, i.kind, i.column_numbers AS cols, i.parent::oid AS parent
    FROM ward.isolated_tables i
),
-- The isolations of the referenced table that the referencing table does not follow.
gap AS (
    SELECT f.oid AS key, above.kind, above.cols AS above_cols, below.cols AS below_cols
    FROM pg_constraint f
    JOIN isolated above ON above.rel = f.confrelid
    LEFT JOIN isolated below ON below.rel = f.conrelid AND below.kind = above.kind
         AND (above.kind <> 'parent' OR f.conrelid = f.confrelid)
    WHERE f.contype = 'f' AND f.conparentid = 0
      AND (tab IS NULL OR f.conrelid = tab OR f.confrelid = tab)
      -- The policy of the referencing table looks at the referenced row itself.
      AND NOT EXISTS (SELECT FROM isolated p WHERE p.rel = f.conrelid AND p.kind = 'parent'
                      AND p.parent = f.confrelid AND p.cols && f.conkey)
      -- The key holds the tenant or user of both rows.
      AND (below.cols IS NULL
           OR EXISTS (SELECT FROM unnest(below.cols, above.cols) AS need(here, there)
                      WHERE NOT EXISTS (SELECT FROM unnest(f.conkey, f.confkey) AS k(here, there)
                                        WHERE k.here = need.here AND k.there = need.there)))
),
broken AS (
    SELECT f.*, string_agg(g.kind, ' and ' ORDER BY g.kind) AS kinds,
           bool_and(g.below_cols IS NOT NULL) AS same_kinds,
           bool_or(g.below_cols IS NOT NULL) AS any_kind
    FROM gap g JOIN pg_constraint f ON f.oid = g.key
    GROUP BY f.oid
),
composite AS (
    SELECT b.oid AS key, k.here_list, k.there_list, k.there
    FROM broken b
    CROSS JOIN LATERAL (
        SELECT string_agg(quote_ident(h.attname), ', ' ORDER BY c.place) AS here_list,
               string_agg(quote_ident(t.attname), ', ' ORDER BY c.place) AS there_list,
               array_agg(c.there ORDER BY c.there) AS there
        FROM (SELECT need.here, need.there, 0 AS place
              FROM gap g, unnest(g.below_cols, g.above_cols) AS need(here, there)
              WHERE g.key = b.oid
                AND NOT EXISTS (SELECT FROM unnest(b.conkey, b.confkey) AS k(here, there)
                                WHERE k.here = need.here AND k.there = need.there)
              UNION ALL
              SELECT k.here, k.there, k.place
              FROM unnest(b.conkey, b.confkey) WITH ORDINALITY AS k(here, there, place)) AS c
        JOIN pg_attribute h ON h.attrelid = b.conrelid AND h.attnum = c.here
        JOIN pg_attribute t ON t.attrelid = b.confrelid AND t.attnum = c.there) AS k
    WHERE b.same_kinds
)
SELECT b.conrelid::regclass, b.conname, 'foreign key',
       CASE WHEN b.any_kind OR EXISTS (SELECT FROM isolated i WHERE i.rel = b.conrelid)
            THEN format('a row can refer to a row of another %s%s', replace(b.kinds, 'parent', 'owner'),
                        CASE WHEN b.confdeltype IN ('c', 'n', 'd') OR b.confupdtype IN ('c', 'n', 'd')
                             THEN ', whose changes reach it' ELSE '' END)
            ELSE format('the table is not isolated, and its rows can refer to every row of %s', b.confrelid::regclass)
       END,
       CASE WHEN b.same_kinds THEN concat_ws(' ',
            CASE WHEN NOT EXISTS (
                     SELECT FROM pg_index u
                     WHERE u.indrelid = b.confrelid AND u.indisunique AND u.indimmediate AND u.indisvalid
                       AND u.indpred IS NULL AND u.indexprs IS NULL
                       AND ARRAY(SELECT c FROM unnest((u.indkey::int2[])[0:u.indnkeyatts - 1]) c ORDER BY c) = c.there)
                 THEN format('ALTER TABLE %s ADD UNIQUE (%s);', b.confrelid::regclass, c.there_list) END,
            format('ALTER TABLE %s DROP CONSTRAINT %I, ADD CONSTRAINT %I FOREIGN KEY (%s) REFERENCES %s (%s)%s%s%s%s%s;',
                   b.conrelid::regclass, b.conname, b.conname, c.here_list, b.confrelid::regclass, c.there_list,
                   CASE b.confupdtype WHEN 'r' THEN ' ON UPDATE RESTRICT' WHEN 'c' THEN ' ON UPDATE CASCADE'
                        WHEN 'n' THEN ' ON UPDATE SET NULL' WHEN 'd' THEN ' ON UPDATE SET DEFAULT' ELSE '' END,
                   CASE b.confdeltype WHEN 'r' THEN ' ON DELETE RESTRICT' WHEN 'c' THEN ' ON DELETE CASCADE'
                        WHEN 'n' THEN ' ON DELETE SET NULL' WHEN 'd' THEN ' ON DELETE SET DEFAULT' ELSE '' END,
                   -- The tenant must stay when the rest is set to NULL.
                   CASE WHEN b.confdeltype IN ('n', 'd') THEN
                        (SELECT format(' (%s)', string_agg(quote_ident(a.attname), ', ' ORDER BY s.place))
                         FROM unnest(COALESCE(b.confdelsetcols, b.conkey)) WITH ORDINALITY AS s(number, place)
                         JOIN pg_attribute a ON a.attrelid = b.conrelid AND a.attnum = s.number)
                        ELSE '' END,
                   CASE WHEN b.condeferred THEN ' DEFERRABLE INITIALLY DEFERRED'
                        WHEN b.condeferrable THEN ' DEFERRABLE' ELSE '' END,
                   CASE WHEN r.relkind = 'p' THEN '' ELSE ' NOT VALID' END),
            CASE WHEN r.relkind <> 'p'
                 THEN format('ALTER TABLE %s VALIDATE CONSTRAINT %I;', b.conrelid::regclass, b.conname) END)
       ELSE format('SELECT ward.enable_parent_isolation(%L, %L);', b.conrelid::regclass,
                   (SELECT a.attname FROM pg_attribute a WHERE a.attrelid = b.conrelid AND a.attnum = b.conkey[1]))
       END
FROM broken b
JOIN pg_class r ON r.oid = b.conrelid
LEFT JOIN composite c ON c.key = b.oid
UNION ALL
SELECT i.indrelid::regclass, c.relname, 'unique key',
       'a duplicate tells that somebody else''s row has this key',
       CASE WHEN EXISTS (SELECT FROM pg_constraint f WHERE f.contype = 'f' AND f.conindid = i.indexrelid)
              OR i.indisexclusion OR i.indexprs IS NOT NULL THEN NULL
            WHEN u.oid IS NOT NULL
            THEN format('ALTER TABLE %s DROP CONSTRAINT %I, ADD CONSTRAINT %I %s;', i.indrelid::regclass, u.conname,
                        u.conname, regexp_replace(pg_get_constraintdef(u.oid), '\(', '(' || lead.columns || ', '))
            ELSE format('DROP INDEX %s; %s;', i.indexrelid::regclass,
                        regexp_replace(pg_get_indexdef(i.indexrelid), ' USING (\w+) \(',
                                       ' USING \1 (' || lead.columns || ', '))
       END
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid AND NOT c.relispartition
LEFT JOIN pg_constraint u ON u.conindid = i.indexrelid AND u.contype IN ('p', 'u')
CROSS JOIN LATERAL (
    SELECT replace(string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum), '\', '\\') AS columns
    FROM (SELECT s.cols FROM isolated s WHERE s.rel = i.indrelid
          ORDER BY array_position(ARRAY['tenant', 'user', 'parent'], s.kind) LIMIT 1) AS first
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (first.cols)) AS lead
WHERE (i.indisunique OR i.indisexclusion) AND lead.columns IS NOT NULL
  AND (tab IS NULL OR i.indrelid = tab)
  AND NOT EXISTS (SELECT FROM isolated s
                  WHERE s.rel = i.indrelid AND s.cols && (i.indkey::int2[])[0:i.indnkeyatts - 1])
  -- Nobody guesses a random key.
  AND NOT EXISTS (SELECT FROM pg_attribute a
                  WHERE a.attrelid = i.indrelid AND a.atttypid = 'uuid'::regtype
                    AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]))
ORDER BY 3, 1, 2
$function$;

GRANT EXECUTE ON FUNCTION ward.isolation_foreign_keys(regclass) TO PUBLIC;
COMMENT ON FUNCTION ward.isolation_foreign_keys(regclass) IS
'Foreign keys through which a row can refer to somebody else''s, and unique keys that tell of such rows, with the statements that close them. Reads catalogs only.';
