-- The history of one record among a million entries, ten million in a full run. Each record has entries all over
-- the log. Measured with what it reads in memory: the first reading waits for the disk, or for what was written just before.
\set ON_ERROR_STOP 1
SELECT CASE WHEN :rounds >= 12 THEN 100 ELSE 10 END AS turns \gset
CALL fresh('ward');
SELECT fill('ward', 100000) \gexec
SELECT 'UPDATE rows_ward SET amount = amount + 1' FROM generate_series(2, :turns) \gexec
SELECT ward.seal_audit_trail();

-- How long the histories of 100 records take, a row each.
CREATE PROCEDURE histories(turns int) LANGUAGE plpgsql AS $$
DECLARE
    start timestamptz;
    found bigint;
BEGIN
    FOR n IN 1 .. 100 LOOP
        start := clock_timestamp();
        SELECT count(*) INTO found FROM ward.audit_history('rows_ward', (1 + n * 7919 % 100000)::text);
        INSERT INTO measurement
        VALUES ('history', 'ward', extract(epoch FROM clock_timestamp() - start));
        IF found <> turns THEN
            RAISE EXCEPTION 'the history of a record has % entries instead of %', found, turns;
        END IF;
        COMMIT;
    END LOOP;
    INSERT INTO measurement VALUES ('history, entries', 'ward', turns * 100000.0);
END $$;
CHECKPOINT;
CALL histories(:turns);
DELETE FROM measurement WHERE what LIKE 'history%';
CALL histories(:turns);
DROP PROCEDURE histories;
DO $$ BEGIN
    IF EXISTS (SELECT FROM ward.verify_audit_index()) THEN
        RAISE EXCEPTION 'the index of the benchmark is not that of its entries';
    END IF;
END $$;
