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
CALL fields(:rounds);

-- The other forms, over fewer rows because most of the alternatives are slow.
CREATE TABLE some_rows AS
    SELECT t, ward.encrypt(t, 'bench') AS ward,
           pgp_sym_encrypt(t, 'key', 's2k-mode=1, cipher-algo=aes256') AS s2k
    FROM plain LIMIT 20000;
CREATE TABLE few_rows AS
    SELECT t, ward.encrypt(t, 'bench') AS ward, pgp_sym_encrypt(t, 'key', 'cipher-algo=aes256') AS pgp
    FROM plain LIMIT 500;
CREATE TABLE large AS
    SELECT b, ward.encrypt(b, 'bench') AS ward,
           encrypt_iv(b, sha256('key'), substr(sha256('iv'), 1, 16), 'aes') AS pgcrypto
    FROM (SELECT decode(repeat(md5(g::text), 4096), 'hex') AS b FROM generate_series(1, 2000) g) x;
VACUUM ANALYZE some_rows, few_rows, large;

CREATE PROCEDURE other_forms(rounds int) LANGUAGE plpgsql AS $$
DECLARE
    key_iv text := format('%L::bytea, %L::bytea, ''aes''', sha256('key'), substr(sha256('iv'), 1, 16));
    statement record;
BEGIN
    FOR round IN 1..rounds LOOP
        FOR statement IN SELECT * FROM (VALUES
            ('encrypt, s2k-mode=1', 'scan', 't', 'some_rows'),
            ('encrypt, s2k-mode=1', 'ward', 'ward.encrypt(t, ''bench'')', 'some_rows'),
            ('encrypt, s2k-mode=1', 'pgcrypto', 'pgp_sym_encrypt(t, ''key'', ''s2k-mode=1, cipher-algo=aes256'')', 'some_rows'),
            ('decrypt, s2k-mode=1', 'scan', 'ward', 'some_rows'),
            ('decrypt, s2k-mode=1', 'ward', 'ward.decrypt(ward)', 'some_rows'),
            ('decrypt, s2k-mode=1', 'pgcrypto', 'pgp_sym_decrypt(s2k, ''key'')', 'some_rows'),
            ('decrypt, default s2k', 'scan', 'ward', 'few_rows'),
            ('decrypt, default s2k', 'ward', 'ward.decrypt(ward)', 'few_rows'),
            ('decrypt, default s2k', 'pgcrypto', 'pgp_sym_decrypt(pgp, ''key'')', 'few_rows'),
            ('encrypt 64 KiB', 'scan', 'get_byte(b, 65535)', 'large'),
            ('encrypt 64 KiB', 'ward', 'ward.encrypt(b, ''bench'')', 'large'),
            ('encrypt 64 KiB', 'pgcrypto', format('encrypt_iv(b, %s)', key_iv), 'large'),
            ('decrypt 64 KiB', 'scan', 'get_byte(ward, 65535)', 'large'),
            ('decrypt 64 KiB', 'ward', 'ward.decrypt_bytea(ward)', 'large'),
            ('decrypt 64 KiB', 'pgcrypto', format('decrypt_iv(pgcrypto, %s)', key_iv), 'large'),
            ('blind_index', 'scan', 't', 'some_rows'),
            ('blind_index', 'ward', 'ward.blind_index(t, ''bench'')', 'some_rows'),
            ('blind_index', 'pgcrypto', 'hmac(t, ''key'', ''sha256'')', 'some_rows'),
            ('encrypt_with_password, 20,000 at once', 'scan', 't', 'some_rows'),
            ('encrypt_with_password, 20,000 at once', 'ward', 'ward.encrypt_with_password(t, ''key'')', 'some_rows'),
            ('encrypt_with_password, 20,000 at once', 'pgcrypto', 'pgp_sym_encrypt(t, ''key'', ''cipher-algo=aes256'')', 'few_rows')
        ) AS s (what, variant, expression, source) LOOP
            CALL measure(statement.what, statement.variant,
                format('SELECT count(%s) FROM %s', statement.expression, statement.source));
        END LOOP;
    END LOOP;
END $$;
CALL other_forms(:rounds);
DROP TABLE plain, sealed, some_rows, few_rows, large;
