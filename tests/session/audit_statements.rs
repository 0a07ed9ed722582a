//! Every kind of statement that changes rows.

use crate::audited_table;
use std::io::Write;
use ward_tests::{Cluster, changes, refused, run, seal_and_verify, texts};

#[test]
fn insert_update_delete_with_their_values() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(
        &mut client,
        "INSERT INTO t VALUES (1, 'a'); UPDATE t SET note = 'b'; DELETE FROM t",
    );
    assert_eq!(
        changes(&mut client),
        ["INSERT t 1", "UPDATE t 1", "DELETE t 1"]
    );
    let values = texts(
        &mut client,
        "SELECT concat_ws(' ', old_values, '->', new_values, array_to_string(changed_fields, ','))
         FROM ward.audit_trail WHERE operation <> 'EVENT' ORDER BY entry_id",
    );
    assert_eq!(
        values,
        [
            r#"-> {"id": 1, "note": "a"}"#,
            r#"{"note": "a"} -> {"id": 1, "note": "b"} note"#,
            r#"{"id": 1, "note": "b"} ->"#,
        ]
    );
}

#[test]
fn copy_from_the_client() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    audited_table(&mut client);
    let mut writer = client.copy_in("COPY t FROM STDIN").unwrap();
    writer.write_all(b"1\ta\n2\t\\N\n").unwrap();
    writer.finish().unwrap();
    assert_eq!(changes(&mut client), ["INSERT t 1", "INSERT t 2"]);
}

#[test]
fn on_conflict_do_update_and_do_nothing() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(
        &mut client,
        "INSERT INTO t VALUES (1, 'a');
         INSERT INTO t VALUES (1, 'b'), (2, 'c') ON CONFLICT (id) DO UPDATE SET note = excluded.note;
         INSERT INTO t VALUES (1, 'd') ON CONFLICT DO NOTHING",
    );
    let mut found = changes(&mut client);
    found.sort();
    assert_eq!(found, ["INSERT t 1", "INSERT t 2", "UPDATE t 1"]);
}

#[test]
fn merge_with_all_three_actions() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(
        &mut client,
        "INSERT INTO t VALUES (1, 'keep'), (2, 'remove');
         MERGE INTO t USING (VALUES (1), (2), (3)) AS s (id) ON t.id = s.id
           WHEN MATCHED AND t.note = 'remove' THEN DELETE
           WHEN MATCHED THEN UPDATE SET note = 'kept'
           WHEN NOT MATCHED THEN INSERT VALUES (s.id, 'new')",
    );
    let mut found = changes(&mut client);
    found.sort();
    assert_eq!(
        found,
        [
            "DELETE t 2",
            "INSERT t 1",
            "INSERT t 2",
            "INSERT t 3",
            "UPDATE t 1"
        ]
    );
}

#[test]
fn foreign_key_cascades() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TABLE parent (id int PRIMARY KEY);
         CREATE TABLE child (id int PRIMARY KEY,
           parent int REFERENCES parent ON UPDATE CASCADE ON DELETE CASCADE);
         INSERT INTO parent VALUES (1), (2);
         INSERT INTO child VALUES (10, 1), (20, 2);
         SELECT ward.enable_audit('parent'), ward.enable_audit('child');
         UPDATE parent SET id = 3 WHERE id = 1;
         DELETE FROM parent WHERE id = 2",
    );
    let mut found = changes(&mut client);
    found.sort();
    assert_eq!(
        found,
        [
            "DELETE child 20",
            "DELETE parent 2",
            "UPDATE child 10",
            "UPDATE parent 3"
        ]
    );
}

#[test]
fn truncate_also_of_referencing_tables() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TABLE parent (id int PRIMARY KEY);
         CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent);
         SELECT ward.enable_audit('parent'), ward.enable_audit('child');
         TRUNCATE parent CASCADE",
    );
    let mut found = changes(&mut client);
    found.sort();
    assert_eq!(found, ["TRUNCATE child", "TRUNCATE parent"]);
}

