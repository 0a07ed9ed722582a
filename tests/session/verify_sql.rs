//! Verification of a part of the log: by time, and since the last verification.

use crate::audited_table;
use ward_tests::postgres::Client;
use ward_tests::{
    Cluster, IN_ORDER, Verdict, number, refused, run, seal_and_verify, tamper, text, verify,
    wait_until,
};

/// Four blocks of 200 entries, and the moments between their seals.
pub fn four_blocks(client: &mut Client) -> Vec<String> {
    audited_table(client);
    let mut moments = Vec::new();
    for block in 0..4 {
        run(
            client,
            &format!("INSERT INTO t SELECT {block} * 1000 + g, 'n' FROM generate_series(1, 200) g"),
        );
        seal_and_verify(client);
        moments.push(text(client, "SELECT clock_timestamp()::text").unwrap());
    }
    moments
}

pub fn ask(client: &mut Client, call: &str) -> Verdict {
    let row = client
        .query_one(&format!("SELECT * FROM ward.{call}"), &[])
        .unwrap_or_else(|error| panic!("{call}: {error:?}"));
    Verdict {
        is_valid: row.get("is_valid"),
        entries_checked: row.get("entries_checked"),
        blocks_checked: row.get("blocks_checked"),
        first_bad_entry: row.get("first_bad_entry"),
        reason: row.get("reason"),
    }
}

pub fn range(client: &mut Client, from: &str, to: &str) -> Verdict {
    let call = format!("verify_audit_trail_integrity('{from}', '{to}')");
    ask(client, &call)
}

/// The entry of a record.
pub fn entry_of(client: &mut Client, record: i64) -> i64 {
    let query = format!("SELECT entry_id FROM ward.audit_trail WHERE record_id = '{record}'");
    number(client, &query)
}

pub fn flip(client: &mut Client, entry: i64) {
    let flip = "UPDATE leaves SET image = set_byte(image, 20, get_byte(image, 20) # 1)";
    tamper(
        client,
        &format!("{flip} WHERE entry_id = {entry}; {IN_ORDER}"),
    );
}

#[test]
fn a_time_range_is_verified_without_what_lies_outside() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    let moments = four_blocks(&mut client);
    let first = number(
        &mut client,
        "SELECT block_no FROM ward.audit_trail WHERE record_id = '1001'",
    );
    // the second block, and the one sealed after the range, which may hold entries of it
    let valid = range(&mut client, &moments[0], &moments[1]);
    assert!(valid.is_valid, "{valid:?}");
    assert_eq!((valid.entries_checked, valid.blocks_checked), (400, 2));

    let inside = entry_of(&mut client, 1100);
    flip(&mut client, inside);
    let found = range(&mut client, &moments[0], &moments[1]);
    assert_eq!(found.first_bad_entry, Some(inside), "{found:?}");
    let reason = found.reason.unwrap();
    assert!(
        reason.starts_with(&format!("image_altered in block {first}")),
        "{reason}"
    );
    let elsewhere = range(&mut client, &moments[1], &moments[2]);
    assert!(elsewhere.is_valid, "{elsewhere:?}");
    flip(&mut client, inside);

    // A leaf altered together with its stored hash: the next block's seal tells that it was the leaf.
    let before = entry_of(&mut client, 100);
    flip(&mut client, before);
    assert!(range(&mut client, &moments[0], &moments[3]).is_valid);
    assert_eq!(verify(&mut client).first_bad_entry, Some(before));
    flip(&mut client, before);
    seal_and_verify(&mut client);

    // the range's end is no part of the log that goes on
    let last = number(&mut client, "SELECT max(block_no) FROM ward.audit_block");
    run(
        &mut client,
        &format!(
            "CREATE TABLE saved AS TABLE ward.audit_block;
             UPDATE ward.audit_block SET root = sha256(root) WHERE block_no = {last}"
        ),
    );
    let apart = range(&mut client, &moments[0], &moments[1]);
    let reason = apart.reason.unwrap();
    assert!(reason.contains("do not connect the range"), "{reason}");
    run(
        &mut client,
        "UPDATE ward.audit_block b SET root = s.root FROM saved s WHERE s.block_no = b.block_no",
    );
    seal_and_verify(&mut client);

    let nothing = range(&mut client, "infinity", "infinity");
    assert_eq!((nothing.is_valid, nothing.entries_checked), (true, 0));
    let backwards = "SELECT ward.verify_audit_trail_integrity(now(), now() - interval '1 day')";
    assert_eq!(refused(&mut client, backwards).code().code(), "22023");
}

