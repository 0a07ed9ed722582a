//! The trail of one record: the same as the whole trail shows of it, whatever becomes of the table, of
//! the log's tables, and of the index that leads to it.

use crate::audited_table;
use ward_tests::postgres::Client;
use ward_tests::{
    Cluster, DATABASE, Options, SUPERUSER, number, refused, run, seal_and_verify, text, texts,
    wait_until,
};

/// Fails unless `audit_history` shows what the view shows of records, in the view's order; answers how many
/// entries that are.
pub fn same_as_the_view(client: &mut Client, table: &str, records: &[&str], which: &str) -> usize {
    let query = format!("SELECT a::text, record_id FROM ward.audit_trail a WHERE {which}");
    let view = client.query(&query, &[]).expect(&query);
    let mut count = 0;
    for record in records {
        let of_record = view
            .iter()
            .filter(|row| row.get::<_, Option<&str>>(1) == Some(record));
        let expected: Vec<String> = of_record.map(|row| row.get(0)).collect();
        let query = format!("SELECT h::text FROM ward.audit_history('{table}', $1) h");
        let rows = client.query(&query, &[record]).expect(&query);
        let shown: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(shown, expected, "{table} {record}");
        count += shown.len();
    }
    count
}

/// What `verify_audit_index` finds.
pub fn findings(client: &mut Client) -> Vec<String> {
    texts(
        client,
        "SELECT first_entry || ' ' || entries || ' ' || problem FROM ward.verify_audit_index()",
    )
}

/// Fills t with rows in two blocks, and changes record 7: a run of the index, or two, and leaves in none.
pub fn filled(client: &mut Client, rows: i32) {
    audited_table(client);
    let half = rows / 2;
    for rows in [format!("1, {half}"), format!("{half} + 1, {rows}")] {
        let insert = "INSERT INTO t SELECT g, 'row ' || g FROM generate_series";
        run(client, &format!("{insert}({rows}) g"));
        run(client, "SELECT ward.seal_audit_trail()");
    }
    run(client, "UPDATE t SET note = 'changed' WHERE id = 7");
    seal_and_verify(client);
}

#[test]
fn a_record_at_every_stage_and_another_tables_record_with_the_same_id() {
    // only sealed when asked, so that what is not stays so
    let rarely = Options::default().set("ward.seal_interval", "1h");
    let cluster = Cluster::with_extension_and(rarely);
    let mut client = cluster.superuser();
    filled(&mut client, 5000);
    run(
        &mut client,
        "CREATE TABLE u (id bigint PRIMARY KEY, note text);
         SELECT ward.enable_audit('u');
         INSERT INTO u SELECT g, 'other' FROM generate_series(1, 5000) g",
    );
    seal_and_verify(&mut client);
    assert_eq!(findings(&mut client), [""; 0]);
    run(&mut client, "UPDATE t SET note = 'committed' WHERE id = 7");
    run(
        &mut client,
        "BEGIN;
         DELETE FROM t WHERE id = 7;
         INSERT INTO t VALUES (7, 'back');
         SAVEPOINT s; UPDATE t SET note = 'void' WHERE id = 7; ROLLBACK TO s",
    );
    let (of_t, of_u) = ("table_name = 't'", "table_name = 'u'");
    assert_eq!(same_as_the_view(&mut client, "t", &["7"], of_t), 5);
    run(&mut client, "ROLLBACK");
    let records = ["1", "7", "4094", "4095", "4990", "5000", "5001"];
    assert_eq!(same_as_the_view(&mut client, "t", &records, of_t), 8);
    assert_eq!(same_as_the_view(&mut client, "u", &records, of_u), 6);
    let operations = "SELECT string_agg(operation, ' ') FROM ward.audit_history('t', '7')";
    assert_eq!(
        text(&mut client, operations).as_deref(),
        Some("INSERT UPDATE UPDATE")
    );

    // every single entry, by its number
    let different = "
        SELECT count(*) FROM (SELECT * FROM ward.audit_trail WHERE entry_id < 40 OR entry_id BETWEEN 4001 AND 4019) a
        FULL JOIN (SELECT e.* FROM generate_series(0, 4019) g, LATERAL ward.audit_entry(g) e WHERE g < 40 OR g > 4000) e
          ON a::text = e::text
        WHERE a.entry_id IS NULL OR e.entry_id IS NULL";
    assert_eq!(number(&mut client, different), 0);
    let beyond = "SELECT count(*) FROM ward.audit_entry(9223372036854775807)";
    assert_eq!(number(&mut client, beyond), 0);

    // blocks, the last one, several, all, none
    for (blocks, which) in [
        ("0", "block_no IS NOT NULL"),
        ("1, 2", "block_no IN (1, 2)"),
        ("2, 2", "block_no = 2"),
        ("1, 9223372036854775807", "block_no >= 1"),
        ("1000", "false"),
    ] {
        let different = format!(
            "SELECT count(*) FROM (SELECT md5(string_agg(a::text, '' ORDER BY entry_id)) FROM ward.audit_trail a WHERE {which}) a,
             (SELECT md5(string_agg(b::text, '')) FROM ward.audit_trail_of_blocks({blocks}) b) b
             WHERE a IS DISTINCT FROM b"
        );
        assert_eq!(number(&mut client, &different), 0, "{blocks}");
    }

    // what only a repeatable read sees
    let mut reader = cluster.superuser();
    run(
        &mut reader,
        "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1",
    );
    run(&mut client, "UPDATE t SET note = 'later' WHERE id = 8");
    same_as_the_view(&mut reader, "t", &["8"], of_t);
    let error = refused(&mut reader, "SELECT ward.rebuild_audit_index()");
    assert_eq!(error.code().code(), "25001");
}

