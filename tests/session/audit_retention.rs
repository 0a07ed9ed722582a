//! What was recorded long ago is pruned, what a person has a right to have erased is erased, and the rest still
//! verifies, in the database and outside.

use crate::audited_table;
use std::fs;
use ward_tests::auditor::{Auditor, export};
use ward_tests::postgres::Client;
use ward_tests::{Cluster, Options, number, refused, run, text, texts, verify, wait_until};

/// The sealed leaves that the last published checkpoint covers.
const PUBLISHED: &str = "SELECT coalesce(max(tree_size), 0) FROM ward.audit_checkpoints";
const SEALED: &str = "SELECT max(tree_size) FROM ward.audit_blocks";
pub const SEGMENTS: &str = "SELECT count(*) FROM pg_class WHERE relname ~ '^audit_segment_[0-9]+$'";
pub const UNFINISHED: &str = "SELECT unfinished FROM ward.audit_retention";

/// A server whose segments have 1,024 leaves and whose checkpoints are published at once, with table `t`.
pub fn server() -> (Cluster, Client) {
    server_with(Options::default())
}

/// The same with more options.
pub fn server_with(options: Options) -> (Cluster, Client) {
    let cluster = Cluster::with_extension_and(options.set("ward.checkpoint_interval", "0"));
    let mut client = cluster.superuser();
    run(
        &mut client,
        "INSERT INTO ward.audit_layout (segment_bits) VALUES (10)",
    );
    audited_table(&mut client);
    (cluster, client)
}

pub fn insert(client: &mut Client, first: i64, last: i64) {
    let rows =
        format!("INSERT INTO t SELECT g, 'note ' || g FROM generate_series({first}, {last}) g");
    run(client, &rows);
    run(client, "SELECT ward.seal_audit_trail()");
}

pub fn wait_published(client: &mut Client) {
    wait_until("the log's head is published", || {
        number(client, PUBLISHED) == number(client, SEALED)
    });
}

/// Sets the shortest period there is and waits until it has passed for everything.
pub fn let_age(client: &mut Client) {
    run(client, "SELECT ward.set_audit_retention('1 millisecond')");
    run(client, "SELECT ward.seal_audit_trail()");
    wait_until("the retention period is in force", || {
        number(
            client,
            "SELECT count(*) FROM ward.audit_retention WHERE period IS NOT NULL",
        ) == 1
    });
}

/// Waits until every order is carried out.
pub fn carried_out(client: &mut Client) {
    run(client, "SELECT ward.seal_audit_trail()");
    wait_until("everything ordered is done", || {
        number(client, UNFINISHED) == 0
    });
}

fn prune(client: &mut Client) -> i64 {
    number(
        client,
        "SELECT ward.prune_audit_trail(now() - interval '1 millisecond')",
    )
}

pub fn assert_honest(client: &mut Client) {
    let found = texts(client, "SELECT v::text FROM ward.audit_violations() v");
    assert_eq!(found, [""; 0]);
    assert!(verify(client).is_valid);
}

