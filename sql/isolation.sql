-- Isolation of tables: which are isolated, grants and comments.

-- What a table had before is in the comment of its policy; there is no table of state that a rename, a
-- restore or a change of owner could make wrong.
CREATE VIEW ward.isolated_tables AS
SELECT p.polrelid::pg_catalog.regclass AS tab, k.kind, own.columns, up.parent,
       own.numbers AS column_numbers, p.oid AS policy
FROM pg_catalog.pg_policy p
JOIN (VALUES ('ward_tenant_isolation', 'tenant'), ('ward_user_isolation', 'user'),
             ('ward_parent_isolation', 'parent')) AS k(policy, kind) ON k.policy = p.polname
CROSS JOIN LATERAL (
    SELECT pg_catalog.array_agg(a.attnum ORDER BY a.attnum) AS numbers,
           pg_catalog.array_agg(a.attname ORDER BY a.attnum) AS columns
    FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = p.polrelid
      AND EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass AND d.objid = p.oid
                    AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                    AND d.refobjid = p.polrelid AND d.refobjsubid = a.attnum)) AS own
LEFT JOIN LATERAL (
    SELECT f.confrelid::pg_catalog.regclass AS parent
    FROM pg_catalog.pg_constraint f
    WHERE k.kind = 'parent' AND f.contype = 'f'
      -- A table that inherits from another does not inherit its foreign keys.
      AND f.conrelid IN (SELECT p.polrelid UNION ALL
                         SELECT i.inhparent FROM pg_catalog.pg_inherits i WHERE i.inhrelid = p.polrelid)
      AND EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass AND d.objid = p.oid
                    AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                    AND d.refobjid = f.confrelid AND d.refobjid <> p.polrelid)
    ORDER BY f.conrelid <> p.polrelid,
             NOT (f.conkey OPERATOR(pg_catalog.<@) own.numbers
                  AND f.conkey OPERATOR(pg_catalog.@>) own.numbers), f.oid
    LIMIT 1) AS up ON true
WHERE NOT p.polpermissive;

GRANT SELECT ON ward.isolated_tables TO PUBLIC;

COMMENT ON VIEW ward.isolated_tables IS 'The tables isolated by pg_ward: by tenant, user or parent, a row for each.';
COMMENT ON COLUMN ward.isolated_tables.columns IS 'The columns that say whose a row is: the tenant''s, the user''s, or the foreign key to the parent.';
COMMENT ON COLUMN ward.isolated_tables.parent IS 'The table whose rows say whose this table''s rows are.';
COMMENT ON COLUMN ward.isolated_tables.column_numbers IS 'The same columns as pg_attribute.attnum.';
COMMENT ON COLUMN ward.isolated_tables.policy IS 'The policy''s oid in pg_policy.';

-- Each of them checks that the caller owns the table.
GRANT EXECUTE ON FUNCTION
    ward.enable_tenant_isolation(regclass, name, text),
    ward.enable_user_isolation(regclass, name, text),
    ward.enable_parent_isolation(regclass, name, text),
    ward.disable_isolation(regclass, bool)
TO PUBLIC;
-- Code of the table (triggers, functions in policies and defaults) runs in the contexts that are tried, in token
-- mode too. Acting for any tenant is for the DBA to grant.
REVOKE ALL ON FUNCTION ward.test_isolation(regclass, name, text, text) FROM PUBLIC;

COMMENT ON FUNCTION ward.enable_tenant_isolation(regclass, name, text) IS
'Enables and forces row level security by a tenant column, on the table and all that inherits from it, partitions included. Call it again for new partitions. create_index: auto, now, concurrently, never. Only for the owner.';
COMMENT ON FUNCTION ward.enable_user_isolation(regclass, name, text) IS
'As enable_tenant_isolation, by a user column. A table isolated by both shows the rows that are the tenant''s and the user''s.';
COMMENT ON FUNCTION ward.enable_parent_isolation(regclass, name, text) IS
'As enable_tenant_isolation, for a table whose rows belong to whoever the row of the parent table belongs to that the foreign key refers to. The parent must be isolated.';
COMMENT ON FUNCTION ward.disable_isolation(regclass, bool) IS
'Removes what the enable functions created, with drop_index also the index, and restores the row level security and column default the table had before. Only for the owner.';
COMMENT ON FUNCTION ward.test_isolation(regclass, name, text, text) IS
'Tries as a role, in a subtransaction that is rolled back, to read, insert, change, delete and move rows across two contexts, and reports each attempt. Only for the owner, who must be allowed to become that role.';