#[test]
fn values_that_were_erased_later_are_not_missed() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    let moments = four_blocks(&mut client);
    let call = "verify_audit_trail_incremental()";
    let verdict = ask(&mut client, call);
    assert!(verdict.is_valid, "{verdict:?}");
    run(
        &mut client,
        "SELECT ward.erase_audit_images('t', '1100', 'request 1')",
    );
    let gone =
        "SELECT count(*) FROM ward.audit_trail WHERE record_id = '1100' AND new_values IS NULL";
    wait_until("the values are erased", || {
        run(&mut client, "SELECT ward.seal_audit_trail()");
        number(&mut client, gone) == 1
    });
    // the leaf that says so lies behind the range, and behind what was verified
    let verdict = range(&mut client, &moments[0], &moments[1]);
    assert!(verdict.is_valid, "{verdict:?}");
    let verdict = ask(&mut client, call);
    assert!(verdict.is_valid, "{verdict:?}");
    let verdict = ask(&mut client, "verify_audit_trail_incremental(true, 2)");
    assert!(verdict.is_valid, "{verdict:?}");
    // the row is still there, and what it was is not known any more
    let rows = "SELECT count(*) FROM ward.verify_current_rows('t')";
    assert_eq!(number(&mut client, rows), 0);
}

#[test]
fn an_incremental_verification_goes_on_where_the_last_one_ended() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    let call = "verify_audit_trail_incremental()";
    // nothing is sealed yet, so there is nothing to record
    let verdict = ask(&mut client, call);
    assert!(verdict.is_valid, "{verdict:?}");
    let records = "SELECT count(*) FROM ward.audit_verification";
    assert_eq!(number(&mut client, records), 0);

    four_blocks(&mut client);
    let first = ask(&mut client, call);
    // and the entry that says that the audit of the table began
    assert_eq!((first.is_valid, first.entries_checked), (true, 801));
    let second = ask(&mut client, call);
    assert_eq!((second.is_valid, second.blocks_checked), (true, 0));
    run(&mut client, "INSERT INTO t VALUES (-1, 'n'), (-2, 'n')");
    seal_and_verify(&mut client);
    let third = ask(&mut client, call);
    assert_eq!(
        (third.is_valid, third.entries_checked, third.blocks_checked),
        (true, 2, 1)
    );
    assert_eq!(number(&mut client, records), 3);
    let full = ask(&mut client, "verify_audit_trail_incremental(full => true)");
    assert_eq!((full.is_valid, full.entries_checked), (true, 803));

    // What was verified and then altered is for the whole verification to find, and stays found.
    let old = entry_of(&mut client, 100);
    flip(&mut client, old);
    let verdict = ask(&mut client, call);
    assert!(verdict.is_valid, "{verdict:?}");
    let full = ask(&mut client, "verify_audit_trail_incremental(true)");
    assert_eq!(full.first_bad_entry, Some(old), "{full:?}");
    flip(&mut client, old);

    // A new block that is altered is found again and again: an invalid outcome is no place to go on from.
    run(&mut client, "INSERT INTO t VALUES (-3, 'n')");
    seal_and_verify(&mut client);
    let new = entry_of(&mut client, -3);
    flip(&mut client, new);
    for _ in 0..2 {
        assert_eq!(ask(&mut client, call).first_bad_entry, Some(new));
    }
    flip(&mut client, new);
    let verdict = ask(&mut client, call);
    assert!(verdict.is_valid, "{verdict:?}");
    let error = refused(
        &mut client,
        "SELECT ward.verify_audit_trail_incremental(NULL)",
    );
    assert_eq!(error.code().code(), "22004");
    let error = refused(
        &mut client,
        "BEGIN READ ONLY; SELECT ward.verify_audit_trail_incremental()",
    );
    assert_eq!(error.code().code(), "25006");
}

