-- What the benchmarks share: a place for measurements, and procedures that take them.
\set ON_ERROR_STOP 1
CREATE EXTENSION pg_ward;
CREATE EXTENSION pgcrypto;
SELECT ward.generate_encryption_key('bench');

CREATE TABLE measurement (what text, variant text, value float8);

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

-- The usual home-made audit: a row trigger that stores both images as jsonb and chains a hash, under
-- a lock, because a chain has an order.
CREATE TABLE home_made_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    actor name NOT NULL DEFAULT current_user,
    table_name name NOT NULL,
    operation text NOT NULL,
    old_values jsonb,
    new_values jsonb,
    hash bytea NOT NULL
);
CREATE FUNCTION home_made_audit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    old_values jsonb;
    new_values jsonb;
    previous bytea;
BEGIN
    IF TG_OP <> 'INSERT' THEN old_values := to_jsonb(OLD); END IF;
    IF TG_OP <> 'DELETE' THEN new_values := to_jsonb(NEW); END IF;
    PERFORM pg_advisory_xact_lock(4711);
    SELECT hash INTO previous FROM home_made_log ORDER BY id DESC LIMIT 1;
    INSERT INTO home_made_log (table_name, operation, old_values, new_values, hash)
    VALUES (TG_TABLE_NAME, TG_OP, old_values, new_values,
            sha256(coalesce(previous, '') || convert_to(
                concat(TG_TABLE_NAME, TG_OP, old_values, new_values), 'UTF8')));
    RETURN NULL;
END $$;

-- Makes the table of one variant anew: nothing, ward, or home_made.
CREATE PROCEDURE fresh(variant text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('DROP TABLE IF EXISTS rows_%s', variant);
    EXECUTE format('CREATE TABLE rows_%s (id bigint PRIMARY KEY, customer int NOT NULL,
        amount numeric(12, 2) NOT NULL, note text, changed_at timestamptz NOT NULL)', variant);
    IF variant = 'ward' THEN
        PERFORM ward.enable_audit('rows_ward');
    ELSIF variant = 'home_made' THEN
        CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON rows_home_made
            FOR EACH ROW EXECUTE FUNCTION home_made_audit();
    END IF;
    COMMIT;
END $$;

-- The INSERT that fills the table of a variant.
CREATE FUNCTION fill(variant text, rows bigint) RETURNS text LANGUAGE sql AS $$
    SELECT format('INSERT INTO rows_%s SELECT g, g %% 1000, g * 0.01, ''note of row '' || g, now()
                   FROM generate_series(1, %s) g', variant, rows)
$$;
