-- Columns of the encrypted types.

CREATE FUNCTION ward.encrypted_ddl() RETURNS event_trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'ward_encrypted_ddl';
COMMENT ON FUNCTION ward.encrypted_ddl() IS 'Refuses columns and types that would store encrypted values without a key.';
REVOKE ALL ON FUNCTION ward.encrypted_ddl() FROM PUBLIC;

CREATE EVENT TRIGGER ward_encrypted_ddl ON ddl_command_end
    WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'CREATE MATERIALIZED VIEW', 'CREATE SCHEMA',
                 'CREATE FOREIGN TABLE', 'IMPORT FOREIGN SCHEMA', 'ALTER TABLE', 'ALTER FOREIGN TABLE',
                 'CREATE TYPE', 'ALTER TYPE', 'CREATE DOMAIN', 'CREATE EXTENSION', 'ALTER EXTENSION')
    EXECUTE FUNCTION ward.encrypted_ddl();
ALTER EVENT TRIGGER ward_encrypted_ddl ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER ward_encrypted_ddl IS
    'Keeps every stored encrypted value under the key that its column names.';

-- Columns of type encrypted_text or a domain over it, also within partitions and children.
CREATE VIEW ward.searchable_column AS
WITH RECURSIVE kind (oid) AS (
    SELECT 'ward.encrypted_text'::pg_catalog.regtype::pg_catalog.oid
    UNION
    SELECT t.oid FROM kind JOIN pg_catalog.pg_type t ON t.typtype = 'd' AND t.typbasetype = kind.oid
)
SELECT a.attrelid::pg_catalog.regclass AS relation, a.attname AS name
FROM kind
JOIN pg_catalog.pg_attribute a ON a.atttypid = kind.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p', 'm');
COMMENT ON VIEW ward.searchable_column IS 'The columns that hold search tags.';
REVOKE ALL ON ward.searchable_column FROM PUBLIC;

CREATE FUNCTION ward.retag(ward.encrypted_text) RETURNS ward.encrypted_text
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_encrypted_text_retag';
COMMENT ON FUNCTION ward.retag(ward.encrypted_text) IS
    'The same value with the tag of the present search key. Needs usages decrypt and search of its key.';

CREATE FUNCTION ward.renew_search_key() RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        version integer := ward.renew_search_key_alone();
        columns text := (SELECT string_agg(format('%s (%I)', relation, name), ', ' ORDER BY relation::text, name)
                         FROM ward.searchable_column);
    BEGIN
        IF columns IS NOT NULL THEN
            RAISE WARNING 'values stored so far are not found until their column is retagged: %', columns
                USING HINT = 'Call ward.retag_column for each. Create views and defaults that hold literals of the type anew.';
        END IF;
        RAISE WARNING 'blind indexes that were stored so far match nothing that is computed from now on'
            USING DETAIL = coalesce((SELECT 'pg_ward cannot tell which columns hold them. It is used by: '
                                            || string_agg(DISTINCT pg_describe_object(classid, objid, objsubid), ', ')
                                     FROM pg_depend
                                     WHERE refclassid = 'pg_proc'::regclass AND deptype = 'n'
                                       AND refobjid IN (SELECT oid FROM pg_proc WHERE pronamespace = 'ward'::regnamespace
                                                                                  AND proname = 'blind_index')),
                                    'pg_ward cannot tell which columns hold them.'),
                  HINT = 'Compute each such column anew from its decrypted value, with ward.blind_index.';
        RETURN version;
    END
    $$;
COMMENT ON FUNCTION ward.renew_search_key() IS
    'Makes a new search key after the old one may have become known. Columns must then be retagged with ward.retag_column.';
COMMENT ON FUNCTION ward.renew_search_key_alone() IS 'The part of ward.renew_search_key that makes the key.';
REVOKE ALL ON FUNCTION ward.renew_search_key(), ward.renew_search_key_alone() FROM PUBLIC;

-- Runs with the caller's rights. Row level security that would hide a row from it is an error.
CREATE FUNCTION ward.retag_column(tab regclass, col name) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET row_security = off
    AS $$
    DECLARE
        rewritten bigint;
        kind oid;
    BEGIN
        IF tab IS NULL OR col IS NULL THEN
            RAISE EXCEPTION 'the table and the column must not be NULL' USING ERRCODE = 'null_value_not_allowed';
        END IF;
        SELECT atttypid INTO kind FROM pg_attribute WHERE attrelid = tab AND attname = col AND attnum > 0;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'table % has no column %', tab, quote_ident(col) USING ERRCODE = 'undefined_column';
        END IF;
        WHILE (SELECT typtype = 'd' FROM pg_type WHERE oid = kind) LOOP
            SELECT typbasetype INTO kind FROM pg_type WHERE oid = kind;
        END LOOP;
        IF kind <> 'ward.encrypted_text'::regtype THEN
            RAISE EXCEPTION 'column % of table % is not of type ward.encrypted_text', quote_ident(col), tab
                USING ERRCODE = 'datatype_mismatch',
                      HINT = 'Only this type has search tags. Elements of arrays and composites cannot be retagged: write them anew.';
        END IF;
        IF current_setting('transaction_isolation') <> 'read committed' THEN
            RAISE EXCEPTION 'ward.retag_column needs isolation level READ COMMITTED'
                USING ERRCODE = 'active_sql_transaction',
                      HINT = 'In others it would not see rows that were written while it waited for their transactions.';
        END IF;
        -- Waits for those who may still be writing tags of the former key.
        EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', tab);
        EXECUTE format('UPDATE %1$s SET %2$I = ward.retag(%2$I) WHERE substr(ward.search_tag(%2$I), 17) <>
                        (SELECT decode(key_id, ''hex'') FROM ward.encryption_keys
                         WHERE purpose = ''search'' AND state = ''active'')', tab, col);
        GET DIAGNOSTICS rewritten = ROW_COUNT;
        RETURN rewritten;
    END
    $$;
COMMENT ON FUNCTION ward.retag_column(regclass, name) IS
    'Gives all values of a column tags of the present search key, and returns how many had another. Needs usages decrypt and search.';
