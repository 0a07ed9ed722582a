//! Commands that change audited tables without naming them are entries, too.

use ward_tests::postgres::Client;
use ward_tests::{Cluster, run, seal_and_verify, text, texts};

/// Every change of a table in the trail.
const EVENTS: &str = "SELECT concat_ws(' ', e->>'event_type', d->>'command', d->>'table',
        (SELECT string_agg(concat_ws(' ', a->>'action', a->>'name', a->>'to'), ', ' ORDER BY n)
         FROM jsonb_array_elements(d->'actions') WITH ORDINALITY AS x (a, n)))
    FROM (SELECT entry_id, new_values AS e, new_values->'details' AS d FROM ward.audit_trail WHERE operation = 'EVENT') s
    ORDER BY entry_id, 1";

/// The events that `statements` leave, in order.
fn events(client: &mut Client, statements: &str) -> Vec<String> {
    seal_and_verify(client);
    let before = texts(client, EVENTS).len();
    run(client, statements);
    seal_and_verify(client);
    let findings = "SELECT problem FROM ward.audit_trigger_findings";
    assert_eq!(texts(client, findings), [""; 0], "{statements}");
    texts(client, EVENTS).split_off(before)
}

#[test]
fn tables_given_to_another_owner_with_all_else_are_entries() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE ROLE old; CREATE ROLE new; CREATE ROLE third;
         CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); CREATE TABLE free (id int);
         CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id);
         SELECT ward.enable_audit(t) FROM unnest('{a,b,p}'::regclass[]) t;
         ALTER TABLE a OWNER TO old; ALTER TABLE p OWNER TO old; ALTER TABLE free OWNER TO old; ALTER TABLE b OWNER TO new",
    );
    assert_eq!(
        events(&mut client, "REASSIGN OWNED BY old TO new"),
        [
            "table_altered REASSIGN OWNED a OWNER TO",
            "table_altered REASSIGN OWNED p OWNER TO"
        ]
    );
    // the new owner can make partitions that are audited
    run(
        &mut client,
        "GRANT ALL ON SCHEMA public TO new; SET ROLE new;
         CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10); RESET ROLE; INSERT INTO p VALUES (1)",
    );
    assert_eq!(
        events(
            &mut client,
            "BEGIN; REASSIGN OWNED BY new TO third; ROLLBACK; REASSIGN OWNED BY old TO third"
        ),
        [""; 0]
    );
    assert_eq!(
        events(
            &mut client,
            "BEGIN; ALTER TABLE b OWNER TO third; REASSIGN OWNED BY new TO third; COMMIT"
        ),
        [
            "table_altered ALTER TABLE b OWNER TO",
            "table_altered REASSIGN OWNED a OWNER TO",
            "table_altered REASSIGN OWNED p OWNER TO",
            "table_altered REASSIGN OWNED p1 OWNER TO"
        ]
    );
}

#[test]
fn a_type_that_changes_its_tables_is_an_entry_of_them() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TYPE person AS (name text, secret text, born date);
         CREATE TABLE t OF person (PRIMARY KEY (name)); CREATE TABLE other OF person;
         SELECT ward.enable_audit('t', redact => '{secret}')",
    );
    assert_eq!(
        events(
            &mut client,
            "ALTER TYPE person ADD ATTRIBUTE note text CASCADE;
             ALTER TYPE person RENAME ATTRIBUTE secret TO hidden CASCADE;
             ALTER TYPE person DROP ATTRIBUTE born CASCADE"
        ),
        [
            "table_altered ALTER TYPE t ADD COLUMN note",
            "table_altered ALTER TYPE t RENAME COLUMN secret hidden",
            "table_altered ALTER TYPE t DROP COLUMN born"
        ]
    );
    // the hidden column is still hidden
    run(&mut client, "INSERT INTO t VALUES ('x', 'canary', 'n')");
    let values = "SELECT new_values::text FROM ward.audit_trail WHERE table_name = 't'";
    assert_eq!(
        text(&mut client, values).as_deref(),
        Some(r#"{"name": "x", "note": "n", "hidden": "[redacted]"}"#)
    );
}

#[test]
fn a_parent_that_is_not_audited_changes_its_audited_children() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TABLE top (id int, note text); CREATE TABLE middle () INHERITS (top);
         CREATE TABLE t (PRIMARY KEY (id)) INHERITS (middle); CREATE TABLE below () INHERITS (t);
         SELECT ward.enable_audit('t')",
    );
    assert_eq!(
        events(
            &mut client,
            "ALTER TABLE top ADD extra int DEFAULT 7; ALTER TABLE top RENAME note TO remark;
             ALTER TABLE top DROP extra; ALTER TABLE top OWNER TO pg_monitor; ALTER TABLE ONLY middle ALTER remark SET DEFAULT 'x'"
        ),
        [
            "table_altered ALTER TABLE t ADD COLUMN extra",
            "table_altered ALTER TABLE t RENAME COLUMN note remark",
            "table_altered ALTER TABLE t DROP COLUMN extra",
        ]
    );
}

#[test]
fn tables_that_move_with_all_of_a_tablespace_are_entries() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(&mut client, "SET allow_in_place_tablespaces = on");
    run(&mut client, "CREATE TABLESPACE space LOCATION ''");
    run(
        &mut client,
        "CREATE TABLE t (id int PRIMARY KEY) TABLESPACE space; SELECT ward.enable_audit('t')",
    );
    assert_eq!(
        events(
            &mut client,
            "ALTER TABLE ALL IN TABLESPACE space SET TABLESPACE pg_default"
        ),
        ["table_altered ALTER TABLE t SET TABLESPACE"]
    );
}
