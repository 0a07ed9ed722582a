-- Samples the lag of sealing while clients write. Every committed entry that is in no block is younger than the
-- snapshot of the last block, so that block's age is the age of the oldest such entry at most.
\set ON_ERROR_STOP 1
CREATE PROCEDURE sample_lag(seconds int) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_sleep(2); -- until the worker is at it
    FOR sample IN 1..seconds * 20 LOOP
        INSERT INTO measurement
        SELECT 'lag', 'ward', extract(epoch FROM clock_timestamp() - max(sealed_at)) FROM ward.audit_blocks;
        COMMIT;
        PERFORM pg_sleep(0.05);
    END LOOP;
END $$;
CALL sample_lag(:seconds);
