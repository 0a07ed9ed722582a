-- WAL of a transaction that updates one row, sealing included, after every page was written once since the last
-- checkpoint: no images of whole pages.
\set ON_ERROR_STOP 1
SET synchronous_commit = off;
CREATE PROCEDURE update_each(variant text, rows int) LANGUAGE plpgsql AS $$
BEGIN
    FOR id IN 1..rows LOOP
        EXECUTE format('UPDATE rows_%s SET amount = amount + 1, changed_at = now() WHERE id = $1', variant) USING id;
        COMMIT;
    END LOOP;
    IF variant = 'ward' THEN PERFORM ward.seal_audit_trail(); END IF;
    COMMIT;
END $$;
CREATE PROCEDURE wal(variant text, rows int) LANGUAGE plpgsql AS $$
DECLARE
    before pg_lsn;
BEGIN
    CALL fresh(variant);
    EXECUTE fill(variant, rows);
    COMMIT;
    CALL update_each(variant, rows);
    before := pg_current_wal_insert_lsn();
    CALL update_each(variant, rows);
    INSERT INTO measurement
    VALUES ('wal', variant, (pg_current_wal_insert_lsn() - before) / rows::float8);
END $$;
CALL wal(:'variant', 5000);
DROP PROCEDURE wal, update_each;
