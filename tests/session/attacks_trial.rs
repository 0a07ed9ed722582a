//! Attacks by the owner of a table with `ward.test_isolation`, which acts for tenants and as a role.

use ward_tests::postgres::Client;
use ward_tests::{Cluster, DATABASE, number, refused, run, texts};

/// Table `orders` of tenants a and victim, which the role owner may only read, and a table of his own with
/// rows that say they are theirs.
fn scene() -> (Cluster, Client, Client) {
    let cluster = Cluster::with_extension();
    let mut admin = cluster.superuser();
    run(
        &mut admin,
        "CREATE ROLE owner LOGIN; CREATE SCHEMA own AUTHORIZATION owner;
         CREATE TABLE orders (tenant_id text, secret text);
         INSERT INTO orders VALUES ('a', 'mine'), ('victim', 'canary');
         SELECT ward.enable_tenant_isolation('orders'); GRANT SELECT ON orders TO owner",
    );
    let mut owner = cluster.client(DATABASE, "owner");
    run(
        &mut owner,
        "SET search_path = own;
         CREATE TABLE bait (tenant_id text, word text, note text);
         INSERT INTO bait VALUES ('a', 'x'), ('victim', 'y');
         SELECT ward.enable_tenant_isolation('bait')",
    );
    (cluster, admin, owner)
}

const TRIAL: &str = "SELECT count(*) FROM ward.test_isolation('bait', 'owner', 'a', 'victim')";

#[test]
fn a_trigger_that_reads_other_tables_for_the_tenant_that_is_tried() {
    let (_cluster, mut admin, mut owner) = scene();
    run(
        &mut owner,
        "CREATE SEQUENCE seen;
         CREATE FUNCTION peek() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             IF EXISTS (SELECT FROM public.orders WHERE secret = 'canary') THEN PERFORM nextval('own.seen'); END IF;
             RETURN NEW;
         END $$;
         CREATE TRIGGER peek BEFORE INSERT OR UPDATE ON bait FOR EACH ROW EXECUTE FUNCTION peek()",
    );
    // In either mode, bound to a tenant or not.
    for mode in ["trusted", "token"] {
        run(
            &mut admin,
            &format!("ALTER ROLE owner SET ward.context_mode = {mode}"),
        );
        for before in ["BEGIN", "BEGIN; SELECT ward.get_tenant_context()"] {
            run(&mut owner, before);
            assert_eq!(refused(&mut owner, TRIAL).code().code(), "42501");
            run(&mut owner, "ROLLBACK");
        }
    }
    // A grant is what lets him, as docs/threat-model.md says: this test would find it.
    let called = "SELECT is_called::int::bigint FROM own.seen";
    assert_eq!(number(&mut owner, called), 0);
    run(
        &mut admin,
        "GRANT EXECUTE ON FUNCTION ward.test_isolation TO owner",
    );
    number(&mut owner, TRIAL);
    assert_eq!(number(&mut owner, called), 1);
}

#[test]
fn a_function_of_an_index_that_would_run_as_the_extensions_owner() {
    let (cluster, mut admin, mut owner) = scene();
    run(
        &mut admin,
        "GRANT EXECUTE ON FUNCTION ward.test_isolation TO owner",
    );
    // The planner calls it when it opens the index, as whoever reads the table.
    run(
        &mut owner,
        "CREATE SEQUENCE as_superuser; CREATE SEQUENCE as_owner;
         CREATE FUNCTION note() RETURNS text LANGUAGE plpgsql VOLATILE AS $$
         BEGIN
             PERFORM nextval(CASE WHEN current_user = 'owner' THEN 'own.as_owner' ELSE 'own.as_superuser' END);
             RETURN 'x';
         END $$;
         CREATE FUNCTION sly(int) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN own.note(); END $$;
         CREATE INDEX ON bait ((own.sly(1) || word))",
    );
    let called = |client: &mut Client, name: &str| {
        number(
            client,
            &format!("SELECT last_value * is_called::int FROM own.{name}"),
        )
    };
    for _ in 0..2 {
        // A session calls it once, when it reads the definition of the index.
        owner = cluster.client(DATABASE, "owner");
        run(&mut owner, "SET search_path = own");
        let before = called(&mut owner, "as_owner");
        number(&mut owner, TRIAL);
        assert!(
            called(&mut owner, "as_owner") > before,
            "it was not called at all"
        );
        assert_eq!(called(&mut owner, "as_superuser"), 0);
    }
}

#[test]
fn a_refusal_by_another_table_is_not_taken_for_isolation() {
    let (_cluster, mut admin, _owner) = scene();
    // bait's own policy lets everything be written, and a trigger of it runs into the policy of bait_log.
    run(
        &mut admin,
        "SET search_path = own;
         CREATE TABLE bait_log (n int); ALTER TABLE bait_log OWNER TO owner;
         ALTER TABLE bait_log ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
         CREATE FUNCTION log() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN INSERT INTO own.bait_log VALUES (1); RETURN NEW; END $$;
         CREATE TRIGGER log AFTER INSERT OR UPDATE ON bait FOR EACH ROW EXECUTE FUNCTION log();
         ALTER POLICY ward_access ON bait WITH CHECK (true);
         ALTER POLICY ward_tenant_isolation ON bait WITH CHECK (tenant_id IS NOT NULL)",
    );
    let said = texts(
        &mut admin,
        "SELECT concat_ws('|', attempt, outcome, isolated)
         FROM ward.test_isolation('bait', 'owner', 'a', 'victim') WHERE attempt ~ '^a inserts'",
    );
    assert_eq!(said, ["a inserts a row for b|error"]);
}

#[test]
fn tables_isolated_through_each_other_are_refused() {
    let (_cluster, mut admin, _owner) = scene();
    run(
        &mut admin,
        "SET search_path = own;
         CREATE TABLE left_one (id int PRIMARY KEY, other int);
         CREATE TABLE right_one (id int PRIMARY KEY, other int REFERENCES left_one);
         ALTER TABLE left_one ADD FOREIGN KEY (other) REFERENCES right_one;
         CREATE POLICY ward_parent_isolation ON left_one AS RESTRICTIVE
             USING (EXISTS (SELECT FROM own.right_one r WHERE r.id = left_one.other));
         CREATE POLICY ward_parent_isolation ON right_one AS RESTRICTIVE
             USING (EXISTS (SELECT FROM own.left_one l WHERE l.id = right_one.other))",
    );
    let error = refused(
        &mut admin,
        "SELECT ward.test_isolation('left_one', 'owner', 'a', 'victim')",
    );
    assert_eq!(error.code().code(), "42P17");
    assert_eq!(number(&mut admin, "SELECT 1::bigint"), 1);
}

#[test]
fn a_policy_that_shows_rows_of_others_but_not_the_one_that_is_tried() {
    let (_cluster, mut admin, _owner) = scene();
    run(
        &mut admin,
        "INSERT INTO own.bait VALUES ('third', 'z');
         ALTER POLICY ward_tenant_isolation ON own.bait
             USING (tenant_id = ward.get_tenant_context() OR tenant_id = 'third');
         ALTER POLICY ward_access ON own.bait USING (tenant_id = ward.get_tenant_context() OR tenant_id = 'third')",
    );
    let said = texts(
        &mut admin,
        "SELECT concat_ws('|', attempt, outcome, isolated)
         FROM ward.test_isolation('own.bait', 'owner', 'a', 'victim') WHERE attempt ~ ' reads a row'",
    );
    assert_eq!(
        said,
        [
            "a reads a row of b|visible|f",
            "b reads a row of a|visible|f"
        ]
    );
}
