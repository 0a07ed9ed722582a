-- What the pieces share: a place for measurements, procedures that take them, and tables audited in each way.
\set ON_ERROR_STOP 1
SELECT current_setting('shared_preload_libraries') AS library,
       current_setting('shared_preload_libraries') = 'pg_ward' AS ward \gset
CREATE EXTENSION :library;
\if :ward
CREATE EXTENSION pgcrypto;
SELECT ward.generate_encryption_key('bench');
\endif

-- The n-th values of two variants were measured one after the other.
CREATE TABLE measurement (
    what text NOT NULL,
    variant text NOT NULL,
    value float8 NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY
);

-- Runs a statement and its commit; notes the seconds both took.
CREATE PROCEDURE measure(what text, variant text, statement text) LANGUAGE plpgsql AS $$
DECLARE
    start timestamptz;
BEGIN
    COMMIT;
    start := clock_timestamp();
    EXECUTE statement;
    COMMIT;
    INSERT INTO measurement
    VALUES (what, variant, extract(epoch FROM clock_timestamp() - start));
    COMMIT;
END $$;

-- Notes the age of the oldest entry that no block covers, at most, and has it sealed.
CREATE PROCEDURE catch_up(what text) LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO measurement
    SELECT what, 'ward', extract(epoch FROM clock_timestamp() - max(sealed_at)) FROM ward.audit_blocks;
    PERFORM ward.seal_audit_trail();
END $$;

-- The home-made audit of the source documents, "chain": a row trigger that stores both images as jsonb and
-- chains a hash, under a lock, because a chain has an order.
CREATE TABLE chain_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    actor name NOT NULL DEFAULT current_user,
    table_name name NOT NULL,
    operation text NOT NULL,
    old_values jsonb,
    new_values jsonb,
    hash bytea NOT NULL
);
CREATE FUNCTION chain_audit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    old_values jsonb;
    new_values jsonb;
    previous bytea;
BEGIN
    IF TG_OP <> 'INSERT' THEN old_values := to_jsonb(OLD); END IF;
    IF TG_OP <> 'DELETE' THEN new_values := to_jsonb(NEW); END IF;
    PERFORM pg_advisory_xact_lock(4711);
    SELECT hash INTO previous FROM chain_log ORDER BY id DESC LIMIT 1;
    INSERT INTO chain_log (table_name, operation, old_values, new_values, hash)
    VALUES (TG_TABLE_NAME, TG_OP, old_values, new_values,
            sha256(coalesce(previous, '') || convert_to(
                concat(TG_TABLE_NAME, TG_OP, old_values, new_values), 'UTF8')));
    RETURN NULL;
END $$;

-- The fastest that plpgsql can do, "transition": a statement's rows at once, as jsonb, with the usual indexes
-- and nothing that shows tampering.
CREATE TABLE transition_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    actor name NOT NULL DEFAULT current_user,
    table_name name NOT NULL,
    record_id text,
    operation text NOT NULL,
    old_values jsonb,
    new_values jsonb
);
CREATE INDEX ON transition_log (table_name, record_id);
CREATE INDEX ON transition_log (at);
CREATE PROCEDURE transition_audit(tab name, key name) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format($f$
        CREATE OR REPLACE FUNCTION transition_%1$s() RETURNS trigger LANGUAGE plpgsql AS $t$
        BEGIN
            IF TG_OP = 'INSERT' THEN
                INSERT INTO transition_log (table_name, record_id, operation, new_values)
                SELECT TG_TABLE_NAME, n.%2$I, TG_OP, to_jsonb(n) FROM new_rows n;
            ELSIF TG_OP = 'UPDATE' THEN
                INSERT INTO transition_log (table_name, record_id, operation, old_values, new_values)
                SELECT TG_TABLE_NAME, n.%2$I, TG_OP, to_jsonb(o), to_jsonb(n)
                FROM old_rows o JOIN new_rows n USING (%2$I);
            ELSE
                INSERT INTO transition_log (table_name, record_id, operation, old_values)
                SELECT TG_TABLE_NAME, o.%2$I, TG_OP, to_jsonb(o) FROM old_rows o;
            END IF;
            RETURN NULL;
        END $t$;
        CREATE TRIGGER bench_insert AFTER INSERT ON %1$s REFERENCING NEW TABLE AS new_rows
            FOR EACH STATEMENT EXECUTE FUNCTION transition_%1$s();
        CREATE TRIGGER bench_update AFTER UPDATE ON %1$s REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
            FOR EACH STATEMENT EXECUTE FUNCTION transition_%1$s();
        CREATE TRIGGER bench_delete AFTER DELETE ON %1$s REFERENCING OLD TABLE AS old_rows
            FOR EACH STATEMENT EXECUTE FUNCTION transition_%1$s();
    $f$, tab, key);
END $$;

-- Audits a table in one of the ways, and in no other: nothing, ward, chain, transition, pgaudit.
CREATE PROCEDURE audit(tab name, variant text, key name DEFAULT 'id') LANGUAGE plpgsql AS $$
DECLARE
    trigger name;
BEGIN
    FOR trigger IN SELECT tgname FROM pg_trigger WHERE tgrelid = tab::regclass AND tgname LIKE 'bench\_%' LOOP
        EXECUTE format('DROP TRIGGER %I ON %I', trigger, tab);
    END LOOP;
    IF variant = 'pgaudit' THEN
        -- what the role named by pgaudit.role may do to the table is logged
        EXECUTE format('GRANT INSERT, UPDATE, DELETE ON %I TO bench_auditor', tab);
        RETURN;
    END IF;
    IF EXISTS (SELECT FROM ward.audited_tables WHERE table_schema = 'public' AND table_name = tab) THEN
        PERFORM ward.disable_audit(tab::regclass);
    END IF;
    CASE variant
        WHEN 'nothing' THEN NULL;
        WHEN 'ward' THEN PERFORM ward.enable_audit(tab::regclass);
        WHEN 'chain' THEN EXECUTE format('CREATE TRIGGER bench_chain AFTER INSERT OR UPDATE OR DELETE ON %I
            FOR EACH ROW EXECUTE FUNCTION chain_audit()', tab);
        WHEN 'transition' THEN CALL transition_audit(tab, key);
    END CASE;
END $$;

-- Makes the table of one variant anew.
CREATE PROCEDURE fresh(variant text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('DROP TABLE IF EXISTS rows_%s', variant);
    EXECUTE format('CREATE TABLE rows_%s (id bigint PRIMARY KEY, customer int NOT NULL,
        amount numeric(12, 2) NOT NULL, note text, changed_at timestamptz NOT NULL)', variant);
    CALL audit('rows_' || variant, variant);
    COMMIT;
END $$;

-- The INSERT that fills the table of a variant.
CREATE FUNCTION fill(variant text, rows bigint) RETURNS text LANGUAGE sql AS $$
    SELECT format('INSERT INTO rows_%s SELECT g, g %% 1000, g * 0.01, ''note of row '' || g, now()
                   FROM generate_series(1, %s) g', variant, rows)
$$;
