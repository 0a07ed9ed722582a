-- Columns of type encrypted_text beside columns of type text: INSERT with a unique index, and a scan that
-- decrypts every value. The tables stay for the lookups of encrypted_text.sh.
\set ON_ERROR_STOP 1
SET max_parallel_workers_per_gather = 0;
SET jit = off;
CREATE TABLE mails_nothing (id bigint, mail text UNIQUE);
CREATE TABLE mails_ward (id bigint, mail ward.encrypted_text('bench') UNIQUE);
-- As random as addresses are, so that neither index is filled in order.
CREATE FUNCTION fill_mails(variant text, rows bigint) RETURNS text LANGUAGE sql AS $$
    SELECT format('INSERT INTO mails_%s SELECT g, md5(g::text) FROM generate_series(1, %s) g', variant, rows)
$$;

CREATE PROCEDURE mails(rounds int) LANGUAGE plpgsql AS $$
DECLARE
    variant text;
BEGIN
    FOR round IN 1..rounds LOOP
        FOREACH variant IN ARRAY '{nothing,ward}'::text[] LOOP
            EXECUTE format('TRUNCATE mails_%s', variant);
            CALL measure('encrypted_text, insert', variant, fill_mails(variant, 100000));
        END LOOP;
    END LOOP;
    FOREACH variant IN ARRAY '{nothing,ward}'::text[] LOOP
        EXECUTE format('TRUNCATE mails_%s', variant);
        EXECUTE fill_mails(variant, 1000000);
        COMMIT;
    END LOOP;
END $$;
CALL mails(:rounds);
VACUUM ANALYZE mails_nothing, mails_ward;

CREATE PROCEDURE scans(rounds int) LANGUAGE plpgsql AS $$
BEGIN
    FOR round IN 1..rounds LOOP
        CALL measure('encrypted_text, scan', 'nothing', 'SELECT count(mail) FROM mails_ward');
        CALL measure('encrypted_text, scan', 'ward', 'SELECT count(mail::text) FROM mails_ward');
    END LOOP;
END $$;
CALL scans(:rounds);
