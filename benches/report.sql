-- One table: each figure beside its alternative and its target.
\set ON_ERROR_STOP 1
\pset border 2
\pset null '-'
\pset footer off
CREATE TEMPORARY TABLE figure AS
WITH median AS (
    SELECT what, variant, percentile_cont(0.5) WITHIN GROUP (ORDER BY value) AS value
    FROM measurement GROUP BY what, variant
)
SELECT what,
       max(value) FILTER (WHERE variant IN ('scan', 'nothing')) AS base,
       max(value) FILTER (WHERE variant = 'ward') AS ward,
       max(value) FILTER (WHERE variant IN ('pgcrypto', 'home_made')) AS other
FROM median GROUP BY what;

WITH line (place, measured, unit, unaudited, alternative, pg_ward, ratio, target, met) AS (
    SELECT 1.0, what || ' 24 bytes, net of the scan; pgcrypto AES-256-CBC', 'µs a value', NULL::float8,
           (other - base) * 2, (ward - base) * 2, (other - base) / (ward - base),
           '<= 0.7 µs, 3 times faster', (ward - base) * 2 <= 0.7 AND (other - base) >= 3 * (ward - base)
    FROM figure WHERE what IN ('encrypt', 'decrypt')
    UNION ALL
    -- seconds for so many rows, as microseconds a value
    SELECT 1.1, f.what || '; ' || form, 'µs a value', NULL, (other - base) / other_rows * 1e6,
           (ward - base) / rows * 1e6, ((other - base) / other_rows) / ((ward - base) / rows),
           times || ' times faster', (other - base) / other_rows >= times * (ward - base) / rows
    FROM figure f JOIN (VALUES
        ('encrypt, s2k-mode=1', 20000, 20000, 'pgp_sym_encrypt AES-256', 8),
        ('decrypt, s2k-mode=1', 20000, 20000, 'pgp_sym_decrypt AES-256', 8),
        ('decrypt, default s2k', 500, 500, 'pgp_sym_decrypt AES-256', NULL),
        ('encrypt 64 KiB', 2000, 2000, 'pgcrypto AES-256-CBC', NULL),
        ('decrypt 64 KiB', 2000, 2000, 'pgcrypto AES-256-CBC', NULL),
        ('blind_index', 20000, 20000, 'pgcrypto hmac', NULL),
        ('encrypt_with_password, 20,000 at once', 20000, 500, 'pgp_sym_encrypt, default s2k', NULL)
    ) AS v (what, rows, other_rows, form, times) USING (what)
    UNION ALL
    SELECT 1.1, 'encrypted_text, INSERT of 100,000 rows with a unique index; beside text', 'µs a row', base * 10, NULL,
           ward * 10, ward / base, '<= 2.5 times text', ward / base <= 2.5
    FROM figure WHERE what = 'encrypted_text, insert'
    UNION ALL
    SELECT 1.2, 'encrypted_text, lookup among 1,000,000 rows; beside text', 'µs', base * 1e6, NULL,
           ward * 1e6, ward / base, '<= 1.3 times text', ward / base <= 1.3
    FROM figure WHERE what = 'encrypted_text, lookup'
    UNION ALL
    SELECT 1.3, 'encrypted_text, scan that decrypts every value', 'values/s', NULL, NULL,
           1e6 / ward, NULL, '>= 1,000,000', 1e6 / ward >= 1000000
    FROM figure WHERE what = 'encrypted_text, scan'
    UNION ALL
    SELECT 1.4, what || '; beside an UPDATE of text', 'rows/s', 1 / base, NULL, 1 / ward, base / ward,
           CASE what WHEN 'reencrypt_column' THEN '>= 100,000' END, CASE what WHEN 'reencrypt_column' THEN 1 / ward >= 100000 END
    FROM figure WHERE what ~ '^(re)?encrypt_column'
    UNION ALL
    SELECT 2, 'audit, one ' || upper(what) || ' of 100,000 rows; plpgsql hash chain', 'µs added a row', NULL,
           (other - base) * 10, (ward - base) * 10, (other - base) / (ward - base),
           CASE what WHEN 'insert' THEN '<= 3.5 µs' END,
           CASE what WHEN 'insert' THEN (ward - base) * 10 <= 3.5 END
    FROM figure WHERE what IN ('insert', 'update')
    UNION ALL
    SELECT 3, 'audit, 16 clients, synchronous_commit ' || s.mode || '; plpgsql hash chain', 'tps', base,
           other, ward, ward / base, '>= ' || s.target || ' of unaudited', ward / base >= s.target
    FROM figure JOIN (VALUES ('on', 0.85), ('off', 0.65)) AS s (mode, target) ON what = 'tps ' || s.mode
    UNION ALL
    SELECT 4, 'seal what one INSERT of 1,000,000 rows wrote', 'entries/s', NULL, NULL, 1e6 / ward, NULL,
           NULL, NULL
    FROM figure WHERE what = 'seal'
    UNION ALL
    SELECT 5, 'verify ' || entries_checked || ' entries', 'entries/s', NULL, NULL,
           entries_checked / ward, NULL, '>= 800,000', entries_checked / ward >= 800000
    FROM figure, verdict WHERE what = 'verify'
    UNION ALL
    SELECT 6, 'tenant policy, 100 of 1,000,000 rows by index; the tenant as a literal', 'µs a query', base * 1e6, NULL,
           ward * 1e6, ward / base, '<= 1.05 of the literal', ward / base <= 1.05
    FROM figure WHERE what = 'policy, index'
    UNION ALL
    SELECT 6, 'tenant policy, scan of 1,000,000 rows; the tenant as a literal', 'ns added a row', NULL, NULL,
           (ward - base) * 1e3, NULL, '<= 30 ns', (ward - base) * 1e3 <= 30
    FROM figure WHERE what = 'policy, scan'
    UNION ALL
    SELECT 6, 'set the tenant, net of the scan', 'µs a call', NULL, NULL,
           (ward - base) * 1e6, NULL, '<= 1 µs', (ward - base) * 1e6 <= 1
    FROM figure WHERE what = 'set tenant'
    UNION ALL
    SELECT 6, what || ', ES256', 'µs a call', NULL, NULL, ward * 1e6, NULL, '<= ' || target || ' µs', ward * 1e6 <= target
    FROM figure JOIN (VALUES ('authenticate, new token', 150), ('authenticate, known token', 5)) AS t (what, target)
        USING (what)
)
SELECT measured, unit,
       round(unaudited::numeric, CASE WHEN unaudited > 100 THEN 0 ELSE 2 END) AS unaudited,
       round(alternative::numeric, CASE WHEN alternative > 100 THEN 0 ELSE 2 END) AS alternative,
       round(pg_ward::numeric, CASE WHEN pg_ward > 100 THEN 0 ELSE 2 END) AS pg_ward,
       round(ratio::numeric, 2) AS ratio, target,
       CASE met WHEN true THEN 'yes' WHEN false THEN 'NO' END AS met
FROM line ORDER BY place, measured DESC;
