//! Changing the master key: two lines in its file for a while, `ward.rewrap_keys()` in between.

use ward_tests::postgres::Client;
use ward_tests::{
    Algorithm, Cluster, DATABASE, Issuer, MasterKey, Options, number, random_key, refused, run,
    text, texts, wait_until,
};

const REWRAP: &str = "SELECT ward.rewrap_keys()::bigint";
const OPENED: &str = "SELECT string_agg(ward.decrypt(value), ',' ORDER BY id) FROM vault";
const MASTERS: &str =
    "SELECT DISTINCT master_key_id FROM ward.encryption_keys ORDER BY master_key_id";

/// A cluster whose master key is `old`, with a key of three versions, one that is disabled, one that
/// is destroyed, a search key, an audit key, and a value under each version.
fn used(old: &str) -> Cluster {
    let options = Options::default().master_key(MasterKey::private_file(old));
    let cluster = Cluster::with_extension_and(options);
    run(
        &mut cluster.superuser(),
        "CREATE TABLE vault (id serial, value bytea);
         CREATE ROLE bob LOGIN;
         GRANT SELECT ON vault TO bob;
         SELECT ward.generate_encryption_key('k');
         SELECT ward.grant_key('k', 'bob', '{decrypt}');
         INSERT INTO vault (value) VALUES (ward.encrypt('one', 'k'));
         SELECT ward.rotate_encryption_key('k');
         INSERT INTO vault (value) VALUES (ward.encrypt('two', 'k'));
         SELECT ward.rotate_encryption_key('k');
         INSERT INTO vault (value) VALUES (ward.encrypt('three', 'k'));
         SELECT ward.generate_encryption_key('asleep');
         SELECT ward.disable_encryption_key('asleep');
         SELECT ward.generate_encryption_key('gone');
         SELECT ward.destroy_encryption_key('gone', 'gone');
         SELECT ward.generate_encryption_key('lookup', 'search');
         CREATE TABLE audited (id bigint PRIMARY KEY);
         SELECT ward.enable_audit('audited')",
    );
    cluster
}

/// Versions that `used` leaves with material: three, one asleep, search, audit, checkpoint signing.
const VERSIONS: i64 = 7;

#[test]
fn keys_of_token_issuers_move_along() {
    let (old, new) = (random_key(), random_key());
    let cluster = used(&old);
    let mut admin = cluster.superuser();
    let issuer = Issuer::new(Algorithm::ES256);
    issuer.register(&mut admin);
    let mut app = cluster.client(DATABASE, "bob");
    let authenticate = |session: &mut Client| {
        session.execute("SELECT ward.authenticate($1, false)", &[&issuer.token("a")])
    };
    authenticate(&mut app).unwrap();
    reload(&cluster, &mut admin, &[&new, &old]);
    for change in [
        "audience = 'web'",
        "mac = '\\x0102030405060708' || substr(mac, 9)",
    ] {
        run(
            &mut admin,
            &format!("BEGIN; UPDATE ward.jwt_key SET {change}"),
        );
        let error = refused(&mut admin, REWRAP);
        assert!(error.message().contains("of issuer"), "{error:?}");
        run(&mut admin, "ROLLBACK");
    }
    assert_eq!(number(&mut admin, REWRAP), VERSIONS);
    authenticate(&mut app).unwrap();
    reload(&cluster, &mut admin, &[&new]);
    authenticate(&mut app).unwrap();
    authenticate(&mut cluster.client(DATABASE, "bob")).unwrap();
    let same = "SELECT count(DISTINCT id) FROM (SELECT master_key_id AS id FROM ward.jwt_keys
                UNION SELECT master_key_id FROM ward.encryption_keys WHERE state <> 'destroyed') AS m";
    assert_eq!(number(&mut admin, same), 1);
}

fn master_id(cluster: &Cluster) -> String {
    let ids = texts(&mut cluster.superuser(), MASTERS);
    assert_eq!(ids.len(), 1, "{ids:?}");
    ids[0].clone()
}

/// Has `client`'s session use the master keys that are in the file now.
fn reload(cluster: &Cluster, client: &mut Client, keys: &[&str]) {
    cluster.write_master_key(&keys.join("\n"), 0o600);
    cluster.reload();
    wait_until("the session has read the file again", || {
        let state = text(
            client,
            "SELECT state FROM ward.status() WHERE part = 'master key'",
        );
        state.is_some_and(|state| state.matches(", ").count() == keys.len())
    });
}

