-- Converting columns that exist already: what is in the way, and what is being converted.
--
-- Everything here runs with the caller's rights, so PostgreSQL's own rules hold for who may alter a
-- table. A conversion is a column, a trigger and a constraint of the user's table, which a dump
-- carries; only how far it has come is stored here, and a restored conversion starts over.

CREATE TABLE ward.column_conversion (
    relation    oid NOT NULL,
    target      name NOT NULL,
    file        oid NOT NULL,
    next_block  bigint NOT NULL DEFAULT 0 CHECK (next_block >= 0),
    blocks      bigint NOT NULL CHECK (blocks >= 0),
    changed     bigint NOT NULL DEFAULT 0,
    started_at  timestamptz NOT NULL DEFAULT pg_catalog.now(),
    updated_at  timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (relation, target)
);
COMMENT ON TABLE ward.column_conversion IS 'How far running conversions of columns have come, per table or partition.';
REVOKE ALL ON ward.column_conversion FROM PUBLIC;

CREATE FUNCTION ward.keep_in_step() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'ward_keep_in_step';
COMMENT ON FUNCTION ward.keep_in_step() IS
    'Trigger that fills the new column of a conversion while others write the table. Its arguments name the old and the new column.';

CREATE FUNCTION ward.conversion_name(name name) RETURNS name
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT ('ward_new_' || CASE WHEN octet_length(name::text) <= 48 THEN name::text ELSE md5(name::text) END)::name $$;
COMMENT ON FUNCTION ward.conversion_name(name) IS 'What a column or an index is called until a conversion is finished.';

-- The conversions there are, from the triggers that make them.
CREATE VIEW ward.column_conversion_trigger AS
    SELECT t.tgrelid AS relation, t.tgname AS name, t.tgenabled AS enabled,
           ward.audit_trigger_argument(t.tgargs, 1)::name AS source, ward.audit_trigger_argument(t.tgargs, 2)::name AS target
    FROM pg_catalog.pg_trigger t
    WHERE t.tgfoid = 'ward.keep_in_step()'::pg_catalog.regprocedure AND t.tgparentid = 0;
COMMENT ON VIEW ward.column_conversion_trigger IS 'Triggers that keep the new column of a conversion in step with the old one.';
GRANT SELECT ON ward.column_conversion_trigger TO PUBLIC;

-- Names and numbers of blocks only: nothing that pg_class would not tell.
CREATE VIEW ward.column_conversions AS
    SELECT n.nspname AS table_schema, c.relname AS table_name, t.source AS column_name,
           pg_catalog.format_type(a.atttypid, a.atttypmod) AS new_type,
           coalesce(p.done, 0) AS blocks_done, coalesce(p.blocks, 0) AS blocks, coalesce(p.changed, 0) AS rows_converted,
           round(100.0 * coalesce(p.done, 0) / nullif(p.blocks, 0), 1) AS percentage,
           p.started_at, p.updated_at
    FROM ward.column_conversion_trigger t
    JOIN pg_catalog.pg_class c ON c.oid = t.relation
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = t.target
    CROSS JOIN LATERAL (
        SELECT pg_catalog.sum(least(s.next_block, s.blocks)) AS done, pg_catalog.sum(s.blocks) AS blocks,
               pg_catalog.sum(s.changed) AS changed, pg_catalog.min(s.started_at) AS started_at,
               pg_catalog.max(s.updated_at) AS updated_at
        FROM ward.column_conversion s
        WHERE s.target = t.target
          AND s.relation IN (SELECT c.oid UNION ALL SELECT pg_partition_tree.relid FROM pg_catalog.pg_partition_tree(c.oid))
    ) AS p;
COMMENT ON VIEW ward.column_conversions IS 'Conversions of columns that are under way or were interrupted, and how far they have come.';
GRANT SELECT ON ward.column_conversions TO PUBLIC;

-- The tables that hold the rows of a table.
CREATE FUNCTION ward.conversion_tables(tab regclass) RETURNS regclass[]
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT CASE WHEN (SELECT relkind FROM pg_class WHERE oid = tab) = 'p'
                    THEN coalesce((SELECT array_agg(relid ORDER BY relid) FROM pg_partition_tree(tab) WHERE isleaf), '{}')
                    ELSE ARRAY[tab] END
    $$;
COMMENT ON FUNCTION ward.conversion_tables(regclass) IS 'A table, or the leaves of a partitioned table.';

