-- One table for encryption and context, one for the audit trail: each figure beside its alternatives and its target.
\set ON_ERROR_STOP 1
\pset border 2
\pset null '-'
\pset footer off
-- Medians; "paired" is the median of what pg_ward's n-th value is of the n-th unaudited one.
CREATE TEMPORARY TABLE figure AS
WITH numbered AS (
    SELECT *, row_number() OVER (PARTITION BY what, variant ORDER BY id) AS round FROM measurement
), pair AS (
    SELECT what, percentile_cont(0.5) WITHIN GROUP (ORDER BY w.value / n.value) AS paired
    FROM numbered w JOIN numbered n USING (what, round)
    WHERE w.variant = 'ward' AND n.variant = 'nothing' AND n.value > 0 GROUP BY what
), median AS (
    SELECT what, variant, percentile_cont(0.5) WITHIN GROUP (ORDER BY value) AS value, max(value) AS most
    FROM measurement GROUP BY what, variant
)
SELECT what,
       max(value) FILTER (WHERE variant IN ('scan', 'nothing')) AS base,
       max(value) FILTER (WHERE variant = 'ward') AS ward,
       max(most) FILTER (WHERE variant = 'ward') AS ward_most,
       max(value) FILTER (WHERE variant = 'pgcrypto') AS other,
       max(value) FILTER (WHERE variant = 'crate') AS crate,
       max(value) FILTER (WHERE variant = 'chain') AS chain,
       max(value) FILTER (WHERE variant = 'transition') AS transition,
       max(value) FILTER (WHERE variant = 'pgaudit') AS pgaudit,
       max(paired) AS paired
FROM median LEFT JOIN pair USING (what) GROUP BY what;

CREATE FUNCTION pg_temp.shown(value float8) RETURNS numeric LANGUAGE sql IMMUTABLE AS
$$ SELECT round(value::numeric, CASE WHEN abs(value) >= 100 THEN 0 ELSE 2 END) $$;
CREATE FUNCTION pg_temp.answer(met boolean) RETURNS text LANGUAGE sql IMMUTABLE AS
$$ SELECT CASE met WHEN true THEN 'yes' WHEN false THEN 'NO' END $$;

CREATE TEMPORARY VIEW line (place, measured, unit, base, alternative, pg_ward, ratio, target, met) AS
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
    SELECT 1.1, what || '; the aes-gcm crate in a loop', 'µs a value', NULL, crate / 2000 * 1e6, (ward - base) / 2000 * 1e6,
           (ward - base) / crate, '<= 1.5 times the crate', ward - base <= 1.5 * crate
    FROM figure WHERE crate IS NOT NULL
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
        USING (what);