#[test]
fn the_master_key_is_replaced_while_sessions_go_on() {
    let (old, new) = (random_key(), random_key());
    let mut cluster = used(&old);
    let before = master_id(&cluster);
    let mut admin = cluster.superuser();
    let mut bob = cluster.client(DATABASE, "bob");
    let mut busy = cluster.client(DATABASE, "bob");
    let all = Some("one,two,three".to_owned());
    assert_eq!(text(&mut bob, OPENED), all);
    // One that has its keys in the cache and does not look at its configuration meanwhile.
    run(&mut busy, "BEGIN ISOLATION LEVEL REPEATABLE READ");
    assert_eq!(text(&mut busy, OPENED), all);

    assert_eq!(number(&mut admin, REWRAP), 0, "nothing is to be done yet");
    reload(&cluster, &mut admin, &[&new, &old]);
    assert_eq!(number(&mut admin, REWRAP), VERSIONS);
    assert_eq!(number(&mut admin, REWRAP), 0);
    let after = master_id(&cluster);
    assert_ne!(before, after);
    assert_eq!(text(&mut busy, OPENED), all);
    assert_eq!(text(&mut bob, OPENED), all);
    let macs = "SELECT count(DISTINCT substr(mac, 1, 8)) FROM
                (SELECT mac FROM ward.encryption_key UNION ALL
                 SELECT mac FROM ward.encryption_key_version UNION ALL
                 SELECT mac FROM ward.key_grant) AS m";
    assert_eq!(number(&mut admin, macs), 1);

    // The old key is retired; nothing needs it any more, states and grants are what they were.
    reload(&cluster, &mut admin, &[&new]);
    assert_eq!(text(&mut bob, OPENED), all);
    cluster.restart();
    let mut admin = cluster.superuser();
    assert_eq!(text(&mut cluster.client(DATABASE, "bob"), OPENED), all);
    let states = texts(
        &mut admin,
        "SELECT name || ' ' || version || ' ' || state FROM ward.encryption_keys
         WHERE purpose = 'data_encryption' ORDER BY name, version",
    );
    assert_eq!(
        states,
        [
            "asleep 1 disabled",
            "gone 1 destroyed",
            "k 1 decrypt_only",
            "k 2 decrypt_only",
            "k 3 active"
        ]
    );
    run(&mut admin, "SELECT ward.enable_encryption_key('asleep')");
    run(&mut admin, "INSERT INTO audited VALUES (1)");
    ward_tests::seal_and_verify(&mut admin);
    // What was destroyed under the old key is shredded now that the old key is retired.
    let shredded = "SELECT name || ' ' || finished || ' ' || master_key_ids::text
                    FROM ward.shredding_status";
    assert_eq!(
        texts(&mut admin, shredded),
        [format!("gone true {{{before}}}")]
    );
}

#[test]
fn shredding_is_finished_by_rewrap_and_retiring() {
    let (old, new) = (random_key(), random_key());
    let cluster = used(&old);
    let mut admin = cluster.superuser();
    let status = "SELECT concat_ws('|', name, cardinality(master_key_ids),
                         cardinality(still_configured), finished, what_to_do IS NULL)
                  FROM ward.shredding_status ORDER BY name";
    assert_eq!(texts(&mut admin, status), ["gone|1|1|f|f"]);
    reload(&cluster, &mut admin, &[&new, &old]);
    run(&mut admin, "SELECT ward.rewrap_keys()");
    // Wrapped under both in its life, so both could open a copy.
    run(&mut admin, "SELECT ward.destroy_encryption_key('k', 'k')");
    assert_eq!(
        texts(&mut admin, status),
        ["gone|1|1|f|f", "k|2|2|f|f", "k|2|2|f|f", "k|2|2|f|f"]
    );
    let advice = text(
        &mut admin,
        "SELECT what_to_do FROM ward.shredding_status WHERE name = 'gone'",
    );
    assert!(advice.unwrap().contains("then remove master key"));
    reload(&cluster, &mut admin, &[&new]);
    assert_eq!(
        texts(&mut admin, status),
        ["gone|1|0|t|t", "k|2|1|f|f", "k|2|1|f|f", "k|2|1|f|f"]
    );
    let newest = random_key();
    reload(&cluster, &mut admin, &[&newest, &new]);
    run(&mut admin, "SELECT ward.rewrap_keys()");
    reload(&cluster, &mut admin, &[&newest]);
    let open = "SELECT count(*) FROM ward.shredding_status WHERE finished IS NOT TRUE";
    assert_eq!(number(&mut admin, open), 0);
}

