-- 100,000 rows in one INSERT, then in one UPDATE: unaudited, pg_ward, home-made.
\set ON_ERROR_STOP 1
SET jit = off;
SET client_min_messages = warning;
CREATE PROCEDURE bulk(rounds int) LANGUAGE plpgsql AS $$
DECLARE
    variant text;
BEGIN
    FOR round IN 1..rounds LOOP
        FOREACH variant IN ARRAY '{nothing,ward,home_made}'::text[] LOOP
            CALL fresh(variant);
            CALL measure('insert', variant, fill(variant, 100000));
            PERFORM ward.seal_audit_trail(); -- so that the worker is idle while the next one runs
            COMMIT;
            CALL measure('update', variant,
                format('UPDATE rows_%s SET amount = amount + 1, changed_at = now()', variant));
            PERFORM ward.seal_audit_trail();
            COMMIT;
        END LOOP;
    END LOOP;
END $$;
CALL bulk(5);
