//! Attacks by a superuser on entries that are not sealed yet: whoever alters part of a transaction's
//! entries lacks the audit key, so sealing reports it. What others do later is sealed all the same.

use crate::audited_table;
use ward_tests::postgres::Client;
use ward_tests::{Cluster, number, run, seal_and_verify, texts, verify};

/// Commits entries that fill several rows of the journal, attacks them before they are sealed, and has
/// them sealed. One violation is found.
fn attack(change: &str, found: &str) {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(&mut client, "INSERT INTO t VALUES (0, 'sealed before')");
    seal_and_verify(&mut client);
    // a superuser can hold the worker off with the lock that it needs itself
    let mut obstacle = cluster.superuser();
    run(
        &mut obstacle,
        "BEGIN; LOCK TABLE ward.audit_block IN SHARE ROW EXCLUSIVE MODE",
    );
    run(
        &mut client,
        "INSERT INTO t SELECT g, repeat('x', 100) FROM generate_series(1, 2000) g",
    );
    let journal = journal_in_use(&mut client);
    run(&mut client, &change.replace("JOURNAL", &journal));
    run(&mut obstacle, "COMMIT");
    run(&mut client, "SELECT ward.seal_audit_trail()");
    assert!(!verify(&mut client).is_valid, "unnoticed: {change}");
    let violations = texts(&mut client, "SELECT v::text FROM ward.audit_violations() v");
    assert_eq!(violations.len(), 1, "{violations:?}");
    assert!(violations[0].contains(found), "{violations:?}");

    run(&mut client, "INSERT INTO t VALUES (-1, 'sealed after')");
    run(&mut client, "SELECT ward.seal_audit_trail()");
    let honest = "SELECT count(*) FROM ward.audit_trail
                  WHERE record_id IN ('0', '-1') AND entry_id IS NOT NULL";
    assert_eq!(number(&mut client, honest), 2);
    let again = texts(&mut client, "SELECT v::text FROM ward.audit_violations() v");
    assert_eq!(violations, again, "honest entries are blamed too");
}

fn journal_in_use(client: &mut Client) -> String {
    for journal in ["ward.audit_journal_0", "ward.audit_journal_1"] {
        let unsealed = format!(
            "SELECT count(*) FROM {journal} WHERE xid = (SELECT max(transaction_id)
             FROM ward.audit_trail)"
        );
        if number(client, &unsealed) > 2 {
            return journal.to_owned();
        }
    }
    panic!("no journal holds several rows of the transaction");
}

/// The transaction under attack.
const VICTIM: &str = "xid = (SELECT max(xid) FROM JOURNAL)";

#[test]
fn an_unsealed_entry_edited() {
    attack(
        &format!(
            "UPDATE JOURNAL SET data = set_byte(data, 40, get_byte(data, 40) # 1)
         WHERE {VICTIM} AND position = 0 AND part = 0"
        ),
        "chain or count wrong",
    );
}

#[test]
fn the_value_of_an_unsealed_entry_edited() {
    attack(&format!(
        "UPDATE JOURNAL SET data = overlay(data PLACING 'yyyy'::bytea FROM position('xxxx'::bytea IN data))
         WHERE {VICTIM} AND position = 0 AND part = 0"
    ), "image_altered");
}

#[test]
fn unsealed_entries_cut_from_the_middle() {
    attack(
        &format!(
            "DELETE FROM JOURNAL WHERE {VICTIM} AND position =
           (SELECT min(position) FROM JOURNAL WHERE position > 0 AND {VICTIM})"
        ),
        "positions missing: leaf",
    );
}

#[test]
fn unsealed_entries_cut_from_the_end() {
    attack(
        &format!(
            "DELETE FROM JOURNAL WHERE {VICTIM} AND position = (SELECT max(position) FROM JOURNAL WHERE {VICTIM})"
        ),
        "trailer missing",
    );
}

#[test]
fn unsealed_entries_cut_from_the_beginning() {
    attack(
        &format!("DELETE FROM JOURNAL WHERE {VICTIM} AND position = 0"),
        "stands where leaf 0 belongs",
    );
}

#[test]
fn entries_repeated_under_the_attackers_own_transaction() {
    attack(
        &format!(
            "INSERT INTO JOURNAL SELECT txid_current(), position, part, data FROM JOURNAL WHERE {VICTIM}"
        ),
        "a leaf belongs to another transaction",
    );
}

#[test]
fn entries_written_twice() {
    attack(
        &format!("INSERT INTO JOURNAL SELECT * FROM JOURNAL WHERE {VICTIM} AND position = 0"),
        "positions missing: leaf 0 stands",
    );
}

#[test]
fn rubbish_in_the_journal() {
    attack(
        "INSERT INTO JOURNAL VALUES (txid_current(), 0, 0, '\\x00112233445566778899')",
        "a journal record cannot be read",
    );
}

/// The documented window: until it is sealed, a transaction can be deleted as a whole by who may write the journal,
/// and nothing is missed (docs/threat-model.md). Its rows are there, its entries are not.
#[test]
fn a_whole_transaction_deleted_before_its_seal_is_not_found() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    audited_table(&mut client);
    let mut obstacle = cluster.superuser();
    run(
        &mut obstacle,
        "BEGIN; LOCK TABLE ward.audit_block IN SHARE ROW EXCLUSIVE MODE",
    );
    run(&mut client, "INSERT INTO t VALUES (1, 'kept')");
    run(
        &mut client,
        "INSERT INTO t SELECT g, repeat('x', 100) FROM generate_series(2, 2000) g",
    );
    for journal in ["ward.audit_journal_0", "ward.audit_journal_1"] {
        let delete = format!(
            "DELETE FROM {journal} WHERE xid = (SELECT xmin::text::bigint FROM t WHERE id = 2)"
        );
        run(&mut client, &delete);
    }
    run(&mut obstacle, "COMMIT");
    seal_and_verify(&mut client);
    assert_eq!(number(&mut client, "SELECT count(*) FROM t"), 2000);
    assert_eq!(number(&mut client, crate::ENTRIES_OF_T), 1);
}