#[test]
fn pruned_and_erased_as_the_log_says() {
    let (cluster, mut client) = server();
    let auditor = Auditor::new(&mut client);
    let_age(&mut client);
    run(&mut client, "SET application_name = 'one long transaction'");
    insert(&mut client, 1, 2500);
    run(
        &mut client,
        "SET application_name = 'later'; UPDATE t SET note = 'changed' WHERE id = 2400",
    );
    run(&mut client, "SELECT ward.seal_audit_trail()");
    wait_published(&mut client);
    let former = auditor.keep(&mut client, "SELECT ward.audit_checkpoint()", "checkpoint");
    let archive = archive(&mut client, &auditor, 1);
    let proof = text(&mut client, "SELECT ward.audit_inclusion_proof(5)::text");

    // a rolled back order orders nothing
    run(
        &mut client,
        "BEGIN; SELECT ward.prune_audit_trail(now() - interval '1 millisecond'); ROLLBACK",
    );
    carried_out(&mut client);
    assert_eq!(number(&mut client, SEGMENTS), 3);

    // a reader of the segment is waited for, and not in anybody's way
    let mut reader = cluster.superuser();
    run(
        &mut reader,
        "BEGIN; SELECT FROM ward.audit_segment_000001 LIMIT 1",
    );
    assert_eq!(prune(&mut client), 2);
    run(&mut client, "SELECT ward.seal_audit_trail()");
    assert_honest(&mut client);
    assert_eq!(number(&mut client, SEGMENTS), 3);
    run(&mut reader, "COMMIT");
    carried_out(&mut client);
    assert_eq!(number(&mut client, SEGMENTS), 1);
    assert_honest(&mut client);
    assert_eq!(prune(&mut client), 0);

    // who did it is known; what goes on behind the cut still has its context and its shape
    let who =
        "SELECT operation || ' ' || session_role || ' ' || application_name FROM ward.audit_trail
               WHERE operation = 'PRUNE' OR entry_id = 2048";
    assert_eq!(
        texts(&mut client, who),
        [
            "INSERT postgres one long transaction",
            "PRUNE postgres later"
        ]
    );
    let record =
        "SELECT record_id || ' ' || new_values::text FROM ward.audit_trail WHERE entry_id = 2048";
    let record = text(&mut client, record).unwrap();
    assert!(record.contains("note"), "{record}");
    let gone = refused(&mut client, "SELECT ward.audit_proof(5)");
    assert_eq!(gone.code().code(), "P0002");
    assert!(
        gone.message().contains("pruned, as entry"),
        "{}",
        gone.message()
    );
    assert_eq!(
        text(
            &mut client,
            "SELECT ward.audit_inclusion_proof(5, 2000)::text"
        )
        .is_some(),
        proof.is_some()
    );

    // the values of a record go, from the journal too; the entries stay
    let images = "SELECT ward.erase_audit_images('t', '2400', 'request 17')";
    assert_eq!(number(&mut client, images), 2);
    run(
        &mut client,
        "UPDATE t SET note = 'with the request' WHERE id = 2300",
    );
    carried_out(&mut client);
    assert_honest(&mut client);
    let rest =
        "SELECT operation || coalesce(old_values::text, '') || coalesce(new_values::text, '')
                FROM ward.audit_trail WHERE record_id = '2400'";
    assert_eq!(
        texts(&mut client, rest),
        ["INSERT", "UPDATE", "ERASE{\"reason\": \"request 17\"}"]
    );
    for table in ["audit_segment_000002", "audit_journal_0", "audit_journal_1"] {
        let column = if table.contains("segment") {
            "records"
        } else {
            "data"
        };
        let traces = format!(
            "SELECT count(*) FROM ward.{table} WHERE position('note 2400'::bytea IN {column}) > 0"
        );
        assert_eq!(number(&mut client, &traces), 0, "{table}");
    }
    // what is written later about the record is kept
    run(&mut client, "UPDATE t SET note = 'new' WHERE id = 2400");
    run(&mut client, "SELECT ward.seal_audit_trail()");
    let kept =
        "SELECT count(*) FROM ward.audit_trail WHERE record_id = '2400' AND new_values ? 'note'";
    assert_eq!(number(&mut client, kept), 1);

    // so does a verification that ends before the entries that say so
    let early = "SELECT coalesce(string_agg(v::text, ' '), '') FROM ward.audit_violations(NULL,
                 (SELECT min(sealed_at) FROM ward.audit_blocks WHERE tree_size > 2300)) v";
    assert_eq!(text(&mut client, early).unwrap(), "");

    // the entry that was left for its context is not shown; the index of records leads to what is still there
    let left = "SELECT count(*) FROM ward.audit_trail WHERE entry_id < 2048";
    assert_eq!(number(&mut client, left), 0);
    for record in ["1", "5", "2400"] {
        let history = format!("SELECT count(*) FROM ward.audit_history('t', '{record}')");
        let trail = format!(
            "SELECT count(*) FROM ward.audit_trail WHERE record_id = '{record}' AND operation <> 'ERASE'"
        );
        assert_eq!(
            number(&mut client, &history),
            number(&mut client, &trail),
            "{record}"
        );
    }

    // the auditor sees the same; that it was ordered, only a checkpoint of the orders shows
    let said = auditor.check(&export(&cluster, &auditor, 0), &former);
    assert_eq!(said.code, 3, "{}{}", said.outcome, said.error);
    assert!(said.outcome["unanchored_removal"].as_u64().unwrap() > 2048);
    let held = auditor.keep(&mut client, "SELECT ward.audit_checkpoint()", "later");
    let said = auditor.check(&export(&cluster, &auditor, 0), &held);
    assert_eq!(said.code, 0, "{}{}", said.outcome, said.error);
    said.is("anchored");
    let removed = &said.outcome["removed"];
    assert_eq!(removed["pruned"][0]["last"], 2047);
    assert_eq!(
        removed["pruned_entries"], 2047,
        "all but the context that is still needed"
    );
    assert_eq!(removed["erased"][0]["record_id"], "2400");
    assert_eq!(removed["erased_values"], 2);
    let report = auditor.path("report.html").display().to_string();
    let trail = auditor.path("trail.ward").display().to_string();
    let said = auditor.run(&[
        "report",
        &trail,
        "--key",
        &auditor.key,
        "--checkpoint",
        &held,
        "--out",
        &report,
    ]);
    assert_eq!(said.code, 0, "{}{}", said.outcome, said.error);
    assert!(fs::read_to_string(&report).unwrap().contains("request 17"));
    // and can still verify what was archived
    let said = auditor.run(&[
        "check",
        &archive,
        "--partial",
        "--key",
        &auditor.key,
        "--checkpoint",
        &former,
        "--json",
    ]);
    assert_eq!(said.code, 0, "{}{}", said.outcome, said.error);
    assert!(said.outcome["archive_of"].as_u64().unwrap() >= 2048);
    let again = refused(&mut client, "SELECT ward.archive_segment(1)");
    assert!(
        again.message().contains("was pruned"),
        "{}",
        again.message()
    );
}

