//! Rows of any size are recorded: what is too long to keep is marked as cut, and the change commits.

use ward_tests::postgres::Client;
use ward_tests::{Cluster, number, run, seal_and_verify, text, texts};

/// The longest value that is kept, as docs/audit.md says.
const VALUE: usize = 32 * 1024 * 1024;

/// What the trail must show for a value that was cut.
fn cut(column: &str) -> String {
    format!(
        "format('[cut: %s bytes, SHA-256 %s]', octet_length(({column})::text),
                encode(sha256(convert_to(({column})::text, 'UTF8')), 'hex'))"
    )
}

fn shown(client: &mut Client, column: &str, id: i32) -> String {
    let query = format!(
        "SELECT new_values->>'{column}' FROM ward.audit_trail
         WHERE table_name = 't' AND record_id = '{id}' ORDER BY entry_id DESC LIMIT 1"
    );
    text(client, &query).expect("a value")
}

#[test]
fn values_up_to_the_limit_are_kept_and_longer_ones_are_cut() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        &format!(
            "CREATE TABLE t (id int PRIMARY KEY, note text, bytes bytea, doc jsonb, list text[], last text);
             SELECT ward.enable_audit('t');
             INSERT INTO t VALUES (1, repeat('x', {VALUE}), NULL, '1', '{{}}', 'end'),
                                  (3, NULL, convert_to(repeat('y', {VALUE} / 2 - 1), 'UTF8'), NULL, NULL, 'end');
             INSERT INTO t SELECT 2, s || 'x', convert_to(s, 'UTF8'), to_jsonb(s), ARRAY[s], 'end' FROM repeat('ä', {VALUE} / 2) s"
        ),
    );
    seal_and_verify(&mut client);
    // the trail is read once: it holds much
    run(
        &mut client,
        "CREATE TABLE e AS SELECT record_id::int AS id, new_values AS v FROM ward.audit_trail WHERE table_name = 't'",
    );
    let kept = "SELECT count(*) FROM t JOIN e USING (id)
                WHERE id = 1 AND v->>'note' = note AND v->>'doc' = '1' OR id = 3 AND v->>'bytes' = bytes::text";
    assert_eq!(number(&mut client, kept), 2);
    for column in ["note", "bytes", "doc", "list"] {
        let same = format!(
            "SELECT count(*) FROM t JOIN e USING (id) WHERE id = 2 AND v->>'{column}' = {}",
            cut(column)
        );
        assert_eq!(number(&mut client, &same), 1, "{column}");
    }
    let last = "SELECT count(*) FROM e WHERE v->>'last' = 'end'";
    assert_eq!(number(&mut client, last), 3);
}

#[test]
fn a_change_of_a_cut_value_is_seen_and_an_unchanged_one_is_not_repeated() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        &format!(
            "CREATE TABLE t (id int PRIMARY KEY, note text, n int); ALTER TABLE t ALTER note SET STORAGE EXTERNAL;
             SELECT ward.enable_audit('t');
             INSERT INTO t SELECT 1, repeat('x', {VALUE} + 1), 1;
             UPDATE t SET n = 2;
             UPDATE t SET note = overlay(note placing 'y' FROM 12345678);
             DELETE FROM t"
        ),
    );
    seal_and_verify(&mut client);
    assert_eq!(
        texts(
            &mut client,
            "SELECT concat_ws(' ', operation, changed_fields, left(old_values->>'note', 20), old_values->>'note' <> new_values->>'note')
             FROM ward.audit_trail WHERE table_name = 't' ORDER BY entry_id"
        ),
        [
            "INSERT",
            "UPDATE {n}",
            "UPDATE {note} [cut: 33554433 bytes t",
            "DELETE [cut: 33554433 bytes",
        ]
    );
}

