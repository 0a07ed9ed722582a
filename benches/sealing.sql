-- Sealing a million entries of one statement, and 200,000 entries of a transaction each. The worker is held back
-- until they are there.
\set ON_ERROR_STOP 1
ALTER SYSTEM SET ward.seal_interval = '1h';
SELECT pg_reload_conf();
CREATE PROCEDURE sealing() LANGUAGE plpgsql AS $$
DECLARE
    start timestamptz;
BEGIN
    CALL fresh('ward');
    PERFORM ward.seal_audit_trail();
    COMMIT;
    EXECUTE fill('ward', 1000000);
    COMMIT;
    start := clock_timestamp();
    PERFORM ward.seal_audit_trail();
    INSERT INTO measurement
    VALUES ('seal, one statement', 'ward', 1000000 / extract(epoch FROM clock_timestamp() - start));
    COMMIT;
    SET synchronous_commit = off;
    FOR n IN 1..200000 LOOP
        UPDATE rows_ward SET amount = amount + 1 WHERE id = n;
        COMMIT;
    END LOOP;
    start := clock_timestamp();
    PERFORM ward.seal_audit_trail();
    INSERT INTO measurement
    VALUES ('seal, transactions', 'ward', 200000 / extract(epoch FROM clock_timestamp() - start));
END $$;
CALL sealing();
ALTER SYSTEM RESET ward.seal_interval;
SELECT pg_reload_conf();