-- Indexes that a conversion can make anew on the new column; constraint: 'u' or 'p' if the index carries one.
CREATE FUNCTION ward.conversion_indexes(tab regclass, col name)
    RETURNS TABLE (index oid, index_name name, "constraint" name, kind "char", "deferrable" text)
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT i.indexrelid, c.relname, k.conname, k.contype,
               CASE WHEN k.condeferrable THEN ' DEFERRABLE' ELSE '' END || CASE WHEN k.condeferred THEN ' INITIALLY DEFERRED' ELSE '' END
        FROM pg_attribute a
        JOIN pg_index i ON i.indrelid = a.attrelid AND a.attnum = ANY (i.indkey::int2[])
        JOIN pg_class c ON c.oid = i.indexrelid
        LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid AND k.conrelid = tab AND k.contype IN ('p', 'u', 'x')
        WHERE a.attrelid = tab AND a.attname = col AND NOT a.attisdropped
        ORDER BY i.indexrelid
    $$;
COMMENT ON FUNCTION ward.conversion_indexes(regclass, name) IS 'The indexes that a column is part of, with their constraints.';

-- Why a column cannot be converted, in words. Uniqueness of a partitioned table cannot be moved online.
CREATE FUNCTION ward.conversion_obstacles(tab regclass, col name, searchable boolean DEFAULT true, online boolean DEFAULT true)
    RETURNS SETOF text
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
    AS $$
        WITH member AS (
            SELECT tab::oid AS relation UNION SELECT relid FROM pg_partition_tree(tab)
        ), the_column AS (
            SELECT a.attrelid AS relation, a.attnum AS number, a.attgenerated <> '' OR a.attidentity <> '' AS computed
            FROM member JOIN pg_attribute a ON a.attrelid = member.relation
            WHERE a.attname = col AND a.attnum > 0 AND NOT a.attisdropped
        ), index_part AS (
            SELECT i.indexrelid, i.indrelid, i.indisunique, i.indisreplident, i.indisvalid,
                   i.indexprs IS NOT NULL OR i.indpred IS NOT NULL AS computed,
                   coalesce(i.indexprs::text, '') || coalesce(i.indpred::text, '')
                       ~ format(':varattno %s ', c.number) AS mentions,
                   place.at IS NULL OR place.at > i.indnkeyatts AS included, o.opcdefault AND o.opckeytype = 0
                       AND m.amname IN ('btree', 'hash') AS plain
            FROM the_column c
            JOIN pg_index i ON i.indrelid = c.relation
            JOIN pg_class x ON x.oid = i.indexrelid
            JOIN pg_am m ON m.oid = x.relam
            LEFT JOIN LATERAL (SELECT at FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (number, at)
                               WHERE k.number = c.number LIMIT 1) AS place ON true
            LEFT JOIN pg_opclass o ON o.oid = (i.indclass::oid[])[place.at - 1]
            WHERE place.at IS NOT NULL
               OR coalesce(i.indexprs::text, '') || coalesce(i.indpred::text, '') ~ format(':varattno %s ', c.number)
        )
        SELECT DISTINCT format('%s uses the column', pg_describe_object(d.classid, d.objid, d.objsubid))
        FROM the_column c
        JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = c.relation AND d.refobjsubid = c.number
        WHERE NOT (d.classid = 'pg_class'::regclass AND d.objid IN (SELECT indexrelid FROM index_part))
          AND NOT (d.classid = 'pg_class'::regclass AND d.objid = c.relation AND d.deptype = 'i')
          AND NOT (d.classid = 'pg_attrdef'::regclass AND NOT c.computed AND EXISTS (
                SELECT FROM pg_attrdef f WHERE f.oid = d.objid AND f.adrelid = c.relation AND f.adnum = c.number))
          AND NOT (d.classid = 'pg_constraint'::regclass AND EXISTS (
                SELECT FROM pg_constraint k WHERE k.oid = d.objid AND k.contype IN ('p', 'u', 'n')))
          -- The constraint of a conversion goes with the old column.
          AND NOT (d.classid = 'pg_constraint'::regclass AND EXISTS (
                SELECT FROM pg_constraint k JOIN ward.column_conversion_trigger t ON t.relation = tab AND t.source = col
                WHERE k.oid = d.objid AND k.contype = 'c' AND k.conname = ward.conversion_name(col)))
        UNION ALL
        SELECT format('index %s uses the column in an expression or a condition', indexrelid::regclass) FROM index_part WHERE mentions
        UNION ALL
        SELECT format('index %s has an operator class that the new type does not have', indexrelid::regclass)
        FROM index_part WHERE NOT included AND NOT mentions AND NOT coalesce(plain, false)
        UNION ALL
        SELECT format('index %s needs a type that can be compared', indexrelid::regclass)
        FROM index_part WHERE NOT searchable AND NOT included AND NOT mentions
        UNION ALL
        SELECT format('index %s is the replica identity', indexrelid::regclass) FROM index_part WHERE online AND indisreplident
        UNION ALL
        SELECT format('unique index %s of a partitioned table cannot be replaced online', indexrelid::regclass)
        FROM index_part JOIN pg_class r ON r.oid = indrelid WHERE online AND indisunique AND r.relkind = 'p'
        UNION ALL
        SELECT 'the column is generated or an identity column' FROM the_column WHERE relation = tab AND computed
        UNION ALL
        SELECT format('%s is partitioned by the column', p.partrelid::regclass)
        FROM the_column c JOIN pg_partitioned_table p ON p.partrelid = c.relation
        WHERE c.number = ANY (p.partattrs::int2[]) OR p.partexprs::text ~ format(':varattno %s ', c.number)
        UNION ALL
        SELECT format('the table is a partition of %s, which has to be converted as a whole', h.inhparent::regclass)
        FROM pg_inherits h JOIN pg_class r ON r.oid = h.inhrelid WHERE h.inhrelid = tab AND r.relispartition
        UNION ALL
        SELECT format('the table inherits from %s', h.inhparent::regclass)
        FROM pg_inherits h JOIN pg_class r ON r.oid = h.inhrelid WHERE h.inhrelid = tab AND NOT r.relispartition
        UNION ALL
        SELECT format('table %s inherits from the table', h.inhrelid::regclass)
        FROM pg_inherits h JOIN pg_class r ON r.oid = h.inhparent WHERE h.inhparent = tab AND r.relkind <> 'p'
        UNION ALL
        SELECT format('partition %s is a foreign table', r.oid::regclass)
        FROM member JOIN pg_class r ON r.oid = member.relation WHERE r.relkind = 'f'
        UNION ALL
        -- From PostgreSQL 18 on: rows that break it could not be converted.
        SELECT format('%s is not validated', pg_describe_object('pg_constraint'::regclass, k.oid, 0))
        FROM the_column c JOIN pg_constraint k ON k.conrelid = c.relation AND c.number = ANY (k.conkey)
        WHERE online AND k.contype = 'n' AND NOT k.convalidated
        UNION ALL
        SELECT format('trigger %I on %s would run after the one of the conversion, and could change the row once more', g.tgname, g.tgrelid::regclass)
        FROM member JOIN pg_trigger g ON g.tgrelid = member.relation
        WHERE online AND g.tgtype & 3 = 3 AND g.tgname::text COLLATE "C" > '~' AND g.tgfoid <> 'ward.keep_in_step()'::regprocedure
    $$;
