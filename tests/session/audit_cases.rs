//! Cases that a capture by triggers easily gets wrong.

use ward_tests::{Cluster, changes, number, run, seal_and_verify, texts, wait_until};

#[test]
fn inheritance_through_the_parent_and_the_children() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TABLE f (id int PRIMARY KEY, note text);
         CREATE TABLE f_child (extra int, PRIMARY KEY (id)) INHERITS (f);
         SELECT ward.enable_audit('f');
         CREATE TABLE f_late (PRIMARY KEY (id)) INHERITS (f);
         INSERT INTO f VALUES (1); INSERT INTO f_child VALUES (2); INSERT INTO f_late VALUES (3);
         UPDATE f SET note = 'all' WHERE id > 1;
         UPDATE ONLY f SET note = 'one';
         DELETE FROM f WHERE id = 3",
    );
    assert_eq!(
        changes(&mut client),
        [
            "INSERT f 1",
            "INSERT f_child 2",
            "INSERT f_late 3",
            "UPDATE f_child 2",
            "UPDATE f_late 3",
            "UPDATE f 1",
            "DELETE f_late 3",
        ]
    );
}

#[test]
fn values_stored_out_of_line_that_an_update_does_not_touch() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TABLE t (id int PRIMARY KEY, plain text, packed text, n int);
         ALTER TABLE t ALTER plain SET STORAGE EXTERNAL;
         SELECT ward.enable_audit('t');
         INSERT INTO t SELECT 1, string_agg(md5(g::text), ''), repeat('packed', 20000), 1 FROM generate_series(1, 3000) g;
         UPDATE t SET n = 2;
         UPDATE t SET plain = plain || '', packed = packed || '', n = 3;
         ALTER TABLE t ALTER packed SET STORAGE EXTERNAL",
    );
    run(&mut client, "VACUUM FULL t");
    run(&mut client, "UPDATE t SET packed = packed || '', n = 4");
    seal_and_verify(&mut client);
    // the new row is whole each time, and only what changed counts as changed
    assert_eq!(
        texts(
            &mut client,
            "SELECT concat_ws(' ', operation, changed_fields, old_values, new_values->>'plain' = plain, new_values->>'packed' = packed)
             FROM ward.audit_trail, t WHERE table_name = 't' ORDER BY entry_id"
        ),
        [
            "INSERT t t",
            r#"UPDATE {n} {"n": 1} t t"#,
            r#"UPDATE {n} {"n": 2} t t"#,
            r#"UPDATE {n} {"n": 3} t t"#,
        ]
    );
}

#[test]
fn primary_keys_that_change_are_given_and_are_taken_away() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TABLE t (a int, b text); SELECT ward.enable_audit('t');
         INSERT INTO t VALUES (1, 'x');
         ALTER TABLE t ADD PRIMARY KEY (a); UPDATE t SET a = 2;
         ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (b, a); UPDATE t SET b = 'y';
         ALTER TABLE t DROP CONSTRAINT t_pkey; DELETE FROM t",
    );
    assert_eq!(
        changes(&mut client),
        [
            "INSERT t",
            "UPDATE t 2",
            r#"UPDATE t ["2","y"]"#,
            "DELETE t"
        ]
    );
}

#[test]
fn triggers_that_write_when_the_transaction_commits() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE log (id int PRIMARY KEY);
         CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN INSERT INTO log VALUES (NEW.id + 100); RETURN NULL; END';
         SELECT ward.enable_audit('t'), ward.enable_audit('log');
         CREATE CONSTRAINT TRIGGER late AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION note();
         BEGIN; INSERT INTO t VALUES (1); SAVEPOINT a; INSERT INTO t VALUES (2); ROLLBACK TO a;
         INSERT INTO t VALUES (3); COMMIT",
    );
    run(
        &mut client,
        "BEGIN; INSERT INTO t VALUES (4); PREPARE TRANSACTION 'p'",
    );
    run(&mut client, "COMMIT PREPARED 'p'");
    assert_eq!(
        changes(&mut client),
        [
            "INSERT t 1",
            "INSERT t 3",
            "INSERT log 101",
            "INSERT log 103",
            "INSERT t 4",
            "INSERT log 104",
        ]
    );
}

