-- Converting a column while others go on reading and writing the table.

COMMENT ON FUNCTION ward.convert_next(regclass, name, name, integer) IS 'Part of ward.encrypt_column: converts the next rows.';
COMMENT ON FUNCTION ward.convert_places(regclass, name, name, text[]) IS 'Part of ward.encrypt_column: converts rows that others were working on.';
COMMENT ON FUNCTION ward.forget_conversion(regclass, name) IS 'Part of ward.encrypt_column: forgets how far a conversion has come.';

CREATE FUNCTION ward.conversion_under_way(tab regclass, col name, new_type text) RETURNS boolean
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        under_way text;
    BEGIN
        SELECT format_type(a.atttypid, a.atttypmod) INTO under_way
        FROM ward.column_conversion_trigger t JOIN pg_attribute a ON a.attrelid = t.relation AND a.attname = t.target
        WHERE t.relation = tab AND t.source = col;
        IF under_way <> new_type THEN
            RAISE EXCEPTION 'column % of table % is being converted to %', quote_ident(col), tab, under_way
                USING ERRCODE = 'object_in_use', HINT = 'Go on with that, or call ward.cancel_conversion first.';
        END IF;
        RETURN under_way IS NOT NULL;
    END
    $$;
COMMENT ON FUNCTION ward.conversion_under_way(regclass, name, text) IS 'Whether a column is being converted to a type. Raises when it is to another.';

-- Adds the new column, the trigger that keeps it in step, and the constraint that proves at the end
-- that no row was left out. Answers false when the table is busy; true when the conversion is under way.
CREATE FUNCTION ward.begin_conversion(tab regclass, col name, new_type text) RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '1s'
    AS $$
    DECLARE
        target name := ward.conversion_name(col);
        to_text boolean := new_type = 'text';
        searchable boolean := new_type NOT LIKE 'ward.secret_text%';
        needed boolean;
    BEGIN
        IF ward.conversion_under_way(tab, col, new_type) THEN
            RETURN true;
        END IF;
        PERFORM ward.require_convertible(tab, col, to_text, searchable, true);
        IF to_text THEN
            PERFORM ward.require_type_key_usage(atttypmod, '{decrypt}') FROM pg_attribute WHERE attrelid = tab AND attname = col;
        END IF;
        BEGIN
            EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', tab);
        EXCEPTION WHEN lock_not_available THEN
            RETURN false;
        END;
        IF ward.conversion_under_way(tab, col, new_type) THEN
            RETURN true;
        END IF;
        PERFORM ward.require_convertible(tab, col, to_text, searchable, true);
        IF searchable AND NOT to_text THEN
            -- The search key is made now if there is none: else the first writer would, and all others wait for its end.
            PERFORM ''::text::ward.encrypted_text;
        END IF;
        SELECT attnotnull INTO needed FROM pg_attribute WHERE attrelid = tab AND attname = col;
        IF EXISTS (SELECT FROM pg_attribute a JOIN pg_attribute b ON b.attrelid = a.attrelid AND b.attnum > a.attnum AND NOT b.attisdropped
                   WHERE a.attrelid = tab AND a.attname = col) THEN
            RAISE WARNING 'column % will be the last one of table % when its conversion is finished', quote_ident(col), tab
                USING DETAIL = 'INSERT and COPY without a list of columns, and SELECT *, then have another order of columns.',
                      HINT = 'Name the columns in such statements first, or use ward.protect_column, which keeps the order.';
        END IF;
        EXECUTE format('ALTER TABLE %s ADD COLUMN %I %s', tab, target, new_type);
        PERFORM ward.warn_of_writers(tab, col, ward.key_of_modifier(a.atttypmod),
                                     CASE WHEN to_text THEN '{decrypt}' ELSE ward.conversion_usage(searchable) END, true)
        FROM pg_attribute a WHERE a.attrelid = tab AND a.attname = CASE WHEN to_text THEN col ELSE target END;
        EXECUTE format('CREATE TRIGGER %I BEFORE INSERT OR UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION ward.keep_in_step(%L, %L)',
                       '~' || target, tab, col, target);
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', tab, '~' || target);
        EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I CHECK ((%I IS NULL) = (%I IS NULL)) NOT VALID', tab, target, col, target);
        IF needed THEN
            EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I CHECK (%I IS NOT NULL) NOT VALID', tab, '!' || target, target);
        END IF;
        EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', tab, target,
                       format('Will replace column %s when its conversion by pg_ward is finished.', quote_ident(col)));
        RETURN true;
    END
    $$;