#[test]
fn partitions_through_the_parent_directly_attached_later_and_moved() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TABLE p (id int, region text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
         CREATE TABLE p_north PARTITION OF p FOR VALUES IN ('north');
         SELECT ward.enable_audit('p');
         CREATE TABLE p_south PARTITION OF p FOR VALUES IN ('south');
         CREATE TABLE p_east (id int, region text NOT NULL, PRIMARY KEY (id, region));
         ALTER TABLE p ATTACH PARTITION p_east FOR VALUES IN ('east');
         INSERT INTO p VALUES (1, 'north');
         INSERT INTO p_north VALUES (2, 'north');
         INSERT INTO p VALUES (3, 'south');
         INSERT INTO p_east VALUES (4, 'east');
         UPDATE p SET region = 'south' WHERE id = 1",
    );
    seal_and_verify(&mut client);
    let mut found = texts(
        &mut client,
        "SELECT concat_ws(' ', operation, coalesce(new_values, old_values)->>'id',
                          coalesce(new_values, old_values)->>'region') FROM ward.audit_trail WHERE operation <> 'EVENT'",
    );
    found.sort();
    assert_eq!(
        found,
        [
            "DELETE 1 north",
            "INSERT 1 north",
            "INSERT 1 south",
            "INSERT 2 north",
            "INSERT 3 south",
            "INSERT 4 east",
        ]
    );
}

#[test]
fn truncate_of_one_partition() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id);
         CREATE TABLE p_low PARTITION OF p FOR VALUES FROM (0) TO (10);
         SELECT ward.enable_audit('p');
         TRUNCATE p_low",
    );
    // not "TRUNCATE p", which would claim that the other partitions were emptied too
    assert_eq!(changes(&mut client), ["TRUNCATE p_low"]);
}

#[test]
fn truncate_of_partitions_and_children_made_later() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id);
         CREATE TABLE f (id int);
         SELECT ward.enable_audit('p'), ward.enable_audit('f');
         CREATE TABLE p_made PARTITION OF p FOR VALUES FROM (0) TO (10);
         CREATE TABLE p_attached (id int PRIMARY KEY);
         ALTER TABLE p ATTACH PARTITION p_attached FOR VALUES FROM (10) TO (20);
         CREATE TABLE f_child () INHERITS (f)",
    );
    for table in ["p_made", "p_attached", "f_child"] {
        run(&mut client, &format!("TRUNCATE {table}"));
    }
    assert_eq!(
        changes(&mut client),
        ["TRUNCATE p_made", "TRUNCATE p_attached", "TRUNCATE f_child"]
    );
}

#[test]
fn a_detached_partition_is_audited_on() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id);
         CREATE TABLE p_low PARTITION OF p FOR VALUES FROM (0) TO (10);
         SELECT ward.enable_audit('p')",
    );
    run(
        &mut client,
        "ALTER TABLE p DETACH PARTITION p_low CONCURRENTLY",
    );
    run(&mut client, "INSERT INTO p_low VALUES (1)");
    assert_eq!(changes(&mut client), ["INSERT p_low 1"]);
}

#[test]
fn names_outside_ascii_in_a_database_of_another_encoding() {
    let cluster = Cluster::with_extension();
    run(
        &mut cluster.superuser(),
        "CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
    );
    let mut client = cluster.client("latin", "postgres");
    run(
        &mut client,
        "CREATE EXTENSION pg_ward;
         CREATE TABLE \"größe\" (id int PRIMARY KEY, \"geheimnüs\" text, \"straße\" text);
         SELECT ward.enable_audit('\"größe\"', exclude => '{straße}', redact => '{geheimnüs}')",
    );
    assert_eq!(
        texts(
            &mut client,
            "SELECT concat_ws(' ', table_name, exclude, redact) FROM ward.audited_tables"
        ),
        ["größe {straße} {geheimnüs}"]
    );
    run(&mut client, "SELECT ward.disable_audit('\"größe\"')");
}