#[test]
fn a_forged_record_of_a_verification_is_noticed() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    four_blocks(&mut client);
    let call = "verify_audit_trail_incremental()";
    let verdict = ask(&mut client, call);
    assert!(verdict.is_valid, "{verdict:?}");
    // a superuser alters an entry, and says that everything was verified later
    let entry = entry_of(&mut client, 2100);
    flip(&mut client, entry);
    run(
        &mut client,
        "CREATE TABLE saved AS TABLE ward.audit_verification;
         UPDATE ward.audit_verification SET verified_at = verified_at + interval '1 hour'",
    );
    let forged = ask(&mut client, call);
    assert!(!forged.is_valid);
    assert_eq!(forged.first_bad_entry, Some(entry), "{forged:?}");
    flip(&mut client, entry);
    let forged = ask(&mut client, call);
    let reason = forged.reason.unwrap();
    assert!(
        reason.starts_with("verification_forged: record 1 "),
        "{reason}"
    );
    // a record invented, and one whose outcome was mended
    for forgery in [
        "INSERT INTO ward.audit_verification SELECT 100, now(), 'auditor', 0, max(block_no), max(tree_size),
             sha256('x'), 0, sha256('y') FROM ward.audit_block",
        "UPDATE ward.audit_verification SET violations = 0",
    ] {
        run(&mut client, "DELETE FROM ward.audit_verification");
        flip(&mut client, entry);
        assert!(!ask(&mut client, call).is_valid);
        flip(&mut client, entry);
        run(&mut client, forgery);
        let reason = ask(&mut client, call).reason.unwrap();
        assert!(reason.starts_with("verification_forged"), "{reason}");
    }
    // without records, everything is verified
    run(&mut client, "DELETE FROM ward.audit_verification");
    assert_eq!(ask(&mut client, call).entries_checked, 801);

    // A log that is shorter than what was verified, or has another head, is measured against the record.
    run(
        &mut client,
        "CREATE TABLE blocks AS TABLE ward.audit_block;
         DELETE FROM ward.audit_block WHERE block_no = (SELECT max(block_no) FROM blocks)",
    );
    let cut = ask(&mut client, call);
    assert!(!cut.is_valid);
    assert!(
        number(
            &mut client,
            "SELECT violations FROM ward.audit_verification ORDER BY verification_no DESC LIMIT 1"
        ) > 0
    );
    run(&mut client, "DELETE FROM ward.audit_block");
    assert!(!ask(&mut client, call).is_valid);
}

#[test]
fn a_standby_verifies_and_records_nothing() {
    let primary = Cluster::with_extension();
    let mut client = primary.superuser();
    four_blocks(&mut client);
    run(&mut client, "SELECT ward.verify_audit_trail_incremental()");
    let standby = primary.standby();
    let mut reader = standby.superuser();
    let position = text(&mut client, "SELECT pg_current_wal_lsn()::text").unwrap();
    wait_until("the standby has replayed it", || {
        let replayed = format!("SELECT (pg_last_wal_replay_lsn() >= '{position}')::int::bigint");
        number(&mut reader, &replayed) == 1
    });
    let verdict = ask(&mut reader, "verify_audit_trail_integrity(jobs => 2)");
    assert_eq!((verdict.is_valid, verdict.entries_checked), (true, 801));
    let error = refused(&mut reader, "SELECT ward.verify_audit_trail_incremental()");
    assert_eq!(error.code().code(), "25006");
    assert!(
        error
            .hint()
            .unwrap()
            .contains("verify_audit_trail_integrity")
    );
    let rows = "SELECT count(*) FROM ward.verify_current_rows('t')";
    assert_eq!(number(&mut reader, rows), 0);
    let health = "SELECT last_block FROM ward.audit_health WHERE verified_valid AND worker_ok";
    let last = number(&mut client, "SELECT max(block_no) FROM ward.audit_block");
    assert_eq!(number(&mut reader, health), last);
}

#[test]
fn a_restored_log_whose_small_rows_lie_in_earlier_pages() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    audited_table(&mut client);
    // rows of many sizes, the last of a block a small one
    for block in 0..60 {
        run(
            &mut client,
            &format!(
                "INSERT INTO t SELECT {block} * 1000 + g, repeat(md5(g::text), {block} % 7 * 9) FROM generate_series(1, 5 + {block} % 11) g;
                 SELECT ward.seal_audit_trail()"
            ),
        );
    }
    let call = "verify_audit_trail_incremental()";
    assert!(ask(&mut client, call).is_valid);
    let middle = "SELECT sealed_at::text FROM ward.audit_blocks WHERE block_no = 40";
    let middle = text(&mut client, middle).unwrap();
    run(
        &mut client,
        "INSERT INTO t VALUES (-1, 'n'); SELECT ward.seal_audit_trail()",
    );
    let file = cluster.data_directory().join("segment");
    let file = file.display();
    let disorder =
        "SELECT count(*) FROM (SELECT entry_id < lag(entry_id) OVER (ORDER BY ctid) AS later
                    FROM ward.audit_segment_000000) AS r WHERE later";
    assert_eq!(number(&mut client, disorder), 0);
    // as a restore fills the table: by COPY, in a transaction after that which has made it
    run(
        &mut client,
        &format!("COPY ward.audit_segment_000000 TO '{file}'"),
    );
    run(&mut client, "TRUNCATE ward.audit_segment_000000");
    run(
        &mut client,
        &format!("COPY ward.audit_segment_000000 FROM '{file}'"),
    );
    assert!(number(&mut client, disorder) > 0);
    assert!(verify(&mut client).is_valid);
    let verdict = ask(&mut client, call);
    assert!(verdict.is_valid, "{verdict:?}");
    let verdict = range(&mut client, &middle, "infinity");
    assert!(verdict.is_valid, "{verdict:?}");
}