COMMENT ON FUNCTION ward.begin_conversion(regclass, name, text) IS 'Part of ward.encrypt_column: begins or goes on. Answers false when the table is busy.';

-- The definition of an index with another column in place of one.
CREATE FUNCTION ward.conversion_index_definition(index oid, col name, target name, new_name name) RETURNS text
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT format('CREATE %sINDEX %I ON %s USING %I (%s)', CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END,
                      new_name, i.indrelid::regclass, m.amname, string_agg(k.item, ', ' ORDER BY k.at) FILTER (WHERE k.at <= i.indnkeyatts))
               || coalesce(' INCLUDE (' || string_agg(k.item, ', ' ORDER BY k.at) FILTER (WHERE k.at > i.indnkeyatts) || ')', '')
               || CASE WHEN i.indnullsnotdistinct THEN ' NULLS NOT DISTINCT' ELSE '' END
               || coalesce(' WITH (' || array_to_string(c.reloptions, ', ') || ')', '')
               || coalesce(' TABLESPACE ' || quote_ident(s.spcname), '')
               || coalesce(' WHERE ' || pg_get_expr(i.indpred, i.indrelid), '')
        FROM pg_index i
        JOIN pg_class c ON c.oid = i.indexrelid
        JOIN pg_am m ON m.oid = c.relam
        LEFT JOIN pg_tablespace s ON s.oid = c.reltablespace
        CROSS JOIN LATERAL (
            SELECT at, CASE WHEN a.attname = col THEN quote_ident(target)
                            ELSE pg_get_indexdef(i.indexrelid, at::integer, false)
                                 || coalesce((SELECT format(' COLLATE %I.%I', n.nspname, l.collname) FROM pg_collation l
                                              JOIN pg_namespace n ON n.oid = l.collnamespace
                                              WHERE l.oid = (i.indcollation::oid[])[at - 1] AND l.oid <> coalesce(a.attcollation, 0)), '')
                                 || coalesce((SELECT format(' %I.%I', n.nspname, o.opcname) FROM pg_opclass o
                                              JOIN pg_namespace n ON n.oid = o.opcnamespace
                                              WHERE o.oid = (i.indclass::oid[])[at - 1] AND NOT o.opcdefault), '')
                       END
                       || CASE WHEN at > i.indnkeyatts OR m.amname <> 'btree' THEN ''
                               ELSE CASE (i.indoption::int2[])[at - 1] & 3 WHEN 1 THEN ' DESC NULLS LAST' WHEN 2 THEN ' NULLS FIRST'
                                                                           WHEN 3 THEN ' DESC' ELSE '' END END AS item
            FROM generate_series(1, i.indnatts) AS at
            LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = (i.indkey::int2[])[at - 1]
        ) AS k
        WHERE i.indexrelid = index
        GROUP BY i.indexrelid, i.indisunique, i.indrelid, i.indnullsnotdistinct, i.indpred, i.indnkeyatts, c.reloptions, m.amname, s.spcname
    $$;
COMMENT ON FUNCTION ward.conversion_index_definition(oid, name, name, name) IS
    'Part of ward.encrypt_column: the definition of an index with another column in place of one.';

-- Makes one index on the new column. Answers false when there is none left to make.
CREATE FUNCTION ward.build_conversion_index(tab regclass, col name) RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        missing record;
    BEGIN
        SELECT i.* INTO missing FROM ward.conversion_indexes(tab, col) i
        WHERE NOT EXISTS (SELECT FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid
                          WHERE x.indrelid = tab AND c.relname = ward.conversion_name(i.index_name)) LIMIT 1;
        IF NOT FOUND THEN
            RETURN false;
        END IF;
        EXECUTE ward.conversion_index_definition(missing.index, col, ward.conversion_name(col), ward.conversion_name(missing.index_name));
        RETURN true;
    END
    $$;
