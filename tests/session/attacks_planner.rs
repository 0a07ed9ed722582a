//! Attacks by the owner of a table with code that PostgreSQL runs while it plans to read the table: it calls a function
//! that an index, statistics or a key of partitions uses on constants, with the rights of whoever reads.

use ward_tests::postgres::Client;
use ward_tests::{Cluster, DATABASE, number, refused, run, texts};

/// A role that owns tables of encrypted and other values, with code that notes who it runs as.
fn scene() -> (Cluster, Client, Client) {
    let cluster = Cluster::with_extension();
    let mut admin = cluster.superuser();
    run(
        &mut admin,
        "SELECT ward.generate_encryption_key('k');
         CREATE ROLE mallory LOGIN; CREATE SCHEMA own AUTHORIZATION mallory;
         SELECT ward.grant_key('k', 'mallory', '{encrypt,decrypt,search}')",
    );
    let mut mallory = cluster.client(DATABASE, "mallory");
    // The first function must be immutable, so the second does what an immutable one may not.
    run(
        &mut mallory,
        "SET search_path = own;
         CREATE TABLE seen (who name);
         GRANT INSERT ON seen TO PUBLIC;
         CREATE FUNCTION note() RETURNS int LANGUAGE plpgsql AS $$
         BEGIN INSERT INTO own.seen VALUES (current_user); RETURN 1; END $$;
         CREATE FUNCTION spy(number int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$
         BEGIN PERFORM own.note(); RETURN number; END $$;
         CREATE TABLE bait (id int PRIMARY KEY, email text);
         INSERT INTO bait SELECT g, 'x' || g FROM generate_series(1, 10) g;
         CREATE INDEX ON bait ((own.spy(1)))",
    );
    (cluster, admin, mallory)
}

const WHO: &str = "SELECT DISTINCT who::text FROM own.seen";

#[test]
fn an_index_on_a_constant_of_a_column_that_is_converted() {
    let (cluster, mut admin, mut mallory) = scene();
    for call in [
        "CALL ward.encrypt_column('own.bait', 'email', 'k')",
        "CALL ward.reencrypt_column('own.bait', 'email')",
        "CALL ward.decrypt_column('own.bait', 'email')",
    ] {
        run(&mut mallory, "TRUNCATE own.seen");
        // A session that has not planned to read the table yet.
        run(&mut cluster.client(DATABASE, "mallory"), call);
        assert_eq!(texts(&mut admin, WHO), ["mallory"], "{call}");
        run(
            &mut admin,
            "SELECT ward.rotate_encryption_key('k'); SELECT ward.grant_key('k', 'mallory', '{encrypt,decrypt,search}')",
        );
    }
    let same = "SELECT count(*) FROM own.bait WHERE email = 'x' || id";
    assert_eq!(number(&mut admin, same), 10);
}

#[test]
fn code_of_tables_that_are_counted_for_an_administrator() {
    let (cluster, mut admin, mut mallory) = scene();
    run(
        &mut mallory,
        "CALL ward.encrypt_column('own.bait', 'email', 'k')",
    );
    run(
        &mut mallory,
        "CREATE TABLE by_condition (v bytea);
         CREATE INDEX ON by_condition (v) WHERE own.spy(1) = 1;
         CREATE TABLE by_statistics (v bytea, a int);
         CREATE STATISTICS own.estimates ON (own.spy(1) + a), a FROM by_statistics;
         CREATE TABLE by_key (v bytea, a int) PARTITION BY RANGE ((own.spy(1) + a));
         CREATE TABLE by_key_1 PARTITION OF by_key FOR VALUES FROM (0) TO (9);
         CREATE DOMAIN checked AS int CHECK (own.spy(1) = 1);
         CREATE TABLE by_domain (v bytea);
         CREATE INDEX ON by_domain (v) WHERE 1::own.checked = 1;
         CREATE TABLE above (v bytea, a int);
         CREATE TABLE below () INHERITS (above);
         ALTER TABLE below ADD CHECK (a <> own.spy(1));
         CREATE INDEX ON below (a) WHERE own.spy(1) = 1;
         CREATE TABLE by_check (v bytea, a int) PARTITION BY LIST (a);
         CREATE TABLE by_check_1 PARTITION OF by_check FOR VALUES IN (1);
         ALTER TABLE by_check_1 ADD CHECK (own.spy(1) = 1);
         INSERT INTO by_condition SELECT ward.encrypt('x', 'k');
         INSERT INTO by_statistics SELECT ward.encrypt('x', 'k'), 1;
         INSERT INTO by_key SELECT ward.encrypt('x', 'k'), 1;
         INSERT INTO by_domain SELECT ward.encrypt('x', 'k');
         INSERT INTO below SELECT ward.encrypt('x', 'k'), 0;
         INSERT INTO by_check SELECT ward.encrypt('x', 'k'), 1;
         CREATE TABLE plain (v bytea);
         CREATE INDEX ON plain (v) WHERE length(v) > 10;
         INSERT INTO plain SELECT ward.encrypt('x', 'k');
         ANALYZE bait, plain, by_check",
    );
    run(&mut mallory, "TRUNCATE own.seen");
    for exact in [false, true] {
        // The numbers of the first come from statistics.
        let listed = format!(
            "SELECT table_name || ' ' || encrypted FROM ward.encryption_status({exact}) ORDER BY 1"
        );
        let mut admin = cluster.superuser();
        assert_eq!(
            texts(&mut admin, &listed),
            ["bait 10", "by_check 1", "plain 1"]
        );
    }
    assert_eq!(texts(&mut admin, WHO), [""; 0]);
    // The owner's own code tells him all.
    let listed = "SELECT count(*) FROM ward.encryption_status(true)";
    assert_eq!(number(&mut mallory, listed), 9);
}

#[test]
fn the_key_of_a_partitioned_table_that_is_audited() {
    let (cluster, mut admin, mut mallory) = scene();
    run(
        &mut mallory,
        "CREATE TABLE whole (id int, a int, v text) PARTITION BY LIST (id);
         CREATE TABLE alone (id int, a int, v text) PARTITION BY RANGE ((own.spy(1) + a));
         CREATE TABLE alone_1 PARTITION OF alone FOR VALUES FROM (0) TO (9)",
    );
    run(
        &mut admin,
        "SELECT ward.enable_audit('own.whole', redact => '{v}')",
    );
    let fresh = || cluster.client(DATABASE, "mallory");
    let part = "CREATE TABLE own.part PARTITION OF own.whole FOR VALUES IN (1) PARTITION BY RANGE ((own.spy(1) + a))";
    assert_eq!(refused(&mut fresh(), part).code().code(), "55000");
    let enable = "SELECT ward.enable_audit('own.alone')";
    assert_eq!(
        refused(&mut cluster.superuser(), enable).code().code(),
        "55000"
    );
    assert_eq!(texts(&mut admin, WHO), ["mallory"]);

    // A superuser's function is not replaced by anybody else.
    run(
        &mut admin,
        "CREATE FUNCTION public.trusted(number int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN number; END'",
    );
    for command in [
        "CREATE TABLE own.part PARTITION OF own.whole FOR VALUES IN (1) PARTITION BY RANGE ((trusted(1) + a))",
        "CREATE TABLE own.part_1 PARTITION OF own.part FOR VALUES FROM (0) TO (9)",
        "ALTER TABLE own.whole DETACH PARTITION own.part",
        "ALTER TABLE own.part RENAME v TO w",
    ] {
        run(&mut fresh(), command);
    }
    run(&mut admin, "SELECT ward.disable_audit('own.part')");
}