CREATE TEMPORARY VIEW audit_line (place, measured, unit, unaudited, pg_ward, chain, transition, pgaudit, ratio, target, met) AS
    SELECT 1, 'one ' || upper(what) || ' of 100,000 rows: added', 'µs a row', base * 10, (ward - base) * 10,
           (chain - base) * 10, (transition - base) * 10, (pgaudit - base) * 10, paired,
           '<= ' || t.most || ' µs', (ward - base) * 10 <= t.most
    FROM figure JOIN (VALUES ('insert', 2.5), ('update', 3.5)) AS t (what, most) USING (what)
    UNION ALL
    -- The disk is the limit where not waiting for it makes at least twice as many transactions.
    SELECT 2 + c.clients / 100.0, 'update of one row, clients: ' || c.clients || ', synchronous_commit ' || c.mode, 'tps',
           f.base, f.ward, f.chain, f.transition, f.pgaudit, f.paired,
           '>= ' || c.target || CASE c.target WHEN 0.92 THEN ', the disk is the limit' ELSE '' END, f.paired >= c.target
    FROM figure f JOIN (
        SELECT clients, mode, format('%s clients, %s', clients, mode) AS what,
               CASE WHEN mode = 'off' THEN 0.72 WHEN off.base >= 2 * syn.base THEN 0.92 ELSE 0.87 END AS target
        FROM (VALUES (1), (4), (16), (64)) AS n (clients) CROSS JOIN (VALUES ('on'), ('off')) AS m (mode)
        JOIN figure syn ON syn.what = clients || ' clients, on' JOIN figure off ON off.what = clients || ' clients, off'
    ) AS c USING (what)
    UNION ALL
    SELECT 3, what || ', 16 clients, four tables audited', 'tps', base, ward, chain, transition, pgaudit, paired,
           '>= 0.88', paired >= 0.88
    FROM figure WHERE what LIKE 'TPC-B%'
    UNION ALL
    SELECT 4, 'WAL of an update of one row, sealing included', 'bytes', base, ward, chain, transition, pgaudit,
           ward / base, NULL, NULL
    FROM figure WHERE what = 'wal'
    UNION ALL
    SELECT 5, 'size of an entry of a narrow table, by ' || substr(what, 8) || '; pgaudit: of its log', 'bytes', NULL, ward, NULL,
           transition, pgaudit,
           ward / transition, '<= 0.7 of transition', ward / transition <= 0.7
    FROM figure WHERE what LIKE 'bytes, %'
    UNION ALL
    SELECT 6, 'seal ' || label || ', index by record included', 'entries/s', NULL, ward, NULL, NULL, NULL, NULL, '>= 300,000', ward >= 300000
    FROM figure JOIN (VALUES
        ('seal, one statement', '1,000,000 entries of one statement'),
        ('seal, transactions', '200,000 entries of a transaction each')
    ) AS l (what, label) USING (what)
    UNION ALL
    SELECT 7, 'oldest unsealed entry, at ' || round(rate.ward) || ' entries/s', 's at most', NULL, lag.ward_most, NULL, NULL,
           NULL, NULL, '<= 2 s at 17,000/s', lag.ward_most <= 2 AND rate.ward >= 0.97 * 17000
    FROM figure lag, figure rate WHERE lag.what = 'lag' AND rate.what = 'lag, rate'
    UNION ALL
    SELECT 7, 'oldest unsealed entry, after any run of clients above', 's at most', NULL, ward_most, NULL, NULL, NULL, NULL,
           '<= 2 s', ward_most <= 2
    FROM figure WHERE what = 'lag, clients'
    UNION ALL
    SELECT 8, format('verify %s leaves: %s, workers: %s', leaves.ward, split_part(v.what, ', ', 2), split_part(v.what, ', ', 3)),
           'leaves/s', NULL, leaves.ward / v.ward, NULL, NULL, NULL, alone.ward / v.ward,
           CASE WHEN v.what = alone.what THEN '>= 1,000,000' ELSE 'ratio to one >= 1.7' END,
           CASE WHEN v.what = alone.what THEN leaves.ward / v.ward >= 1000000 ELSE alone.ward / v.ward >= 1.7 END
    FROM figure leaves
    JOIN figure v ON v.what ~ ('^' || split_part(leaves.what, ',', 1) || ', .*, [12]$')
    JOIN figure alone ON alone.what = regexp_replace(v.what, '[12]$', '1')
    WHERE leaves.what ~ '^verify [0-9]+, leaves$'
    UNION ALL
    SELECT 8.1, format('verify %s leaves beside %s: %s, workers: %s', ten.ward, one.ward, split_part(a.what, ', ', 2),
                       split_part(a.what, ', ', 3)),
           'leaves/s', NULL, ten.ward / b.ward, NULL, NULL, NULL, (ten.ward / b.ward) / (one.ward / a.ward), 'ratio of rates >= 0.9',
           (ten.ward / b.ward) / (one.ward / a.ward) >= 0.9
    FROM figure one, figure ten, figure a JOIN figure b ON b.what = regexp_replace(a.what, '^verify 1,', 'verify 10,')
    WHERE one.what = 'verify 1, leaves' AND ten.what = 'verify 10, leaves' AND a.what ~ '^verify 1, .*, [12]$'
    UNION ALL
    SELECT 9, 'history of one record among ' || entries.ward || ' entries', 'ms', NULL, history.ward * 1000, NULL, NULL,
           NULL, NULL, '<= 5 ms', history.ward <= 0.005
    FROM figure history, figure entries WHERE history.what = 'history' AND entries.what = 'history, entries';

SELECT EXISTS (SELECT FROM line) AS has_lines, EXISTS (SELECT FROM audit_line) AS has_audit_lines \gset
\if :has_lines
\echo 'Encryption and context: base is the scan, text or the literal that is beside it'
SELECT measured, unit, pg_temp.shown(base) AS base, pg_temp.shown(alternative) AS alternative,
       pg_temp.shown(pg_ward) AS pg_ward, pg_temp.shown(ratio) AS ratio, target, pg_temp.answer(met) AS met
FROM line ORDER BY place, measured DESC;
\endif
\if :has_audit_lines
\echo 'Audit trail; ratio: pg_ward to unaudited, in pairs of runs; hash chain and transition table: jsonb, in plpgsql'
SELECT measured, unit, pg_temp.shown(unaudited) AS unaudited, pg_temp.shown(pg_ward) AS pg_ward,
       pg_temp.shown(chain) AS "hash chain", pg_temp.shown(transition) AS "transition",
       pg_temp.shown(pgaudit) AS :"pgaudit", round(ratio::numeric, 2) AS ratio, target, pg_temp.answer(met) AS met
FROM audit_line ORDER BY place, measured;
\endif