#[test]
fn hostile_record_ids_and_arguments() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TABLE t (id text PRIMARY KEY, note text);
         CREATE TABLE two (a text, b int, PRIMARY KEY (a, b));
         CREATE TABLE none (a text);
         SELECT ward.enable_audit('t'), ward.enable_audit('two'), ward.enable_audit('none');
         INSERT INTO two VALUES ('x\"y', 2), ('x', 2); INSERT INTO none VALUES ('7')",
    );
    let ids = [
        String::new(),
        " ".to_owned(),
        "'; DROP TABLE t; --".to_owned(),
        "ä\u{1F512}\u{202E}\n\t\\".to_owned(),
        "sha256:".to_owned(),
        "a".repeat(1024),
        "a".repeat(1025),
        "é".repeat(4000),
        "null".to_owned(),
    ];
    for id in &ids {
        client
            .execute("INSERT INTO t VALUES ($1, 'x')", &[id])
            .unwrap();
    }
    for sealed in [false, true] {
        if sealed {
            seal_and_verify(&mut client);
        }
        for id in &ids {
            let query =
                "SELECT count(*), min(new_values ->> 'id') FROM ward.audit_history('t', $1)";
            let row = client.query_one(query, &[id]).unwrap();
            assert_eq!(row.get::<_, i64>(0), 1, "{id}");
            assert_eq!(row.get::<_, String>(1), *id);
        }
        let both = number(
            &mut client,
            r#"SELECT count(*) FROM ward.audit_history('two', '["x\"y","2"]')"#,
        );
        assert_eq!(both, 1);
        let without = "SELECT count(*) FROM ward.audit_history('none', '7')";
        assert_eq!(number(&mut client, without), 0);
    }
    for (statement, code) in [
        ("SELECT ward.audit_history('t', NULL)", "22004"),
        ("SELECT ward.audit_history(NULL, 'x')", "22004"),
        ("SELECT ward.audit_entry(NULL)", "22004"),
        ("SELECT ward.audit_entry(-1)", "22003"),
        ("SELECT ward.audit_trail_of_blocks(NULL)", "22004"),
        ("SELECT ward.audit_trail_of_blocks(0, -1)", "22003"),
        ("SELECT ward.audit_trail_of_blocks(2, 1)", "22023"),
    ] {
        assert_eq!(
            refused(&mut client, statement).code().code(),
            code,
            "{statement}"
        );
    }
    let unknown = "SELECT count(*) FROM ward.audit_history(4294967295::oid::regclass, 'x')";
    assert_eq!(number(&mut client, unknown), 0);

    // the right to read the trail is what counts
    run(
        &mut client,
        "CREATE ROLE auditor LOGIN; CREATE ROLE nobody LOGIN",
    );
    run(
        &mut client,
        "GRANT SELECT ON ward.audit_trail TO auditor; GRANT USAGE ON SCHEMA ward TO auditor, nobody",
    );
    let mut auditor = cluster.client(DATABASE, "auditor");
    let mut nobody = cluster.client(DATABASE, "nobody");
    assert_eq!(
        number(
            &mut auditor,
            "SELECT count(*) FROM ward.audit_history('t', ' ')"
        ),
        1
    );
    for call in [
        "ward.audit_history('t', ' ')",
        "ward.audit_entry(3)",
        "ward.audit_trail_of_blocks(0)",
        "ward.rebuild_audit_index()",
        "ward.verify_audit_index()",
        "ward.audit_record_index",
    ] {
        let error = refused(&mut nobody, &format!("SELECT * FROM {call}"));
        assert_eq!(error.code().code(), "42501", "{call}");
    }
    let error = refused(&mut auditor, "SELECT ward.rebuild_audit_index()");
    assert_eq!(error.code().code(), "42501");
}

