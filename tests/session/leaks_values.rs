//! Encrypted values: whatever is done with them, their plaintext is where the client itself wrote it,
//! and nowhere else.

use crate::leaks_scene::{
    CLEAR, Canaries, Column, UNPACKED, WAYS, answer, dump, exercise, file_of, notifications, sort,
    talkative,
};
use crate::leaks_search::{Findings, Search, canary};
use crate::leaks_stolen::copy_binary;
use std::io::Write as _;
use ward_tests::postgres::Client;
use ward_tests::{refused, run, text};

/// Envelopes in a bytea column.
const SEALED: Column = Column {
    table: "sealed",
    data_type: "bytea",
    write: "ward.encrypt({}, 'k')",
    read: "ward.decrypt({})",
    comparable: true,
};

const SEARCHABLE: Column = Column {
    table: "searchable",
    data_type: "ward.encrypted_text('k')",
    write: "{}::text",
    read: "{}::text",
    comparable: true,
};

const SECRET: Column = Column {
    table: "secret",
    data_type: "ward.secret_text('k')",
    write: "{}::text",
    read: "{}::text",
    comparable: false,
};

/// Writes to encrypted columns and to a clear one in every way, and looks everywhere.
fn look_everywhere(columns: &[&Column], reveal: bool) {
    let cluster = talkative();
    let mut client = cluster.superuser();
    if reveal {
        run(&mut client, "ALTER DATABASE app SET ward.reveal = on");
        client = cluster.superuser();
    }
    let columns: Vec<&Column> = columns.iter().copied().chain([&CLEAR]).collect();
    let canaries: Vec<Canaries> = columns.iter().map(|column| Canaries::new(column)).collect();
    let written = || columns.iter().zip(&canaries);
    for (column, canaries) in written() {
        exercise(&mut client, column, canaries);
    }
    run(&mut client, "SELECT ward.seal_audit_trail()");
    run(&mut client, UNPACKED);
    run(&mut client, "CHECKPOINT");

    let search = Search::new(canaries.iter().flat_map(Canaries::secrets));
    let mut findings = Findings::default();
    let _sorting: Vec<Client> = written()
        .map(|(column, canaries)| sort(&cluster, column, canaries))
        .collect();
    search.tree(&cluster.data_directory(), &mut findings);
    search.bytes("log", cluster.log().as_bytes(), &mut findings);
    search.bytes("notify", &notifications(&mut client), &mut findings);
    search.bytes("dump", &dump(&cluster), &mut findings);
    for (name, query) in QUERIES {
        search.bytes(name, &answer(&cluster, query), &mut findings);
    }
    for column in &columns {
        search.bytes("explain", &explain(&mut client, column), &mut findings);
    }
    for (column, _) in written().filter(|(column, _)| column.table != CLEAR.table) {
        for way in WAYS {
            findings.assert_nowhere(&format!("{} {way}", column.table));
        }
    }
    assert_clear_is_found(&mut client, &findings);
}

/// The search sees: it has found all that was written in clear.
fn assert_clear_is_found(client: &mut Client, findings: &Findings) {
    let rows = ["inserted", "updated", "deleted", "rolled back", "prepared"];
    let heap = file_of(client, "clear");
    let index = file_of(client, "clear_value_key");
    let trail = file_of(client, "unpacked");
    findings.assert_in("clear inserted", &trail);
    for way in rows {
        for place in ["pg_wal", &heap, &index] {
            findings.assert_in(&format!("clear {way}"), place);
        }
    }
    let toast = "SELECT reltoastrelid::regclass::text FROM pg_class WHERE relname = 'clear'";
    let toast = text(client, toast).unwrap();
    findings.assert_in("clear large", "pg_wal");
    findings.assert_in("clear large", &file_of(client, &toast));
    findings.assert_in("clear sorted", "base/pgsql_tmp");
    let statistics = file_of(client, "pg_statistic");
    for place in [
        &statistics,
        "log",
        "notify",
        "dump",
        "explain",
        "pg_stats",
        "stream",
        "audit trail",
    ] {
        findings.assert_in("clear inserted", place);
    }
    for way in ["failed", "null violated"] {
        findings.assert_in(&format!("clear {way}"), "log");
    }
}

/// What a superuser can ask the server for without decrypting.
const QUERIES: [(&str, &str); 5] = [
    (
        "pg_stats",
        "SELECT s::text FROM pg_stats s WHERE schemaname = 'public'",
    ),
    (
        "stream",
        "SELECT data FROM pg_logical_slot_get_changes('stream', NULL, NULL)",
    ),
    ("audit trail", "SELECT * FROM ward.audit_trail"),
    ("pg_stat_statements", "SELECT * FROM pg_stat_statements"),
    ("pg_stat_activity", "SELECT * FROM pg_stat_activity"),
];

/// The plans of reading a column, and of reading a constant, which the planner may compute.
fn explain(client: &mut Client, column: &Column) -> Vec<u8> {
    let stored = format!("SELECT value::text FROM {} WHERE id = 1", column.table);
    let stored = text(client, &stored).unwrap();
    let constant = format!("'{stored}'::{}", column.data_type);
    let mut plans = String::new();
    let mut queries = vec![format!("SELECT {}", column.read.replace("{}", &constant))];
    if column.comparable {
        queries.push(format!(
            "SELECT {} FROM {} WHERE value = {constant}",
            column.read.replace("{}", "value"),
            column.table
        ));
    }
    for query in queries {
        let rows = client.query(&format!("EXPLAIN (VERBOSE, ANALYZE) {query}"), &[]);
        for row in rows.unwrap() {
            plans.push_str(row.get(0));
        }
    }
    plans.into_bytes()
}