COMMENT ON FUNCTION ward.build_conversion_index(regclass, name) IS 'Part of ward.encrypt_column: makes the next index. Others cannot write meanwhile.';

-- Has PostgreSQL prove that every row has its new value. Answers false when one was left out.
CREATE FUNCTION ward.check_conversion(tab regclass, col name) RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        target name := ward.conversion_name(col);
        leaf regclass;
        name name;
    BEGIN
        FOR name IN SELECT conname FROM pg_constraint WHERE conrelid = tab AND conname IN (target, ('!' || target)::name) AND NOT convalidated LOOP
            EXECUTE format('ALTER TABLE %s VALIDATE CONSTRAINT %I', tab, name);
        END LOOP;
        RETURN true;
    EXCEPTION WHEN check_violation THEN
        FOREACH leaf IN ARRAY ward.conversion_tables(tab) LOOP
            PERFORM ward.forget_conversion(leaf, target);
        END LOOP;
        RETURN false;
    END
    $$;
COMMENT ON FUNCTION ward.check_conversion(regclass, name) IS 'Part of ward.encrypt_column: has PostgreSQL check that no row was left out.';

-- Puts the new column in the place of the old one. Answers false when the table is busy, or has got
-- another index meanwhile.
CREATE FUNCTION ward.finish_conversion(tab regclass, col name) RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '1s' SET client_min_messages = warning
    AS $$
    DECLARE
        target name := ward.conversion_name(col);
        number int2;
        needed boolean;
        value text;
        remark text;
        statements text[];
        statement text;
        leaf regclass;
        to_text boolean;
        searchable boolean;
    BEGIN
        BEGIN
            EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', tab);
        EXCEPTION WHEN lock_not_available THEN
            RETURN false;
        END;
        IF EXISTS (SELECT FROM ward.conversion_indexes(tab, col) i
                   WHERE NOT EXISTS (SELECT FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid
                                     WHERE x.indrelid = tab AND c.relname = ward.conversion_name(i.index_name) AND x.indisvalid)) THEN
            RETURN false;
        END IF;
        IF NOT EXISTS (SELECT FROM ward.column_conversion_trigger t WHERE t.relation = tab AND t.source = col AND t.enabled = 'A')
           OR EXISTS (SELECT FROM pg_constraint WHERE conrelid = tab AND conname IN (target, ('!' || target)::name) AND NOT convalidated)
           OR NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = tab AND conname = target) THEN
            RAISE EXCEPTION 'the trigger or the constraint of the conversion of column % of table % was altered', quote_ident(col), tab
                USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Call ward.cancel_conversion and begin anew.';
        END IF;
        SELECT a.attnum, a.attnotnull, pg_get_expr(d.adbin, d.adrelid), col_description(tab, a.attnum),
               a.atttypid IN ('ward.encrypted_text'::regtype, 'ward.secret_text'::regtype)
            INTO number, needed, value, remark, to_text
        FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE a.attrelid = tab AND a.attname = col;
        SELECT a.atttypid <> 'ward.secret_text'::regtype INTO searchable FROM pg_attribute a WHERE a.attrelid = tab AND a.attname = target;
        -- What came into the way meanwhile.
        SELECT string_agg(o, '; ') INTO statement FROM ward.conversion_obstacles(tab, col, searchable, true) AS o;
        IF statement IS NOT NULL THEN
            RAISE EXCEPTION 'the conversion of column % of table % cannot be finished', quote_ident(col), tab
                USING ERRCODE = 'dependent_objects_still_exist', DETAIL = statement,
                      HINT = 'Drop what is named, and call the procedure again: it goes on where it was.';
        END IF;

        statements := ARRAY[format('DROP TRIGGER %I ON %s', '~' || target, tab)];
        SELECT statements || coalesce(array_agg(CASE WHEN i."constraint" IS NULL THEN format('DROP INDEX %s', i.index::regclass)
                                                     ELSE format('ALTER TABLE %s DROP CONSTRAINT %I', tab, i."constraint") END), '{}')
            INTO statements FROM ward.conversion_indexes(tab, col) i;
        IF needed THEN
            statements := statements || format('ALTER TABLE %s ALTER COLUMN %I SET NOT NULL', tab, target)
                                     || format('ALTER TABLE %s DROP CONSTRAINT %I', tab, '!' || target);
        END IF;
        SELECT statements || coalesce(array_agg(
                   CASE WHEN i."constraint" IS NULL
                        THEN format('ALTER INDEX %s.%I RENAME TO %I', x.nspname, ward.conversion_name(i.index_name), i.index_name)
                        ELSE format('ALTER TABLE %s ADD CONSTRAINT %I %s USING INDEX %I%s', tab, i."constraint",
                                    CASE i.kind WHEN 'p' THEN 'PRIMARY KEY' ELSE 'UNIQUE' END, ward.conversion_name(i.index_name), i."deferrable") END), '{}')
            INTO statements
        FROM ward.conversion_indexes(tab, col) i
        CROSS JOIN (SELECT quote_ident(n.nspname) AS nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = tab) AS x;
        statements := statements || format('ALTER TABLE %s DROP COLUMN %I', tab, col)
                                 || format('ALTER TABLE %s RENAME COLUMN %I TO %I', tab, target, col)
                                 || format('COMMENT ON COLUMN %s.%I IS %L', tab, col, remark);
        IF value IS NOT NULL AND NOT to_text THEN
            statements := statements || format('ALTER TABLE %s ALTER COLUMN %I SET DEFAULT %s', tab, col, value);
        ELSIF value IS NOT NULL THEN
            statements := statements || format('ALTER TABLE %s ALTER COLUMN %I SET DEFAULT (%s)::text', tab, col, value);
        END IF;
        SELECT statements || coalesce(array_agg(format('GRANT %s (%I) ON %s TO %s%s', g.privilege_type, col, tab,
                   CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE g.grantee::regrole::text END,
                   CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)), '{}')
            INTO statements
        FROM pg_attribute a, aclexplode(a.attacl) AS g WHERE a.attrelid = tab AND a.attnum = number;

        FOREACH statement IN ARRAY statements LOOP
            EXECUTE statement;
        END LOOP;
        FOREACH leaf IN ARRAY ward.conversion_tables(tab) LOOP
            PERFORM ward.forget_conversion(leaf, target);
        END LOOP;
        RETURN true;
    END
    $$;