#[test]
fn tables_that_are_renamed_replaced_partitioned_or_dropped() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(
        &mut client,
        "CREATE SCHEMA elsewhere;
         INSERT INTO t VALUES (1, 'as t');
         ALTER TABLE t RENAME TO renamed;
         UPDATE renamed SET note = 'as renamed';
         ALTER TABLE renamed SET SCHEMA elsewhere;
         ALTER TABLE elsewhere.renamed ADD more int;
         UPDATE elsewhere.renamed SET note = 'elsewhere'",
    );
    seal_and_verify(&mut client);
    let all = "table_name IN ('t', 'renamed')";
    let renamed = "elsewhere.renamed";
    assert_eq!(same_as_the_view(&mut client, renamed, &["1"], all), 3);

    // another table under a name that was given up: the history is that of the name, too
    run(
        &mut client,
        "CREATE TABLE t (id bigint PRIMARY KEY, note text);
         SELECT ward.enable_audit('t');
         INSERT INTO t VALUES (1, 'the second t')",
    );
    seal_and_verify(&mut client);
    let of_the_first = "table_name IN ('t', 'renamed') AND new_values ->> 'note' <> 'the second t'";
    assert_eq!(
        same_as_the_view(&mut client, renamed, &["1"], of_the_first),
        3
    );
    assert_eq!(
        same_as_the_view(&mut client, "t", &["1"], "table_name = 't'"),
        2
    );

    // once the first is gone, it is known by its number, and what it was called later belongs to it
    let oid = text(
        &mut client,
        "SELECT 'elsewhere.renamed'::regclass::oid::text",
    )
    .unwrap();
    run(&mut client, "DROP TABLE elsewhere.renamed");
    assert_eq!(same_as_the_view(&mut client, &oid, &["1"], of_the_first), 3);
    assert_eq!(same_as_the_view(&mut client, "t", &["1"], all), 4);

    run(
        &mut client,
        "CREATE TABLE p (id bigint, area text, note text, PRIMARY KEY (id, area)) PARTITION BY LIST (area);
         CREATE TABLE p_a PARTITION OF p FOR VALUES IN ('a');
         CREATE TABLE p_b PARTITION OF p FOR VALUES IN ('b');
         SELECT ward.enable_audit('p');
         INSERT INTO p VALUES (1, 'a', 'x'), (1, 'b', 'x');
         UPDATE p_b SET note = 'y'",
    );
    for sealed in [false, true] {
        if sealed {
            seal_and_verify(&mut client);
        }
        for (table, record, entries) in [
            ("p", r#"["1","a"]"#, 1),
            ("p", r#"["1","b"]"#, 2),
            ("p_b", r#"["1","b"]"#, 2),
            ("p_a", r#"["1","b"]"#, 0),
        ] {
            let query = format!("SELECT count(*) FROM ward.audit_history('{table}', '{record}')");
            assert_eq!(number(&mut client, &query), entries, "{table} {record}");
        }
    }
    // before any row was written under the new name
    run(&mut client, "ALTER TABLE p RENAME TO q");
    let query = r#"SELECT count(*) FROM ward.audit_history('q', '["1","b"]')"#;
    assert_eq!(number(&mut client, query), 2);
}

#[test]
fn runs_are_joined_across_kill_9_and_while_the_index_is_rebuilt() {
    let mut cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    filled(&mut client, 5000);
    run(
        &mut client,
        "INSERT INTO t SELECT g, '' FROM generate_series(9001, 14000) g",
    );
    cluster.kill9();
    cluster.start_again().unwrap();
    let mut client = cluster.superuser();
    seal_and_verify(&mut client);
    assert_eq!(findings(&mut client), [""; 0]);

    // Nobody waits for a rebuild; what is sealed meanwhile is indexed later.
    let mut rebuilder = cluster.superuser();
    run(&mut rebuilder, "BEGIN; SELECT ward.rebuild_audit_index()");
    run(
        &mut client,
        "INSERT INTO t SELECT g, '' FROM generate_series(14001, 20000) g",
    );
    run(&mut client, "SELECT ward.seal_audit_trail()");
    assert_eq!(findings(&mut client).len(), 1);
    let of_t = "table_name = 't'";
    let records = ["7", "9001", "15000"];
    assert_eq!(same_as_the_view(&mut client, "t", &records, of_t), 4);
    run(&mut rebuilder, "COMMIT");
    run(&mut client, "UPDATE t SET note = 'x' WHERE id = 1");
    wait_until("the worker has indexed the rest", || {
        // each time it comes it does a part, which may be none on a busy machine
        run(&mut client, "SELECT ward.seal_audit_trail()");
        findings(&mut client).is_empty()
    });

    run(
        &mut client,
        "INSERT INTO t SELECT g, '' FROM generate_series(20001, 75000) g",
    );
    seal_and_verify(&mut client);
    assert_eq!(findings(&mut client), [""; 0]);
    let levels = "SELECT level || ' ' || count(DISTINCT run) FROM ward.audit_record_index GROUP BY level ORDER BY level";
    assert_eq!(texts(&mut client, levels), ["0 1", "1 1"]);
    let records = ["1", "7", "15000", "65000", "75000"];
    assert_eq!(same_as_the_view(&mut client, "t", &records, of_t), 7);
    run(&mut client, "SELECT ward.rebuild_audit_index()");
    assert_eq!(texts(&mut client, levels), ["0 1", "1 1"]);
    assert_eq!(findings(&mut client), [""; 0]);
}

#[test]
fn a_restored_dump_and_a_standby() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    filled(&mut client, 5000);
    let of_t = "table_name = 't'";
    let records = ["7", "4999"];
    let standby = cluster.standby();
    let mut reader = standby.superuser();
    wait_until("the standby has it all", || {
        let count = "SELECT count(*) FROM ward.audit_history('t', '7')";
        number(&mut reader, count) == 2
    });
    assert_eq!(same_as_the_view(&mut reader, "t", &records, of_t), 3);
    assert_eq!(findings(&mut reader), [""; 0]);
    let error = refused(&mut reader, "SELECT ward.rebuild_audit_index()");
    assert_eq!(error.code().code(), "25006");

    // tables have other numbers where a dump is restored, and the index is not in it
    let dump = cluster
        .client_program("pg_dump", DATABASE)
        .output()
        .unwrap();
    assert!(dump.status.success());
    let file = cluster.socket_directory().join("dump.sql");
    std::fs::write(&file, &dump.stdout).unwrap();
    run(&mut client, "CREATE DATABASE restored");
    let restored = cluster
        .client_program("psql", "restored")
        .args(["-Xq", "-v", "ON_ERROR_STOP=1", "-f"])
        .arg(&file)
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&restored.stderr);
    assert!(restored.status.success(), "{complaint}");
    let mut client = cluster.client("restored", SUPERUSER);
    assert_eq!(same_as_the_view(&mut client, "t", &records, of_t), 3);
    run(&mut client, "SELECT ward.rebuild_audit_index()");
    assert_eq!(findings(&mut client), [""; 0]);
    assert_eq!(same_as_the_view(&mut client, "t", &records, of_t), 3);
}
