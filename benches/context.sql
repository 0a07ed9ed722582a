-- Tenant context: what a policy adds to a query, and what setting a tenant costs.
\set ON_ERROR_STOP 1
SET client_min_messages = warning;
CREATE TABLE tenant_rows (tenant_id uuid NOT NULL, id int NOT NULL, note text NOT NULL);
INSERT INTO tenant_rows
SELECT ('00000000-0000-0000-0000-' || lpad((g % 10000)::text, 12, '0'))::uuid, g, 'note of row ' || g
FROM generate_series(1, 1000000) g;
CREATE INDEX ON tenant_rows (tenant_id);
CREATE VIEW every_row AS SELECT * FROM tenant_rows; -- of a superuser, so without the policy
SELECT ward.enable_tenant_isolation('tenant_rows');
VACUUM ANALYZE tenant_rows;
CREATE ROLE bench_app;
GRANT SELECT ON tenant_rows, every_row TO bench_app;
GRANT INSERT ON measurement TO bench_app;

-- Plans are cached by plpgsql, so this is execution; every variant runs in the same transaction.
CREATE FUNCTION tenant_bench(rounds int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    start timestamptz;
    calls constant int := 200000;
    lookups constant int := 5000;
BEGIN
    SET LOCAL jit = off;
    SET LOCAL max_parallel_workers_per_gather = 0;
    PERFORM ward.set_tenant_context('00000000-0000-0000-0000-000000000042'::uuid);
    FOR round IN 1..rounds LOOP
        SET LOCAL enable_seqscan = off;
        start := clock_timestamp();
        FOR i IN 1..lookups LOOP
            PERFORM sum(id) FROM every_row WHERE tenant_id = '00000000-0000-0000-0000-000000000042';
        END LOOP;
        INSERT INTO measurement VALUES ('policy, index', 'nothing', extract(epoch FROM clock_timestamp() - start) / lookups);
        start := clock_timestamp();
        FOR i IN 1..lookups LOOP
            PERFORM sum(id) FROM tenant_rows;
        END LOOP;
        INSERT INTO measurement VALUES ('policy, index', 'ward', extract(epoch FROM clock_timestamp() - start) / lookups);
        start := clock_timestamp();
        PERFORM sum(length(g::text)) FROM generate_series(1, calls) g;
        INSERT INTO measurement VALUES ('set tenant', 'nothing', extract(epoch FROM clock_timestamp() - start) / calls);
        start := clock_timestamp();
        PERFORM count(ward.set_tenant_context('00000000-0000-0000-0000-000000000042'::uuid)) + sum(length(g::text))
        FROM generate_series(1, calls) g;
        INSERT INTO measurement VALUES ('set tenant', 'ward', extract(epoch FROM clock_timestamp() - start) / calls);
    END LOOP;
END $$;
-- The same without the index. Another function, because plans are cached.
CREATE FUNCTION tenant_scan_bench(rounds int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    start timestamptz;
BEGIN
    SET LOCAL jit = off;
    SET LOCAL max_parallel_workers_per_gather = 0;
    SET LOCAL enable_indexscan = off;
    SET LOCAL enable_bitmapscan = off;
    PERFORM ward.set_tenant_context('00000000-0000-0000-0000-000000000042'::uuid);
    FOR round IN 1..rounds LOOP
        start := clock_timestamp();
        PERFORM sum(id) FROM every_row WHERE tenant_id = '00000000-0000-0000-0000-000000000042';
        INSERT INTO measurement VALUES ('policy, scan', 'nothing', extract(epoch FROM clock_timestamp() - start));
        start := clock_timestamp();
        PERFORM sum(id) FROM tenant_rows;
        INSERT INTO measurement VALUES ('policy, scan', 'ward', extract(epoch FROM clock_timestamp() - start));
    END LOOP;
END $$;
BEGIN;
SET LOCAL ROLE bench_app;
SELECT tenant_bench(:rounds);
COMMIT;
BEGIN;
SET LOCAL ROLE bench_app;
SELECT tenant_scan_bench(:rounds);
COMMIT;
DROP OWNED BY bench_app;
DROP ROLE bench_app;
