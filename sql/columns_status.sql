-- Re-encrypting columns, and what is encrypted.

COMMENT ON FUNCTION ward.renew_rows(regclass, name, text, integer, bigint, text[]) IS 'Part of ward.reencrypt_column: renews some rows.';
COMMENT ON FUNCTION ward.is_current(bytea) IS 'Whether a value of ward.encrypt is under the active version of its key.';
COMMENT ON FUNCTION ward.key_version(bytea) IS 'Key and version of a value of ward.encrypt, as name/version; NULL for other bytes.';
COMMENT ON FUNCTION ward.key_version(ward.encrypted_text) IS 'Key and version of an encrypted value, as name/version.';
COMMENT ON FUNCTION ward.key_version(ward.secret_text) IS 'Key and version of an encrypted value, as name/version.';
COMMENT ON FUNCTION ward.key_of_modifier(integer) IS 'The key that a modifier of an encrypted type stands for.';
COMMENT ON FUNCTION ward.require_key_usage(text, text[]) IS 'Raises unless the caller has usages of a key.';
COMMENT ON FUNCTION ward.lacks_key_usage(oid, text, text[]) IS 'Whether a role lacks usages of a key.';
COMMENT ON FUNCTION ward.require_type_key_usage(integer, text[]) IS 'Raises unless the caller has usages of the key of a type modifier.';

CREATE FUNCTION ward.require_reencryptable(tab regclass, col name, aad_expression text) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        relation pg_class;
        kind regtype;
        modifier integer;
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
        SELECT atttypid, atttypmod INTO kind, modifier FROM pg_attribute WHERE attrelid = tab AND attname = col AND attnum > 0 AND NOT attisdropped;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'table % has no column %', tab, quote_ident(col) USING ERRCODE = 'undefined_column';
        END IF;
        IF kind = 'ward.encrypted_text'::regtype THEN
            PERFORM ward.require_type_key_usage(modifier, '{encrypt,decrypt,search}');
        ELSIF kind = 'ward.secret_text'::regtype THEN
            PERFORM ward.require_type_key_usage(modifier, '{encrypt,decrypt}');
        ELSIF kind <> 'bytea'::regtype THEN
            RAISE EXCEPTION 'column % of table % is of type %', quote_ident(col), tab, kind
                USING ERRCODE = 'datatype_mismatch',
                      HINT = 'Columns of type ward.encrypted_text, ward.secret_text, and bytea with values of ward.encrypt can be re-encrypted.';
        END IF;
        IF aad_expression IS NOT NULL AND kind <> 'bytea'::regtype THEN
            RAISE EXCEPTION 'only values of type bytea have additional authenticated data of their own' USING ERRCODE = 'invalid_parameter_value';
        END IF;
    END
    $$;
COMMENT ON FUNCTION ward.require_reencryptable(regclass, name, text) IS 'Part of ward.reencrypt_column: raises unless the caller may re-encrypt the column.';

-- The first pass goes through the table piece by piece. Rows that others moved behind its back are
-- found by looking at the whole table with one snapshot, until there is none.
CREATE PROCEDURE ward.reencrypt_column(tab regclass, col name, batch integer DEFAULT 10000, aad_expression text DEFAULT NULL)
    LANGUAGE plpgsql
    AS $$
    DECLARE
        leaf regclass;
        at bigint;
        done boolean;
        locked text[];
        place text;
    BEGIN
        PERFORM ward.require_batch(batch);
        PERFORM ward.require_reencryptable(tab, col, aad_expression);
        FOREACH leaf IN ARRAY ward.conversion_tables(tab) LOOP
            at := 0;
            LOOP
                SELECT r.next_block, r.finished, r.locked INTO at, done, locked
                FROM ward.renew_rows(leaf, col, aad_expression, batch, at) AS r;
                COMMIT;
                FOREACH place IN ARRAY locked LOOP
                    PERFORM ward.renew_rows(leaf, col, aad_expression, batch, NULL, ARRAY[place]);
                    COMMIT;
                END LOOP;
                EXIT WHEN done;
            END LOOP;
            LOOP
                SELECT r.finished, r.locked INTO done, locked FROM ward.renew_rows(leaf, col, aad_expression, batch) AS r;
                COMMIT;
                FOREACH place IN ARRAY locked LOOP
                    PERFORM ward.renew_rows(leaf, col, aad_expression, batch, NULL, ARRAY[place]);
                    COMMIT;
                END LOOP;
                EXIT WHEN done;
            END LOOP;
        END LOOP;
    END
    $$;
COMMENT ON PROCEDURE ward.reencrypt_column(regclass, name, integer, text) IS
    'Moves the values of a column to the active version of their key while others use the table. aad_expression gives the aad of a bytea value from its row.';

