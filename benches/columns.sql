-- Converting a column of 500,000 rows, and moving its values to the active version of their key, beside
-- an UPDATE that gives every row of a table in clear text a new value.
\set ON_ERROR_STOP 1
SET client_min_messages = error;
-- Values are committed as they are measured: the procedures commit, so EXECUTE cannot run them.
CREATE PROCEDURE conversions(rounds int, rows bigint) LANGUAGE plpgsql AS $$
DECLARE
    start timestamptz;
BEGIN
    FOR round IN 1..rounds LOOP
        DROP TABLE IF EXISTS convert_nothing, convert_ward;
        CREATE TABLE convert_nothing (id bigint PRIMARY KEY, mail text);
        CREATE TABLE convert_ward (id bigint PRIMARY KEY, mail text);
        INSERT INTO convert_nothing SELECT g, md5(g::text) FROM generate_series(1, rows) g;
        INSERT INTO convert_ward SELECT * FROM convert_nothing;
        ANALYZE convert_nothing, convert_ward;
        COMMIT;
        CALL measure('convert, a row', 'nothing', 'UPDATE convert_nothing SET mail = md5(mail)');
        start := clock_timestamp();
        CALL ward.encrypt_column('convert_ward', 'mail', 'bench');
        INSERT INTO measurement VALUES ('encrypt_column', 'ward', extract(epoch FROM clock_timestamp() - start) / rows);
        PERFORM ward.rotate_encryption_key('bench');
        COMMIT;
        start := clock_timestamp();
        CALL ward.reencrypt_column('convert_ward', 'mail');
        INSERT INTO measurement VALUES ('reencrypt_column', 'ward', extract(epoch FROM clock_timestamp() - start) / rows);
        start := clock_timestamp();
        CALL ward.reencrypt_column('convert_ward', 'mail');
        INSERT INTO measurement VALUES ('reencrypt_column, all done', 'ward', extract(epoch FROM clock_timestamp() - start) / rows);
        COMMIT;
    END LOOP;
    UPDATE measurement SET value = value / rows WHERE what = 'convert, a row';
    INSERT INTO measurement
        SELECT w.what, 'nothing', m.value FROM measurement m, (VALUES ('encrypt_column'), ('reencrypt_column')) AS w (what)
        WHERE m.what = 'convert, a row';
    DELETE FROM measurement WHERE what = 'convert, a row';
    DROP TABLE convert_nothing, convert_ward;
END $$;
CALL conversions(:rounds, 500000);