#[test]
fn changes_under_replica_role_as_replication_apply_makes_them() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(
        &mut client,
        "SET session_replication_role = replica; INSERT INTO t VALUES (1, 'applied')",
    );
    assert_eq!(changes(&mut client), ["INSERT t 1"]);
}

#[test]
fn table_created_and_audited_in_the_same_transaction() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "BEGIN; CREATE TABLE t (id int PRIMARY KEY); SELECT ward.enable_audit('t');
         INSERT INTO t VALUES (1); ALTER TABLE t ADD COLUMN extra text DEFAULT 'x';
         INSERT INTO t VALUES (2); COMMIT",
    );
    assert_eq!(changes(&mut client), ["INSERT t 1", "INSERT t 2"]);
}

#[test]
fn entries_stay_readable_after_columns_and_the_table_are_dropped() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(&mut client, "INSERT INTO t VALUES (1, 'a')");
    run(
        &mut client,
        "ALTER TABLE t DROP COLUMN note; INSERT INTO t VALUES (2)",
    );
    run(&mut client, "DROP TABLE t");
    assert_eq!(changes(&mut client), ["INSERT t 1", "INSERT t 2"]);
    let values = texts(
        &mut client,
        "SELECT new_values::text FROM ward.audit_trail WHERE operation <> 'EVENT' ORDER BY entry_id",
    );
    assert_eq!(values, [r#"{"id": 1, "note": "a"}"#, r#"{"id": 2}"#]);
}

#[test]
fn who_and_where_come_with_every_entry() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(
        &mut client,
        "CREATE ROLE app LOGIN; GRANT ALL ON t TO app;
         BEGIN; SELECT ward.set_tenant_context('acme');
         SELECT ward.set_security_context('11111111-2222-3333-4444-555555555555', 's-1', 'billing');
         SET LOCAL ROLE app; INSERT INTO t VALUES (1, 'a'); COMMIT",
    );
    seal_and_verify(&mut client);
    let who = texts(
        &mut client,
        "SELECT concat_ws(' ', tenant_id, user_id, session_id, service_name, session_role,
                          \"current_role\", application_name, context_source)
         FROM ward.audit_trail WHERE operation <> 'EVENT'",
    );
    assert_eq!(
        who,
        ["acme 11111111-2222-3333-4444-555555555555 s-1 billing postgres app ward-tests trusted"]
    );
}

#[test]
fn tables_that_cannot_be_audited_are_refused() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE VIEW v AS SELECT 1; CREATE TEMPORARY TABLE temporary (a int)",
    );
    for table in ["v", "temporary", "pg_class", "ward.audit_block"] {
        let error = refused(&mut client, &format!("SELECT ward.enable_audit('{table}')"));
        assert!(error.code().code() != "XX000", "{table}: {error:?}");
        assert!(!error.message().is_empty());
    }
}

#[test]
fn an_application_role_cannot_write_or_read_what_stands_behind_the_trail() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(
        &mut client,
        "CREATE ROLE app LOGIN; GRANT ALL ON t TO app; INSERT INTO t VALUES (0, 'first')",
    );
    seal_and_verify(&mut client);
    let tables = texts(
        &mut client,
        "SELECT c.oid::regclass::text FROM pg_class c
         WHERE c.relnamespace = 'ward'::regnamespace AND c.relkind IN ('r', 'p')",
    );
    let mut app = cluster.client(ward_tests::DATABASE, "app");
    run(&mut app, "INSERT INTO t VALUES (1, 'a')");
    for table in tables {
        for statement in ["DELETE FROM", "TRUNCATE", "SELECT * FROM"] {
            let error = refused(&mut app, &format!("{statement} {table}"));
            assert_eq!(error.code().code(), "42501", "{statement} {table}");
        }
    }
    for statement in [
        "ALTER TABLE t DISABLE TRIGGER ALL",
        "SELECT ward.disable_audit('t')",
        "SET session_replication_role = replica",
    ] {
        assert_eq!(refused(&mut app, statement).code().code(), "42501");
    }
    assert_eq!(changes(&mut client), ["INSERT t 0", "INSERT t 1"]);
}