COMMENT ON FUNCTION ward.finish_conversion(regclass, name) IS
    'Part of ward.encrypt_column: puts the new column in the place of the old one. Answers false when the table is busy.';

CREATE FUNCTION ward.cancel_conversion(tab regclass, col name) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        target name := ward.conversion_name(col);
        leaf regclass;
    BEGIN
        IF NOT EXISTS (SELECT FROM ward.column_conversion_trigger t WHERE t.relation = tab AND t.source = col) THEN
            RAISE EXCEPTION 'no such column is being converted' USING ERRCODE = 'undefined_object',
                HINT = 'The view ward.column_conversions lists those that are.';
        END IF;
        EXECUTE format('DROP TRIGGER %I ON %s', '~' || target, tab);
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS %I', tab, '!' || target);
        EXECUTE format('ALTER TABLE %s DROP COLUMN %I', tab, target);
        FOREACH leaf IN ARRAY ward.conversion_tables(tab) LOOP
            PERFORM ward.forget_conversion(leaf, target);
        END LOOP;
    END
    $$;
COMMENT ON FUNCTION ward.cancel_conversion(regclass, name) IS 'Ends a conversion by ward.encrypt_column or ward.decrypt_column; the column stays as it was.';

CREATE FUNCTION ward.give_up_conversion(tab regclass) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
    BEGIN
        RAISE EXCEPTION 'table % is too busy to be locked', tab
            USING ERRCODE = 'lock_not_available',
                  HINT = 'Long transactions hold it. Call the procedure again: it goes on where it was.';
    END
    $$;