#[test]
fn many_long_values_are_cut_where_the_image_is_full_and_small_ones_are_kept() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        &format!(
            "CREATE TABLE t (id int PRIMARY KEY, a text, b text, c text, small text, f text);
             SELECT ward.enable_audit('t');
             INSERT INTO t SELECT 1, s, s, s, repeat('z', 1024), repeat('f', 2000) FROM repeat('x', {VALUE} - 100) s"
        ),
    );
    seal_and_verify(&mut client);
    // whether a column's value was kept, in the last entry
    let kept = "SELECT string_agg(concat(key, CASE WHEN value #>> '{}' LIKE '[cut: %' THEN '-' ELSE '+' END), ' ' ORDER BY key)
                FROM (SELECT new_values FROM ward.audit_trail WHERE table_name = 't' ORDER BY entry_id DESC LIMIT 1) s,
                     jsonb_each(new_values)";
    assert_eq!(
        text(&mut client, kept).as_deref(),
        Some("a+ b+ c- f- id+ small+")
    );
    // the old values are as long again, so that nothing is left for the new ones but what is small
    run(
        &mut client,
        "UPDATE t SET a = a || '1', b = b || '1', c = c || '1', f = f || '1'",
    );
    seal_and_verify(&mut client);
    assert_eq!(
        text(&mut client, kept).as_deref(),
        Some("a- b- c- f- id+ small+")
    );
}

#[test]
fn a_row_of_300_mb_commits_and_little_memory_is_kept() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TABLE t (id int PRIMARY KEY, note text); SELECT ward.enable_audit('t');
         INSERT INTO t VALUES (0, 'warm')",
    );
    let memory = |client: &mut Client| {
        let pid = number(client, "SELECT pg_backend_pid()::bigint");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon:"));
        let size = line.and_then(|line| line.split_whitespace().nth(1));
        size.unwrap().parse::<u64>().unwrap() / 1024
    };
    let before = memory(&mut client);
    run(
        &mut client,
        "INSERT INTO t VALUES (1, repeat('x', 300000000))",
    );
    run(
        &mut client,
        "UPDATE t SET note = repeat('y', 17000000) WHERE id = 0",
    );
    let after = memory(&mut client);
    assert!(after < before + 30, "{before} MB became {after} MB");
    seal_and_verify(&mut client);
    assert!(shown(&mut client, "note", 1).starts_with("[cut: 300000000 bytes, SHA-256 "));
}

#[test]
fn in_a_database_of_another_encoding_the_mark_is_of_the_utf_8_text() {
    let cluster = Cluster::with_extension();
    run(
        &mut cluster.superuser(),
        "CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
    );
    let mut client = cluster.client("latin", "postgres");
    run(
        &mut client,
        &format!(
            "CREATE EXTENSION pg_ward; CREATE TABLE t (id int PRIMARY KEY, note text); SELECT ward.enable_audit('t');
             INSERT INTO t VALUES (1, repeat('xä', {VALUE} / 2 + 1)), (2, repeat('ä', {VALUE} / 2 + 1)), (3, repeat('ä', {VALUE} / 2))"
        ),
    );
    seal_and_verify(&mut client);
    for id in [1, 2] {
        let expected = format!(
            "SELECT format('[cut: %s bytes, SHA-256 %s]', length(u), encode(sha256(u), 'hex'))
             FROM t, convert_to(note, 'UTF8') u WHERE id = {id}"
        );
        let expected = text(&mut client, &expected).expect("a row");
        assert_eq!(shown(&mut client, "note", id), expected, "{id}");
    }
    assert_eq!(shown(&mut client, "note", 3).chars().count(), VALUE / 2);
}

#[test]
fn a_value_without_a_text_leaves_nothing_of_its_output_function_behind() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    // the composite type's output function fails while it holds the description of the type
    run(
        &mut client,
        "CREATE TYPE wrapped AS (bytes bytea);
         CREATE TABLE t (id int PRIMARY KEY, v wrapped, last text); SELECT ward.enable_audit('t');
         INSERT INTO t SELECT 1, ROW(convert_to(repeat('x', 540000000), 'UTF8'))::wrapped, 'end';
         INSERT INTO t VALUES (2, ROW(convert_to(repeat('x', 100000), 'UTF8')), 'end')",
    );
    seal_and_verify(&mut client);
    assert_eq!(
        shown(&mut client, "v", 1),
        "[cut: a text of more than 1 GB]"
    );
    assert_eq!(shown(&mut client, "last", 1), "end");
    assert_eq!(shown(&mut client, "v", 2).len(), 200_007);
    let log = cluster.log();
    assert!(!log.contains("leak"), "{log}");
}