-- Whether reading a table may run code of somebody whom the caller has no reason to trust: the planner calls functions
-- that indexes, statistics and keys of partitions use on constants, with the rights of whoever reads. Code of superusers
-- and of the caller is trusted, PostgreSQL's own has no entry in pg_depend.
CREATE FUNCTION ward.runs_code_of_others(tab regclass) RETURNS boolean
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
    AS $$
        WITH RECURSIVE part (oid) AS (
            SELECT tab::oid
            UNION
            SELECT i.inhrelid FROM part JOIN pg_inherits i ON i.inhparent = part.oid
        ), code (relation, class, oid) AS (
            SELECT indrelid, 'pg_class'::regclass, indexrelid FROM pg_index WHERE indexprs IS NOT NULL OR indpred IS NOT NULL
            UNION ALL
            SELECT stxrelid, 'pg_statistic_ext'::regclass, oid FROM pg_statistic_ext WHERE stxexprs IS NOT NULL
            UNION ALL
            SELECT partrelid, 'pg_class'::regclass, partrelid FROM pg_partitioned_table WHERE partexprs IS NOT NULL
        ), author (oid) AS (
            SELECT coalesce(f.proowner, o.oprowner, t.typowner)
            FROM part JOIN code ON code.relation = part.oid
            JOIN pg_depend d ON d.classid = code.class AND d.objid = code.oid AND d.objsubid = 0
            LEFT JOIN pg_proc f ON d.refclassid = 'pg_proc'::regclass AND f.oid = d.refobjid
            LEFT JOIN pg_operator o ON d.refclassid = 'pg_operator'::regclass AND o.oid = d.refobjid
            LEFT JOIN pg_type t ON d.refclassid = 'pg_type'::regclass AND t.oid = d.refobjid
        )
        SELECT EXISTS (SELECT FROM author JOIN pg_roles r ON r.oid = author.oid
                       WHERE NOT r.rolsuper AND r.rolname <> current_user)
    $$;
COMMENT ON FUNCTION ward.runs_code_of_others(regclass) IS
    'Part of ward.encryption_status: whether reading a table may run functions of others than the caller and superusers.';

-- Columns that hold encrypted values, and what to count of each. What a policy would hide from the caller
-- is not looked at: counts would be wrong, and the policy of another's table would run with the caller's rights. Nor is
-- a table that others' code comes with, nor what cannot be read: views not refreshed yet, and unlogged tables on a standby. A domain over an array, in an array, is not listed.
CREATE FUNCTION ward.encrypted_storage()
    RETURNS TABLE (tab regclass, table_schema name, table_name name, number int2, column_name name, type text, modifier integer,
                   source text, value text, readable boolean, reltuples bigint, null_frac real, share numeric)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
        WITH RECURSIVE kind (oid, element, modifier, many) AS (
            SELECT t.oid, t.oid::regtype, NULL::integer, false
            FROM unnest('{ward.encrypted_text,ward.secret_text,bytea}'::regtype[]) AS t (oid)
            UNION ALL
            SELECT t.oid, k.element, coalesce(k.modifier, nullif(t.typtypmod, -1)), k.many OR t.typtype <> 'd'
            FROM kind k JOIN pg_type t ON t.typtype = 'd' AND t.typbasetype = k.oid
                                       OR t.typcategory = 'A' AND t.typtype <> 'd' AND t.typelem = k.oid
                                          AND NOT k.many AND k.element <> 'bytea'::regtype
        )
        SELECT c.oid::regclass, n.nspname, c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod),
               CASE WHEN k.element <> 'bytea'::regtype THEN coalesce(k.modifier, a.atttypmod) END,
               format(CASE WHEN k.many THEN 'unnest(%I)' ELSE '%I' END, a.attname),
               CASE WHEN k.element = 'bytea'::regtype THEN format('substring(%I FROM 1 FOR 52)', a.attname)
                    ELSE format('given::%s', k.element) END,
               has_column_privilege(c.oid, a.attnum, 'SELECT') AND NOT row_security_active(c.oid) AND NOT s."foreign"
                   AND c.relispopulated AND NOT (s.unlogged AND pg_is_in_recovery()) AND NOT ward.runs_code_of_others(c.oid),
               s.reltuples::bigint, st.null_frac, least(100, 100.0 * 100 / greatest(s.relpages, 1))
        FROM kind k
        JOIN pg_attribute a ON a.atttypid = k.oid AND a.attnum > 0 AND NOT a.attisdropped
        JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition
        JOIN pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_stats st ON st.schemaname = n.nspname AND st.tablename = c.relname AND st.attname = a.attname
                              AND st.inherited = (c.relkind = 'p')
        CROSS JOIN LATERAL (SELECT sum(greatest(l.reltuples, 0)) AS reltuples, sum(l.relpages) AS relpages, bool_or(l.relkind = 'f') AS "foreign",
                                   bool_or(l.relpersistence = 'u') AS unlogged
                            FROM pg_class l
                            WHERE l.oid = c.oid AND c.relkind <> 'p' OR l.oid IN (SELECT relid FROM pg_partition_tree(c.oid) WHERE isleaf)) AS s
        WHERE c.relpersistence <> 't' AND n.nspname NOT IN ('ward', 'pg_catalog', 'information_schema')
          AND NOT EXISTS (SELECT FROM ward.column_conversion_trigger t WHERE t.relation = c.oid AND t.target = a.attname)
    $$;
