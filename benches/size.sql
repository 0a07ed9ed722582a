-- Bytes an entry of one variant. The journals are left out: they hold what is not sealed yet and are emptied
-- afterwards. Autovacuum is off, so VACUUM is called; a first INSERT, which is not measured, leaves behind the
-- room that is used again and again from then on.
\set ON_ERROR_STOP 1
CREATE VIEW trail_table AS
    SELECT 'ward' AS variant, oid::regclass AS tab FROM pg_class
    WHERE relnamespace = 'ward'::regnamespace AND relkind = 'r' AND relname LIKE 'audit\_%'
      AND relname !~ '^audit_journal_[01]$'
    UNION ALL SELECT 'transition', 'transition_log';
CREATE FUNCTION trail_bytes(variant text) RETURNS float8 LANGUAGE sql AS $$
    SELECT sum(pg_total_relation_size(tab)) FROM trail_table t WHERE t.variant = trail_bytes.variant
$$;
-- Waits until everything is sealed, and until the worker has done whatever it does afterwards.
CREATE PROCEDURE settle(variant text) LANGUAGE plpgsql AS $$
DECLARE
    before float8;
BEGIN
    PERFORM ward.seal_audit_trail();
    COMMIT;
    WHILE before IS DISTINCT FROM trail_bytes(variant) LOOP
        before := trail_bytes(variant);
        COMMIT;
        PERFORM pg_sleep(3);
    END LOOP;
END $$;

SELECT 'narrow_' || :'variant' AS tab \gset
CREATE TABLE :tab (id int PRIMARY KEY, a int, b text);
CALL audit(:'tab', :'variant');
INSERT INTO :tab SELECT -g, g % 1000, 'text ' || g % 1000 FROM generate_series(1, :rows) g;
CALL settle(:'variant');
SELECT format('VACUUM %s', tab) FROM trail_table WHERE variant = :'variant' \gexec

SELECT trail_bytes(:'variant') AS before \gset
INSERT INTO :tab SELECT g, g % 1000, 'text ' || g % 1000 FROM generate_series(1, :rows) g;
CALL settle(:'variant');
SELECT format('VACUUM %s', tab) FROM trail_table WHERE variant = :'variant' \gexec
INSERT INTO measurement VALUES ('bytes, INSERT', :'variant', (trail_bytes(:'variant') - :before) / :rows);

SELECT trail_bytes(:'variant') AS before \gset
UPDATE :tab SET a = a + 1 WHERE id > 0;
CALL settle(:'variant');
SELECT format('VACUUM %s', tab) FROM trail_table WHERE variant = :'variant' \gexec
INSERT INTO measurement VALUES ('bytes, UPDATE', :'variant', (trail_bytes(:'variant') - :before) / :rows);

DROP TABLE :tab;
DROP PROCEDURE settle;
DROP FUNCTION trail_bytes;
DROP VIEW trail_table;