COMMENT ON FUNCTION ward.give_up_conversion(regclass) IS 'Part of ward.encrypt_column: raises after too many attempts to lock a table.';

CREATE FUNCTION ward.require_batch(batch integer) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$
    BEGIN
        IF batch IS NULL OR batch < 1 THEN
            RAISE EXCEPTION 'the size of a batch must be at least 1' USING ERRCODE = 'invalid_parameter_value';
        END IF;
    END
    $$;
COMMENT ON FUNCTION ward.require_batch(integer) IS 'Raises unless the number is one of rows that a transaction can work on.';

-- Procedures that commit cannot have settings of their own, so they name everything in full and leave
-- everything else to functions.
CREATE PROCEDURE ward.convert_column(tab regclass, col name, new_type text, batch integer)
    LANGUAGE plpgsql
    AS $$
    DECLARE
        target name;
        done boolean;
        leaf regclass;
        locked text[];
        place text;
    BEGIN
        PERFORM ward.require_batch(batch);
        FOR attempt IN 1..60 LOOP
            done := ward.begin_conversion(tab, col, new_type);
            COMMIT;
            EXIT WHEN done;
            PERFORM pg_catalog.pg_sleep(0.5);
        END LOOP;
        IF NOT done THEN
            PERFORM ward.give_up_conversion(tab);
        END IF;
        target := ward.conversion_name(col);
        LOOP
            FOREACH leaf IN ARRAY ward.conversion_tables(tab) LOOP
                LOOP
                    SELECT n.finished, n.locked INTO done, locked FROM ward.convert_next(leaf, col, target, batch) AS n;
                    COMMIT;
                    -- Each in a transaction of its own: while it waits for others, nobody waits for it.
                    FOREACH place IN ARRAY locked LOOP
                        PERFORM ward.convert_places(leaf, col, target, ARRAY[place]);
                        COMMIT;
                    END LOOP;
                    EXIT WHEN done;
                END LOOP;
            END LOOP;
            done := ward.check_conversion(tab, col);
            COMMIT;
            EXIT WHEN done;
        END LOOP;
        FOR attempt IN 1..60 LOOP
            LOOP
                done := ward.build_conversion_index(tab, col);
                COMMIT;
                EXIT WHEN NOT done;
            END LOOP;
            done := ward.finish_conversion(tab, col);
            COMMIT;
            EXIT WHEN done;
            PERFORM pg_catalog.pg_sleep(0.5);
        END LOOP;
        IF NOT done THEN
            PERFORM ward.give_up_conversion(tab);
        END IF;
    END
    $$;
COMMENT ON PROCEDURE ward.convert_column(regclass, name, text, integer) IS 'Part of ward.encrypt_column and ward.decrypt_column.';

CREATE PROCEDURE ward.encrypt_column(tab regclass, col name, key text, batch integer DEFAULT 10000, searchable boolean DEFAULT true)
    LANGUAGE plpgsql
    AS $$
    BEGIN
        CALL ward.convert_column(tab, col, ward.conversion_type(key, searchable), batch);
        PERFORM ward.warn_of_old_plaintext(tab, col);
    END
    $$;
COMMENT ON PROCEDURE ward.encrypt_column(regclass, name, text, integer, boolean) IS
    'Encrypts a column of type text while others use the table. Call it again after an interruption: it goes on.';

CREATE PROCEDURE ward.decrypt_column(tab regclass, col name, batch integer DEFAULT 10000)
    LANGUAGE plpgsql
    AS $$
    BEGIN
        CALL ward.convert_column(tab, col, 'text', batch);
    END
    $$;
COMMENT ON PROCEDURE ward.decrypt_column(regclass, name, integer) IS
    'Turns an encrypted column into text while others use the table. Call it again after an interruption: it goes on.';