#[test]
fn changes_in_the_transaction_that_drops_the_extension() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TABLE t (id int PRIMARY KEY); SELECT ward.enable_audit('t')",
    );
    run(
        &mut client,
        "BEGIN; INSERT INTO t VALUES (1); SAVEPOINT a; DROP EXTENSION pg_ward CASCADE; ROLLBACK TO a;
         ALTER TABLE t ADD COLUMN b int; COMMIT",
    );
    assert_eq!(changes(&mut client), ["INSERT t 1"]);
    run(
        &mut client,
        "BEGIN; INSERT INTO t VALUES (2); ALTER TABLE t DROP COLUMN b; DROP EXTENSION pg_ward CASCADE; COMMIT",
    );
    run(
        &mut client,
        "CREATE EXTENSION pg_ward; SELECT ward.enable_audit('t', snapshot => true)",
    );
    assert_eq!(changes(&mut client), ["SNAPSHOT t 1", "SNAPSHOT t 2"]);
}

#[test]
fn rows_that_triggers_of_the_table_change_or_refuse() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TABLE t (id int PRIMARY KEY, note text);
         CREATE FUNCTION mend() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN IF NEW.id < 0 THEN RETURN NULL; END IF; NEW.note := upper(NEW.note); RETURN NEW; END';
         CREATE TRIGGER mend BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION mend();
         SELECT ward.enable_audit('t');
         INSERT INTO t VALUES (1, 'a'), (-1, 'refused')",
    );
    seal_and_verify(&mut client);
    let values = "SELECT new_values::text FROM ward.audit_trail WHERE table_name = 't'";
    assert_eq!(texts(&mut client, values), [r#"{"id": 1, "note": "A"}"#]);
}

#[test]
fn generated_and_dropped_columns_and_identity() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TABLE t (gone int, id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a int, gone2 text,
                         twice int GENERATED ALWAYS AS (a * 2) STORED);
         ALTER TABLE t DROP COLUMN gone, DROP COLUMN gone2;
         SELECT ward.enable_audit('t');
         INSERT INTO t (a) VALUES (1); UPDATE t SET a = 2; ALTER TABLE t DROP COLUMN twice; UPDATE t SET a = 3",
    );
    seal_and_verify(&mut client);
    assert_eq!(
        texts(
            &mut client,
            "SELECT concat_ws(' ', old_values, new_values) FROM ward.audit_trail WHERE table_name = 't' ORDER BY entry_id"
        ),
        [
            r#"{"a": 1, "id": 1, "twice": 2}"#,
            r#"{"a": 1, "twice": 2} {"a": 2, "id": 1, "twice": 4}"#,
            r#"{"a": 2} {"a": 3, "id": 1}"#,
        ]
    );
}

#[test]
fn encrypted_columns_are_recorded_as_ciphertext_whoever_reveals_them() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "SELECT ward.generate_encryption_key('k');
         CREATE TABLE t (id int PRIMARY KEY, mail ward.encrypted_text('k'), diary ward.secret_text('k'), list ward.encrypted_text('k')[]);
         INSERT INTO t (id, mail) VALUES (0, 'plain-canary');
         SELECT ward.enable_audit('t', snapshot => true);
         SET ward.reveal = on;
         INSERT INTO t VALUES (1, 'plain-canary', 'plain-canary', ARRAY['plain-canary']::ward.encrypted_text('k')[]);
         UPDATE t SET mail = 'another-canary'; DELETE FROM t",
    );
    seal_and_verify(&mut client);
    let canaries = "SELECT count(*) FROM ward.audit_trail a WHERE a::text LIKE '%canary%'";
    assert_eq!(number(&mut client, canaries), 0);
    let values = "SELECT count(*) FROM ward.audit_trail WHERE length(coalesce(new_values, old_values)->>'mail') > 40";
    assert_eq!(number(&mut client, values), 6);
}