COMMENT ON FUNCTION ward.encrypted_storage() IS 'Part of ward.encryption_status: columns of the encrypted types and of type bytea.';

CREATE FUNCTION ward.encryption_status(exact boolean)
    RETURNS TABLE (table_schema name, table_name name, column_name name, type text, key text,
                   rows bigint, encrypted bigint, percentage numeric, versions text[])
    -- CHECK constraints of partitions are code, too.
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET constraint_exclusion = off
    AS $$
    DECLARE
        one record;
        mixed text := 'SELECT count(*), count(given), count(version), array_agg(DISTINCT version) FILTER (WHERE version IS NOT NULL)
                       FROM (SELECT %1$I AS given, ward.key_version(%2$s) AS version FROM %3$s) AS s';
        sampled text;
        present bigint;
    BEGIN
        FOR one IN SELECT s.* FROM ward.encrypted_storage() AS s ORDER BY s.table_schema, s.table_name, s.number LOOP
            table_schema := one.table_schema; table_name := one.table_name; column_name := one.column_name; type := one.type;
            key := NULL; rows := one.reltuples; encrypted := round(one.reltuples * (1 - one.null_frac)); percentage := 100; versions := NULL;
            sampled := format('%s TABLESAMPLE SYSTEM (%s)', one.tab, one.share);
            IF one.modifier IS NOT NULL THEN
                key := ward.key_of_modifier(one.modifier);
                -- Nothing else can be stored in a column of these types.
                IF one.readable AND exact THEN
                    EXECUTE format('SELECT count(*), count(%I) FROM %s', one.column_name, one.tab) INTO rows, encrypted;
                END IF;
                IF one.readable THEN
                    EXECUTE format('SELECT array_agg(DISTINCT ward.key_version(%1$s)) FILTER (WHERE %1$s IS NOT NULL)
                                    FROM (SELECT %2$s AS given FROM %3$s) AS s',
                                   one.value, one.source, CASE WHEN exact THEN one.tab::text ELSE sampled END) INTO versions;
                END IF;
            ELSIF one.readable THEN
                EXECUTE format(mixed, one.column_name, one.value, sampled) INTO rows, present, encrypted, versions;
                -- Other bytes are not to be listed. What only looks like a value is under no known key.
                CONTINUE WHEN NOT coalesce(EXISTS (SELECT FROM unnest(versions) AS v WHERE v NOT LIKE 'unknown key %'), false);
                IF exact THEN
                    EXECUTE format(mixed, one.column_name, one.value, one.tab) INTO rows, present, encrypted, versions;
                END IF;
                percentage := round(100.0 * encrypted / nullif(present, 0), 1);
                key := (SELECT string_agg(DISTINCT regexp_replace(v, '/[0-9]+$', ''), ', ') FROM unnest(versions) AS v);
                IF NOT exact THEN
                    encrypted := round(one.reltuples::numeric * encrypted / rows);
                    rows := one.reltuples;
                END IF;
            ELSE
                CONTINUE;
            END IF;
            RETURN NEXT;
        END LOOP;
        FOR one IN SELECT v.* FROM ward.column_conversions v ORDER BY v.table_schema, v.table_name, v.column_name LOOP
            table_schema := one.table_schema; table_name := one.table_name; column_name := one.column_name;
            type := format('being converted to %s', one.new_type); key := NULL; rows := NULL; encrypted := one.rows_converted;
            percentage := CASE WHEN one.new_type = 'text' THEN 100 - one.percentage ELSE one.percentage END; versions := NULL;
            RETURN NEXT;
        END LOOP;
    END
    $$;
COMMENT ON FUNCTION ward.encryption_status(boolean) IS
    'Encrypted columns, and columns of type bytea in which a sample finds values of ward.encrypt: rows, encrypted values and key versions in use, counted (exact) or estimated from statistics and a sample.';

CREATE VIEW ward.encryption_status AS SELECT * FROM ward.encryption_status(false);
COMMENT ON VIEW ward.encryption_status IS 'Encrypted columns, estimated. ward.encryption_status(true) counts.';
GRANT SELECT ON ward.encryption_status TO PUBLIC;