COMMENT ON FUNCTION ward.conversion_obstacles(regclass, name, boolean, boolean) IS
    'What stands in the way of converting a column, one row each. Drop or change it first.';

-- Raises unless the caller may convert the column and nothing stands in the way.
CREATE FUNCTION ward.require_convertible(tab regclass, col name, to_text boolean, searchable boolean, online boolean) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        relation pg_class;
        kind oid;
        obstacles text;
    BEGIN
        IF tab IS NULL OR col IS NULL THEN
            RAISE EXCEPTION 'the table and the column must not be NULL' USING ERRCODE = 'null_value_not_allowed';
        END IF;
        SELECT * INTO relation FROM pg_class WHERE oid = tab;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'the table does not exist' USING ERRCODE = 'undefined_table';
        END IF;
        IF relation.relkind NOT IN ('r', 'p') OR relation.relnamespace IN ('ward'::regnamespace, 'pg_catalog'::regnamespace) THEN
            RAISE EXCEPTION '% is not an ordinary or partitioned table of an application', tab USING ERRCODE = 'wrong_object_type';
        END IF;
        IF NOT pg_has_role(relation.relowner, 'USAGE') THEN
            RAISE EXCEPTION 'must be owner of table %', tab USING ERRCODE = 'insufficient_privilege';
        END IF;
        SELECT atttypid INTO kind FROM pg_attribute WHERE attrelid = tab AND attname = col AND attnum > 0 AND NOT attisdropped;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'table % has no column %', tab, quote_ident(col) USING ERRCODE = 'undefined_column';
        END IF;
        IF to_text AND kind NOT IN ('ward.encrypted_text'::regtype, 'ward.secret_text'::regtype) THEN
            RAISE EXCEPTION 'column % of table % is not of an encrypted type', quote_ident(col), tab USING ERRCODE = 'datatype_mismatch';
        ELSIF NOT to_text AND kind NOT IN ('text'::regtype, 'varchar'::regtype) THEN
            RAISE EXCEPTION 'column % of table % is of type %', quote_ident(col), tab, kind::regtype
                USING ERRCODE = 'datatype_mismatch',
                      HINT = 'Columns of type text and character varying can be converted. Change the type to text first.';
        END IF;
        SELECT string_agg(o, '; ' ORDER BY o) INTO obstacles FROM ward.conversion_obstacles(tab, col, searchable, online) AS o;
        IF obstacles IS NOT NULL THEN
            RAISE EXCEPTION 'column % of table % cannot be converted', quote_ident(col), tab
                USING ERRCODE = 'dependent_objects_still_exist', DETAIL = obstacles,
                      HINT = 'Drop what is named, convert, and create it anew. Nothing was changed.';
        END IF;
    END
    $$;