#[test]
fn encrypted_values_are_nowhere_in_clear() {
    look_everywhere(&[&SEALED, &SEARCHABLE, &SECRET], false);
}

#[test]
fn encrypted_columns_are_nowhere_in_clear_though_they_are_revealed_to_clients() {
    look_everywhere(&[&SEARCHABLE, &SECRET], true);
}

/// Where the client's own words go: what docs/threat-model.md warns of, and how to avoid it.
#[test]
fn plaintext_in_statement_texts_and_parameters_is_where_postgresql_puts_those() {
    let cluster = talkative();
    let mut client = cluster.superuser();
    let words = [
        "literal",
        "utility",
        "logged parameter",
        "parameter",
        "logged failure",
        "failure",
    ]
    .map(|name| (name, canary()));
    let [literal, utility, logged, parameter, failed, failure] =
        [0, 1, 2, 3, 4, 5].map(|number| &words[number].1);
    run(&mut client, "CREATE TABLE t (id int, value bytea)");
    run(
        &mut client,
        &format!("INSERT INTO t VALUES (1, ward.encrypt('{literal}', 'k'))"),
    );
    run(
        &mut client,
        &format!("DO $$ BEGIN PERFORM ward.encrypt('{utility}', 'k'); END $$"),
    );
    let insert = "INSERT INTO t VALUES (2, ward.encrypt($1::text, 'k'))";
    let fail = "INSERT INTO t SELECT 1 / length(left($1::text, 0)), ward.encrypt($1::text, 'k')";
    for (setting, good, bad) in [("-1", logged, failed), ("0", parameter, failure)] {
        run(
            &mut client,
            &format!(
                "SET log_parameter_max_length = {setting};
                 SET log_parameter_max_length_on_error = {setting}"
            ),
        );
        client.execute(insert, &[good]).unwrap();
        client.execute(fail, &[bad]).unwrap_err();
    }
    run(&mut client, "CHECKPOINT");

    let search = Search::new(words.iter().map(|(name, word)| (*name, word.as_bytes())));
    let mut findings = Findings::default();
    search.tree(&cluster.data_directory(), &mut findings);
    search.bytes("log", cluster.log().as_bytes(), &mut findings);
    assert_eq!(findings.places("literal"), ["log"]);
    let statements = "pg_stat_tmp/pgss_query_texts.stat";
    assert_eq!(findings.places("utility"), ["log", statements]);
    assert_eq!(findings.places("logged parameter"), ["log"]);
    assert_eq!(findings.places("logged failure"), ["log"]);
    findings.assert_nowhere("parameter");
    findings.assert_nowhere("failure");
}

/// What the client does with decrypted text is its own: docs/threat-model.md says so.
#[test]
fn text_that_a_client_decrypted_is_where_the_client_puts_it() {
    let cluster = talkative();
    let mut client = cluster.superuser();
    let word = canary();
    run(&mut client, "CREATE TABLE t (value bytea)");
    client
        .execute(
            "INSERT INTO t VALUES (ward.encrypt($1::text, 'k'))",
            &[&word],
        )
        .unwrap();
    refused(&mut client, "SELECT ward.decrypt(value)::int FROM t");
    run(
        &mut client,
        "CREATE STATISTICS s ON (ward.decrypt(value)), value FROM t; ANALYZE t",
    );
    run(&mut client, "CHECKPOINT");
    let search = Search::new([("word", word.as_bytes())]);
    let mut findings = Findings::default();
    search.tree(&cluster.data_directory(), &mut findings);
    search.bytes("log", cluster.log().as_bytes(), &mut findings);
    findings.assert_in("word", "log");
    let statistics = file_of(&mut client, "pg_statistic_ext_data");
    findings.assert_in("word", &statistics);
}

fn fail_to_copy(client: &mut Client, statement: &str, data: &[u8]) {
    let mut writer = client.copy_in(statement).unwrap();
    writer.write_all(data).unwrap();
    writer.finish().unwrap_err();
}

/// What docs/threat-model.md warns of, and its two ways to avoid it.
#[test]
fn a_line_that_copy_refuses_is_in_the_log_unless_the_server_is_told_not_to() {
    let cluster = talkative();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TABLE t (value ward.encrypted_text('k') CHECK (false))",
    );
    let [quoted, terse, binary] = [canary(), canary(), canary()];
    let line = |word: &str| format!("{word}\n").into_bytes();
    fail_to_copy(&mut client, "COPY t FROM STDIN", &line(&quoted));
    let form = "COPY t FROM STDIN (FORMAT binary)";
    fail_to_copy(&mut client, form, &copy_binary(binary.as_bytes()));
    run(&mut client, "SET log_error_verbosity = terse");
    fail_to_copy(&mut client, "COPY t FROM STDIN", &line(&terse));

    let words = [("quoted", &quoted), ("terse", &terse), ("binary", &binary)];
    let search = Search::new(words.map(|(name, word)| (name, word.as_bytes())));
    let mut findings = Findings::default();
    search.bytes("log", cluster.log().as_bytes(), &mut findings);
    findings.assert_in("quoted", "log");
    findings.assert_nowhere("terse");
    findings.assert_nowhere("binary");
}
