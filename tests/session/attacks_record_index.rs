//! The index by record, or the entries behind it, in the hands of a superuser: what a history shows then, and what
//! tells that somebody was there.

use crate::audit_record_index::{filled, findings, same_as_the_view};
use ward_tests::postgres::Client;
use ward_tests::{
    Cluster, Options, number, run, seal_and_verify, tamper, texts, verify, wait_until_sealers_left,
};

#[test]
fn an_index_that_somebody_deleted_or_altered() {
    // A worker that has just come builds what is missing, so none may be there.
    let cluster = Cluster::with_extension_and(Options::default().set("ward.seal_interval", "1h"));
    let mut client = cluster.superuser();
    filled(&mut client, 9000);
    wait_until_sealers_left(&mut client);
    let query = "SELECT operation FROM ward.audit_history('t', '7')";
    let entries = |client: &mut Client| texts(client, query).len();
    // answers what the history of record 7 says besides its two entries
    let told = |cluster: &Cluster| {
        let output = cluster.psql(query);
        assert!(output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!(entries(&mut client), 2);
    assert_eq!(told(&cluster), "");

    // the smallest pair of a record
    run(
        &mut client,
        "CREATE FUNCTION smallest(text) RETURNS bigint LANGUAGE sql AS $$
            SELECT ('x' || left(encode(sha256(convert_to($1, 'UTF8')), 'hex'), 8))::bit(32)::bigint >> 1 << 32
         $$",
    );

    // All of it, or a whole run: the entries are read instead, and it is said.
    for delete in ["", "WHERE run = 0"] {
        run(
            &mut client,
            &format!("DELETE FROM ward.audit_record_index {delete}"),
        );
        assert_eq!(entries(&mut client), 2);
        assert!(told(&cluster).contains("not indexed yet"));
        let [finding] = &findings(&mut client)[..] else {
            panic!("one finding for {delete}")
        };
        assert!(
            finding.starts_with("0 ") && finding.ends_with(" not indexed"),
            "{finding}"
        );
        let covered = number(&mut client, "SELECT ward.rebuild_audit_index()");
        assert_eq!(covered, 8192);
        assert_eq!(findings(&mut client), [""; 0]);
        assert_eq!(told(&cluster), "");
    }

    // A page, a part of one, pages of another order or length, another record's leaf: the same, as a warning.
    for alter in [
        "DELETE FROM ward.audit_record_index WHERE level = 0 AND run = 0 AND fence =
            (SELECT max(fence) FROM ward.audit_record_index WHERE fence <= smallest('7'))",
        "UPDATE ward.audit_record_index SET pairs = '\\x00' || pairs",
        "UPDATE ward.audit_record_index SET pairs = substr(pairs, 9) || substr(pairs, 1, 8)",
        // leaf 100 said to be about record 7
        "DELETE FROM ward.audit_record_index WHERE run = 0 AND fence > 0;
         UPDATE ward.audit_record_index SET upto = 9223372036854775807, pairs = int8send(smallest('7')
            | ((SELECT ('x' || left(encode(shape_id, 'hex'), 3))::bit(12)::bigint FROM ward.audit_shape) << 20) | 100)
         WHERE run = 0",
    ] {
        run(&mut client, alter);
        let warning = told(&cluster);
        assert!(
            warning.contains("WARNING:  the index of the audit trail does not fit its entries"),
            "{alter}: {warning}"
        );
        assert_eq!(entries(&mut client), 2, "{alter}");
        assert_ne!(findings(&mut client), [""; 0], "{alter}");
        run(&mut client, "SELECT ward.rebuild_audit_index()");
        assert_eq!(findings(&mut client), [""; 0], "{alter}");
        assert_eq!(told(&cluster), "");
    }

    // A part of the log that is not there yet: no history asks for it.
    run(
        &mut client,
        "INSERT INTO ward.audit_record_index VALUES (0, 0, 9223372036854775807, 2, '')",
    );
    assert_eq!(entries(&mut client), 2);
    assert_eq!(told(&cluster), "");
    assert_eq!(findings(&mut client), ["0 1048576 indexed, but not sealed"]);
    run(&mut client, "SELECT ward.rebuild_audit_index()");
    assert_eq!(findings(&mut client), [""; 0]);

    // Only the entry's own pair, taken out with care: a history does not show that, the comparison does.
    run(
        &mut client,
        "UPDATE ward.audit_record_index SET pairs = (
            SELECT coalesce(string_agg(substr(pairs, at * 8 + 1, 8), '' ORDER BY at), '')
            FROM generate_series(0, length(pairs) / 8 - 1) at
            WHERE substr(pairs, at * 8 + 1, 4) <> substr(int8send(smallest('7')), 1, 4))
         WHERE run = 0",
    );
    assert_eq!(entries(&mut client), 1);
    assert_eq!(
        findings(&mut client),
        ["0 4096 the index is not that of the entries"]
    );
    // The view, and a verification, never look at the index.
    let view = "SELECT count(*) FROM ward.audit_trail WHERE table_name = 't' AND record_id = '7'";
    assert_eq!(number(&mut client, view), 2);
    seal_and_verify(&mut client);
    run(&mut client, "SELECT ward.rebuild_audit_index()");
    assert_eq!(entries(&mut client), 2);
}

#[test]
fn entries_that_somebody_altered_behind_the_index() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    filled(&mut client, 5000);
    // the rows of a segment in another order, as after a VACUUM FULL that began in its middle
    let before = texts(
        &mut client,
        "SELECT ward.audit_proof(g) FROM generate_series(0, 5000, 500) g",
    );
    run(
        &mut client,
        "CREATE TEMP TABLE turned AS SELECT * FROM ward.audit_segment_000000 ORDER BY entry_id < 3000, entry_id;
         DELETE FROM ward.audit_segment_000000;
         INSERT INTO ward.audit_segment_000000 SELECT * FROM turned",
    );
    seal_and_verify(&mut client);
    let of_t = "table_name = 't'";
    let records = ["1", "7", "2999", "3000", "5000"];
    assert_eq!(same_as_the_view(&mut client, "t", &records, of_t), 6);
    let after = texts(
        &mut client,
        "SELECT ward.audit_proof(g) FROM generate_series(0, 5000, 500) g",
    );
    let unsigned = |proofs: &[String]| -> Vec<String> {
        let cut = |proof: &String| proof.split("\n\u{2014}").next().unwrap().to_owned();
        proofs.iter().map(cut).collect()
    };
    assert_eq!(unsigned(&before), unsigned(&after));
    assert_eq!(findings(&mut client), [""; 0]);
    run(&mut client, "VACUUM FULL ward.audit_segment_000000");
    assert_eq!(same_as_the_view(&mut client, "t", &["7"], of_t), 2);

    // an entry that was given to another record
    tamper(
        &mut client,
        "UPDATE leaves SET leaf = overlay(leaf PLACING '8' FROM length(leaf)) WHERE entry_id =
            (SELECT min(entry_id) FROM ward.audit_trail WHERE table_name = 't' AND record_id = '7')",
    );
    let output = cluster.psql("SELECT * FROM ward.audit_history('t', '7')");
    let warning = String::from_utf8(output.stderr).unwrap();
    assert!(warning.contains("does not fit its entries"), "{warning}");
    assert_eq!(findings(&mut client).len(), 1);

    // a segment that is gone: its entries are, and the index alone shows none
    run(&mut client, "DROP TABLE ward.audit_segment_000000");
    let shown = "SELECT count(*) FROM ward.audit_history('t', '9')";
    assert_eq!(number(&mut client, shown), 0);
    assert!(!verify(&mut client).is_valid);
}