#[test]
fn the_entry_that_says_what_was_pruned_is_pruned_itself() {
    let (cluster, mut client) = server();
    let auditor = Auditor::new(&mut client);
    let_age(&mut client);
    for round in 0..3 {
        insert(&mut client, round * 2000, round * 2000 + 1999);
        insert(&mut client, -round * 200 - 200, -round * 200 - 1);
        wait_published(&mut client);
        let all = "SELECT ward.prune_audit_trail((SELECT max(sealed_at) FROM ward.audit_blocks))";
        let segments = number(&mut client, SEGMENTS);
        assert_eq!(number(&mut client, all), segments - 1);
        carried_out(&mut client);
        assert_honest(&mut client);
        // from whatever block on, also where that before it is gone
        let parts = "SELECT count(*) FROM ward.audit_blocks b,
            LATERAL ward.verify_audit_trail_integrity(b.sealed_at) v WHERE NOT v.is_valid";
        assert_eq!(number(&mut client, parts), 0);
        let held = auditor.keep(&mut client, "SELECT ward.audit_checkpoint()", "held");
        let said = auditor.check(&export(&cluster, &auditor, 0), &held);
        assert_eq!(said.code, 0, "{}{}", said.outcome, said.error);
        let orders = "SELECT count(*) FROM ward.audit_trail WHERE operation = 'PRUNE'";
        assert_eq!(number(&mut client, orders), 1);
        let first = "SELECT min(entry_id) / 1024 * 1024 FROM ward.audit_trail";
        let pruned = "SELECT pruned_entries FROM ward.audit_retention";
        assert_eq!(number(&mut client, pruned), number(&mut client, first));
    }
}

/// Archives a segment as the manual says.
pub fn archive(client: &mut Client, auditor: &Auditor, segment: i64) -> String {
    let lines = texts(client, &format!("SELECT ward.archive_segment({segment})"));
    let file = auditor.path(&format!("segment-{segment}.ward"));
    fs::write(&file, lines.join("\n") + "\n").unwrap();
    file.display().to_string()
}

#[test]
fn an_archive_of_a_segment_with_erased_values() {
    let (_cluster, mut client) = server();
    let auditor = Auditor::new(&mut client);
    insert(&mut client, 1, 1200);
    insert(&mut client, 1201, 1300);
    run(
        &mut client,
        "SELECT ward.erase_audit_images('t', '7', 'request 18')",
    );
    carried_out(&mut client);
    wait_published(&mut client);
    let held = auditor.keep(&mut client, "SELECT ward.audit_checkpoint()", "checkpoint");
    let file = archive(&mut client, &auditor, 0);
    let args = ["check", &file, "--key", &auditor.key, "--checkpoint", &held];
    let args = [&args[..], &["--partial", "--json"]].concat();
    let said = auditor.run(&args);
    assert_eq!(said.code, 0, "{}{}", said.outcome, said.error);
    assert_eq!(said.outcome["removed"]["erased_values"], 1);
    // without the leaf that says so, the values are missing
    let text = fs::read_to_string(&file).unwrap();
    let cut: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with("order "))
        .collect();
    assert_eq!(cut.len() + 1, text.lines().count());
    fs::write(&file, cut.join("\n") + "\n").unwrap();
    assert_ne!(auditor.run(&args).code, 0);
    for wrong in ["2", "-1", "NULL", "9223372036854775807"] {
        refused(
            &mut client,
            &format!("SELECT ward.archive_segment({wrong})"),
        );
    }
}

