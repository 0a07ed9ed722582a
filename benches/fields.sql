-- Encrypting and decrypting a 24-byte text over 500,000 rows, against pgcrypto on the same rows.
\set ON_ERROR_STOP 1
SET max_parallel_workers_per_gather = 0;
SET jit = off;

CREATE TABLE plain AS
    SELECT substr(md5(g::text), 1, 24) AS t, substr(md5(g::text), 1, 24)::bytea AS b
    FROM generate_series(1, 500000) g;
CREATE TABLE sealed AS
    SELECT ward.encrypt(t, 'bench') AS ward,
           encrypt_iv(b, sha256('key'), substr(sha256('iv'), 1, 16), 'aes') AS pgcrypto
    FROM plain;
VACUUM ANALYZE plain, sealed;

CREATE PROCEDURE fields(rounds int) LANGUAGE plpgsql AS $$
DECLARE
    -- constants, so that only the cipher is measured
    key_iv text := format('%L::bytea, %L::bytea, ''aes''', sha256('key'), substr(sha256('iv'), 1, 16));
BEGIN
    FOR round IN 1..rounds LOOP
        CALL measure('encrypt', 'scan', 'SELECT count(t) FROM plain');
        CALL measure('encrypt', 'ward', 'SELECT count(ward.encrypt(t, ''bench'')) FROM plain');
        CALL measure('encrypt', 'pgcrypto', format('SELECT count(encrypt_iv(b, %s)) FROM plain', key_iv));
        CALL measure('decrypt', 'scan', 'SELECT count(ward) FROM sealed');
        CALL measure('decrypt', 'ward', 'SELECT count(ward.decrypt(ward)) FROM sealed');
        CALL measure('decrypt', 'pgcrypto', format('SELECT count(decrypt_iv(pgcrypto, %s)) FROM sealed', key_iv));
    END LOOP;
END $$;
CALL fields(5);
DROP TABLE plain, sealed;
