-- Re-encrypting columns, and what is encrypted.

COMMENT ON FUNCTION ward.renew_rows(regclass, name, text, integer, bigint, text[]) IS 'Part of ward.reencrypt_column: renews some rows.';
COMMENT ON FUNCTION ward.is_current(bytea) IS 'Whether a value of ward.encrypt is under the active version of its key.';
COMMENT ON FUNCTION ward.key_version(bytea) IS 'Key and version of a value of ward.encrypt, as name/version; NULL for other bytes.';
COMMENT ON FUNCTION ward.key_version(ward.encrypted_text) IS 'Key and version of an encrypted value, as name/version.';
COMMENT ON FUNCTION ward.key_version(ward.secret_text) IS 'Key and version of an encrypted value, as name/version.';
COMMENT ON FUNCTION ward.key_of_modifier(integer) IS 'The key that a modifier of an encrypted type stands for.';
COMMENT ON FUNCTION ward.require_key_usage(text, text[]) IS 'Raises unless the caller has usages of a key.';
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

CREATE FUNCTION ward.encryption_status(exact boolean)
    RETURNS TABLE (table_schema name, table_name name, column_name name, type text, key text,
                   rows bigint, encrypted bigint, percentage numeric, versions text[])
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        one record;
        share numeric;
    BEGIN
        FOR one IN
            SELECT c.oid::regclass AS tab, c.oid, n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod) AS type,
                   ward.key_of_modifier(a.atttypmod) AS key, has_column_privilege(c.oid, a.attnum, 'SELECT') AS readable,
                   s.reltuples::bigint AS reltuples, s.relpages, st.null_frac
            FROM pg_attribute a
            JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition
            JOIN pg_namespace n ON n.oid = c.relnamespace
            LEFT JOIN pg_stats st ON st.schemaname = n.nspname AND st.tablename = c.relname AND st.attname = a.attname
                                  AND st.inherited = (c.relkind = 'p')
            CROSS JOIN LATERAL (SELECT sum(greatest(l.reltuples, 0)) AS reltuples, sum(l.relpages) AS relpages FROM pg_class l
                                WHERE l.oid = c.oid OR l.oid IN (SELECT relid FROM pg_partition_tree(c.oid) WHERE isleaf)) AS s
            WHERE a.atttypid IN ('ward.encrypted_text'::regtype, 'ward.secret_text'::regtype) AND a.attnum > 0 AND NOT a.attisdropped
              AND NOT EXISTS (SELECT FROM ward.column_conversion_trigger t WHERE t.relation = c.oid AND t.target = a.attname)
            ORDER BY n.nspname, c.relname, a.attnum
        LOOP
            table_schema := one.nspname; table_name := one.relname; column_name := one.attname;
            type := one.type; key := one.key; versions := NULL; encrypted := NULL;
            IF exact AND one.readable THEN
                EXECUTE format('SELECT count(*), count(%1$I), array_agg(DISTINCT ward.key_version(%1$I)) FILTER (WHERE %1$I IS NOT NULL) FROM %2$s',
                               one.attname, one.tab) INTO rows, encrypted, versions;
            ELSE
                rows := one.reltuples;
                encrypted := round(one.reltuples * (1 - one.null_frac));
                IF one.readable THEN
                    share := least(100, 100.0 * 100 / greatest(one.relpages, 1));
                    EXECUTE format('SELECT array_agg(DISTINCT ward.key_version(%1$I)) FROM %2$s TABLESAMPLE SYSTEM (%3$s) WHERE %1$I IS NOT NULL',
                                   one.attname, one.tab, share) INTO versions;
                END IF;
            END IF;
            -- Nothing else can be stored in a column of these types.
            percentage := 100;
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
    'Encrypted columns: rows, encrypted values and key versions in use, counted (exact) or estimated from statistics and a sample.';

CREATE VIEW ward.encryption_status AS SELECT * FROM ward.encryption_status(false);
COMMENT ON VIEW ward.encryption_status IS 'Encrypted columns, estimated. ward.encryption_status(true) counts.';
GRANT SELECT ON ward.encryption_status TO PUBLIC;