COMMENT ON FUNCTION ward.require_convertible(regclass, name, boolean, boolean, boolean) IS
    'Raises unless the caller may convert a column and nothing stands in the way.';

CREATE FUNCTION ward.conversion_usage(searchable boolean) RETURNS text[]
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT CASE WHEN searchable THEN '{encrypt,search}'::text[] ELSE '{encrypt}' END $$;
COMMENT ON FUNCTION ward.conversion_usage(boolean) IS 'The usages of its key that whoever writes an encrypted column needs.';

-- The type of a converted column. Raises unless the caller may use the key for it.
CREATE FUNCTION ward.conversion_type(key text, searchable boolean) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    BEGIN
        IF searchable IS NULL THEN
            RAISE EXCEPTION 'searchable must not be NULL' USING ERRCODE = 'null_value_not_allowed';
        END IF;
        PERFORM ward.require_key_usage(key, ward.conversion_usage(searchable));
        RETURN format('ward.%I(%L)', CASE WHEN searchable THEN 'encrypted_text' ELSE 'secret_text' END, key);
    END
    $$;
COMMENT ON FUNCTION ward.conversion_type(text, boolean) IS 'The type for values under a key. Raises unless the caller may use the key so.';

CREATE FUNCTION ward.warn_of_old_plaintext(tab regclass, col name) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    BEGIN
        RAISE NOTICE 'column % of table % is encrypted from now on', quote_ident(col), tab
            USING DETAIL = 'What was written before may still be read in dead rows and dropped columns, in WAL and its archive, in backups and replicas, in '
                           'statistics, and in the audit trail if the table was audited.',
                  HINT = format('VACUUM FULL %s; VACUUM pg_catalog.pg_statistic; then expire old WAL and backups.', tab);
    END
    $$;
COMMENT ON FUNCTION ward.warn_of_old_plaintext(regclass, name) IS 'Says where plaintext remains after a column was encrypted.';

-- Roles that may log in; whoever writes as another role by SET ROLE or SECURITY DEFINER is not seen.
CREATE FUNCTION ward.warn_of_writers(tab regclass, col name, key text, usage text[], online boolean) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        lacking name[];
        shown text;
    BEGIN
        SELECT array_agg(r.rolname ORDER BY r.rolname), string_agg(quote_ident(r.rolname), ', ' ORDER BY r.rolname) FILTER (WHERE r.place <= 10)
            INTO lacking, shown
        FROM (SELECT rolname, row_number() OVER (ORDER BY rolname) AS place FROM pg_roles r
              WHERE r.rolcanlogin AND ward.lacks_key_usage(r.oid, key, usage)
                AND (has_column_privilege(r.oid, tab, col, 'INSERT, UPDATE') OR online AND has_any_column_privilege(r.oid, tab, 'UPDATE'))) AS r;
        IF lacking IS NOT NULL THEN
            RAISE WARNING 'roles that may write table % lack usage % of encryption key "%": %', tab, array_to_string(usage, ' or '), key,
                    shown || CASE WHEN cardinality(lacking) > 10 THEN format(' and %s more', cardinality(lacking) - 10) ELSE '' END
                USING DETAIL = format('Their writes of column %I fail from now on', col)
                               || CASE WHEN online THEN ', and until the conversion is finished also their updates of rows that are not converted yet.' ELSE '.' END,
                      HINT = format('SELECT ward.grant_key(%L, %L, %L)', key, lacking[1], usage);
        END IF;
    END
    $$;
COMMENT ON FUNCTION ward.warn_of_writers(regclass, name, text, text[], boolean) IS
    'Names the roles that may write a table and will fail because they lack usages of the key of a column.';

CREATE FUNCTION ward.protect_column(tab regclass, col name, key text, searchable boolean DEFAULT true) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        new_type text := ward.conversion_type(key, searchable);
    BEGIN
        PERFORM ward.require_convertible(tab, col, false, searchable, false);
        EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', tab);
        PERFORM ward.require_convertible(tab, col, false, searchable, false);
        PERFORM ward.warn_of_writers(tab, col, key, ward.conversion_usage(searchable), false);
        EXECUTE format('ALTER TABLE %1$s ALTER COLUMN %2$I TYPE %3$s USING %2$I::text::%3$s', tab, col, new_type);
        PERFORM ward.warn_of_old_plaintext(tab, col);
    END
    $$;
COMMENT ON FUNCTION ward.protect_column(regclass, name, text, boolean) IS
    'Encrypts a column of type text in one statement, which locks and rewrites the table. For its owner, with usages encrypt and search of the key.';