#[test]
fn what_a_subscription_applies() {
    let cluster = Cluster::with_extension();
    let mut publisher = cluster.client("postgres", "postgres");
    let mut client = cluster.superuser();
    for client in [&mut publisher, &mut client] {
        run(
            client,
            "CREATE TABLE t (id int PRIMARY KEY, note text); CREATE TABLE emptied (id int PRIMARY KEY)",
        );
    }
    run(
        &mut publisher,
        "INSERT INTO t VALUES (1, 'copied'); INSERT INTO emptied VALUES (1);
         CREATE PUBLICATION pub FOR TABLE t, emptied",
    );
    run(
        &mut publisher,
        "SELECT pg_create_logical_replication_slot('sub', 'pgoutput')",
    );
    run(
        &mut client,
        "SELECT ward.enable_audit('t'), ward.enable_audit('emptied')",
    );
    run(
        &mut client,
        &format!(
            "CREATE SUBSCRIPTION sub CONNECTION 'host={} port={} dbname=postgres user=postgres'
             PUBLICATION pub WITH (create_slot = false, slot_name = 'sub')",
            cluster.socket_directory().display(),
            cluster.port()
        ),
    );
    wait_until("the tables are copied", || {
        number(
            &mut client,
            "SELECT count(*) FROM pg_subscription_rel WHERE srsubstate = 'r'",
        ) == 2
    });
    run(
        &mut publisher,
        "BEGIN; INSERT INTO t VALUES (2, 'applied'); UPDATE t SET note = 'x' WHERE id = 1; DELETE FROM t WHERE id = 2; COMMIT;
         TRUNCATE emptied; INSERT INTO t VALUES (3, 'last')",
    );
    wait_until("everything is applied", || {
        number(&mut client, "SELECT count(*) FROM t WHERE id = 3") == 1
    });
    let mut found = changes(&mut client);
    // the copies of the two tables may come in any order
    found[..2].sort();
    assert_eq!(
        found,
        [
            "INSERT emptied 1",
            "INSERT t 1",
            "INSERT t 2",
            "UPDATE t 1",
            "DELETE t 2",
            "TRUNCATE emptied",
            "INSERT t 3",
        ]
    );
    run(
        &mut client,
        "ALTER SUBSCRIPTION sub DISABLE; ALTER SUBSCRIPTION sub SET (slot_name = NONE); DROP SUBSCRIPTION sub",
    );
}

#[test]
fn rows_that_move_between_partitions_by_upsert_and_by_merge() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TABLE p (id int, region text, n int, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
         CREATE TABLE p_north PARTITION OF p FOR VALUES IN ('north');
         CREATE TABLE p_south PARTITION OF p FOR VALUES IN ('south') PARTITION BY RANGE (id);
         CREATE TABLE p_south_low PARTITION OF p_south FOR VALUES FROM (0) TO (10);
         CREATE TABLE p_south_high PARTITION OF p_south DEFAULT;
         SELECT ward.enable_audit('p');
         INSERT INTO p VALUES (1, 'north', 1);
         INSERT INTO p VALUES (1, 'north', 2) ON CONFLICT (id, region) DO UPDATE SET n = excluded.n;
         MERGE INTO p USING (VALUES (1, 'south')) AS s (id, region) ON p.id = s.id
             WHEN MATCHED THEN UPDATE SET region = s.region;
         UPDATE p SET id = 20;
         DELETE FROM p_south",
    );
    assert_eq!(
        changes(&mut client),
        [
            r#"INSERT p ["1","north"]"#,
            r#"UPDATE p ["1","north"]"#,
            r#"DELETE p ["1","north"]"#,
            r#"INSERT p ["1","south"]"#,
            r#"DELETE p ["1","south"]"#,
            r#"INSERT p ["20","south"]"#,
            r#"DELETE p ["20","south"]"#,
        ]
    );
}

#[test]
fn vacuum_full_and_cluster_of_audited_tables_are_no_changes() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TABLE t (id int PRIMARY KEY, note text); SELECT ward.enable_audit('t');
         INSERT INTO t SELECT g, 'x' FROM generate_series(1, 500) g; DELETE FROM t WHERE id % 2 = 0",
    );
    let before = number(&mut client, "SELECT count(*) FROM ward.audit_trail");
    for statement in [
        "VACUUM FULL t",
        "CLUSTER t USING t_pkey",
        "VACUUM t",
        "REINDEX TABLE t",
    ] {
        run(&mut client, statement);
    }
    seal_and_verify(&mut client);
    assert_eq!(
        number(&mut client, "SELECT count(*) FROM ward.audit_trail"),
        before
    );
}