#[test]
fn values_are_erased_while_a_logical_slot_and_another_database_lag_behind() {
    let (cluster, mut client) = server();
    let mut other = cluster.client("postgres", "postgres");
    run(
        &mut client,
        "SELECT pg_create_logical_replication_slot('idle', 'pgoutput')",
    );
    run(
        &mut other,
        "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1",
    );
    insert(&mut client, 1, 10);
    run(
        &mut client,
        "SELECT ward.erase_audit_images('t', '7', 'request 21')",
    );
    carried_out(&mut client);
}

#[test]
fn a_shorter_period_takes_effect_after_the_old_one() {
    let (_cluster, mut client) = server();
    let state = "SELECT concat_ws(' ', period, '|', next_period, next_from > now() + '6 years') FROM ward.audit_retention";
    // nothing was set: the period itself has to pass, so that nobody prunes what nobody was told of
    run(&mut client, "SELECT ward.set_audit_retention('7 years')");
    run(&mut client, "SELECT ward.seal_audit_trail()");
    assert_eq!(text(&mut client, state).unwrap(), "| 2556 days 18:00:00 t");
    // that announcement is replaced by another
    let_age(&mut client);
    run(&mut client, "SELECT ward.set_audit_retention('7 years')");
    run(&mut client, "SELECT ward.seal_audit_trail()");
    assert_eq!(text(&mut client, state).unwrap(), "2556 days 18:00:00 |");
    run(&mut client, "SELECT ward.set_audit_retention('1 day')");
    run(&mut client, "SELECT ward.seal_audit_trail()");
    assert_eq!(
        text(&mut client, state).unwrap(),
        "2556 days 18:00:00 | 1 day t"
    );
    // two in one transaction, the last one counts
    run(
        &mut client,
        "BEGIN; SELECT ward.set_audit_retention('1 hour'); SELECT ward.set_audit_retention('8 years'); COMMIT",
    );
    run(&mut client, "SELECT ward.seal_audit_trail()");
    assert_eq!(text(&mut client, state).unwrap(), "2922 days |");
    run(&mut client, "SELECT ward.set_audit_retention('0')");
    run(&mut client, "SELECT ward.seal_audit_trail()");
    assert_eq!(text(&mut client, state).unwrap(), "|");
    let orders = "SELECT count(*) FROM ward.audit_trail WHERE operation = 'RETENTION'";
    assert_eq!(number(&mut client, orders), 7);
    assert_honest(&mut client);
}

#[test]
fn a_record_of_a_table_that_was_renamed_and_dropped() {
    let (_cluster, mut client) = server();
    insert(&mut client, 1, 20);
    run(
        &mut client,
        "ALTER TABLE t RENAME TO people; UPDATE people SET note = 'renamed' WHERE id = 7",
    );
    run(&mut client, "SELECT ward.seal_audit_trail()");
    // the transaction's own entries are erased with the others
    run(
        &mut client,
        "BEGIN; UPDATE people SET note = 'last' WHERE id = 7",
    );
    assert_eq!(
        number(
            &mut client,
            "SELECT ward.erase_audit_images('people', '7', 'request 19')"
        ),
        2
    );
    run(&mut client, "COMMIT");
    carried_out(&mut client);
    let values =
        "SELECT count(*) FROM ward.audit_trail WHERE record_id = '7' AND operation <> 'ERASE'
                  AND (old_values IS NOT NULL OR new_values IS NOT NULL)";
    assert_eq!(number(&mut client, values), 0);
    run(&mut client, "DROP TABLE people");
    assert_eq!(
        number(
            &mut client,
            "SELECT ward.erase_audit_images('public', 't', '8', 'request 20')"
        ),
        1
    );
    carried_out(&mut client);
    assert_honest(&mut client);
    let erased = "SELECT erased_images FROM ward.audit_retention";
    assert_eq!(number(&mut client, erased), 4);
}