#[test]
fn a_key_that_needs_a_master_key_already_removed_stops_rewrapping() {
    let (old, new) = (random_key(), random_key());
    let cluster = used(&old);
    let mut admin = cluster.superuser();
    reload(&cluster, &mut admin, &[&new]);
    let error = refused(&mut admin, REWRAP);
    assert_eq!(error.code().code(), "F0000");
    assert!(error.message().contains("wrong master key"), "{error:?}");
    // Put back, everything works as before.
    reload(&cluster, &mut admin, &[&new, &old]);
    assert_eq!(number(&mut admin, REWRAP), VERSIONS);
}

#[test]
fn a_row_that_was_altered_is_never_given_a_new_mac() {
    let (old, new) = (random_key(), random_key());
    let cluster = used(&old);
    let mut admin = cluster.superuser();
    reload(&cluster, &mut admin, &[&new, &old]);
    for (change, row) in [
        (
            "UPDATE ward.key_grant SET usage = '{encrypt,decrypt,search,import}'",
            "grant",
        ),
        (
            "UPDATE ward.encryption_key SET name = 'mine' WHERE name = 'k'",
            "row",
        ),
        (
            "UPDATE ward.encryption_key_version SET masters = '\\x0102030405060708'
             WHERE state = 'destroyed'",
            "version",
        ),
        (
            "UPDATE ward.encryption_key_version
             SET wrapped = set_byte(wrapped, 50, get_byte(wrapped, 50) # 1) WHERE version = 2",
            "version",
        ),
    ] {
        run(&mut admin, &format!("BEGIN; {change}"));
        let error = refused(&mut admin, REWRAP);
        assert_eq!(error.code().code(), "23000", "{change}");
        assert!(
            error.message().contains(&format!("registry's {row}")),
            "{error:?}"
        );
        run(&mut admin, "ROLLBACK");
    }
    assert_eq!(number(&mut admin, REWRAP), VERSIONS);
}

#[test]
fn kill_9_in_the_middle_of_rewrapping_and_of_a_rotation() {
    let (old, new) = (random_key(), random_key());
    let mut cluster = used(&old);
    let before = master_id(&cluster);
    for (statement, waits_for) in [
        ("SELECT ward.rewrap_keys()", "ward.key_grant"),
        (
            "SELECT ward.rotate_encryption_key('k')",
            "ward.encryption_key_version",
        ),
    ] {
        let mut admin = cluster.superuser();
        reload(&cluster, &mut admin, &[&new, &old]);
        // A row that it will change is held, so it stops half-way.
        let mut holder = cluster.superuser();
        run(
            &mut holder,
            &format!("BEGIN; SELECT 1 FROM {waits_for} FOR UPDATE"),
        );
        let mut victim = cluster.superuser();
        let stopped = std::thread::spawn({
            let statement = statement.to_owned();
            move || victim.batch_execute(&statement)
        });
        let waiting = format!(
            "SELECT count(*) FROM pg_stat_activity
             WHERE query = $${statement}$$ AND wait_event_type = 'Lock'"
        );
        wait_until("it waits for the row", || number(&mut admin, &waiting) == 1);
        cluster.kill9();
        assert!(stopped.join().unwrap().is_err());
        cluster.start_again().unwrap();
        assert_eq!(master_id(&cluster), before, "{statement}");
        let mut bob = cluster.client(DATABASE, "bob");
        assert_eq!(text(&mut bob, OPENED).as_deref(), Some("one,two,three"));
        let versions = "SELECT count(*) FROM ward.encryption_keys WHERE name = 'k'";
        assert_eq!(number(&mut cluster.superuser(), versions), 3);
    }
    let mut admin = cluster.superuser();
    assert_eq!(number(&mut admin, REWRAP), VERSIONS);
    assert_ne!(master_id(&cluster), before);
    cluster.kill9();
    cluster.write_master_key(&new, 0o600);
    cluster.start_again().unwrap();
    let mut bob = cluster.client(DATABASE, "bob");
    assert_eq!(text(&mut bob, OPENED).as_deref(), Some("one,two,three"));
}

#[test]
fn a_rewrapping_that_is_rolled_back_changes_nothing() {
    let (old, new) = (random_key(), random_key());
    let cluster = used(&old);
    let before = master_id(&cluster);
    let mut admin = cluster.superuser();
    reload(&cluster, &mut admin, &[&new, &old]);
    run(&mut admin, "BEGIN; SELECT ward.rewrap_keys(); ROLLBACK");
    assert_eq!(master_id(&cluster), before);
    reload(&cluster, &mut admin, &[&old]);
    let mut bob = cluster.client(DATABASE, "bob");
    assert_eq!(text(&mut bob, OPENED).as_deref(), Some("one,two,three"));
}
