//! A hot standby: it opens what the primary closed, through rotation, rewrapping and destruction.

use ward_tests::postgres::Client;
use ward_tests::{Cluster, number, random_key, refused, run, text, wait_until};

const OPENED: &str = "SELECT string_agg(ward.decrypt(value), ',' ORDER BY id) FROM vault";

fn caught_up(primary: &mut Client, standby: &mut Client) {
    let position = text(primary, "SELECT pg_current_wal_lsn()::text").unwrap();
    wait_until("the standby has replayed it", || {
        let replayed = format!("SELECT (pg_last_wal_replay_lsn() >= '{position}')::int::bigint");
        number(standby, &replayed) == 1
    });
}

#[test]
fn a_standby_follows_the_registry() {
    let primary = Cluster::with_extension();
    let mut admin = primary.superuser();
    run(
        &mut admin,
        "CREATE TABLE vault (id serial, value bytea);
         SELECT ward.generate_encryption_key('k');
         INSERT INTO vault (value) VALUES (ward.encrypt('one', 'k'))",
    );
    let standby = primary.standby();
    // One session for all of it: what it has in its cache must not outlive the primary's change.
    let mut reader = standby.superuser();
    caught_up(&mut admin, &mut reader);
    assert_eq!(text(&mut reader, OPENED).as_deref(), Some("one"));

    run(
        &mut admin,
        "SELECT ward.rotate_encryption_key('k');
         INSERT INTO vault (value) VALUES (ward.encrypt('two', 'k'))",
    );
    caught_up(&mut admin, &mut reader);
    assert_eq!(text(&mut reader, OPENED).as_deref(), Some("one,two"));
    // Encrypting needs nothing to be written.
    run(&mut reader, "SELECT ward.encrypt('x', 'k')");

    // Both servers get the new key before the registry moves under it.
    let old = std::fs::read_to_string(primary.master_key_file()).unwrap();
    let new = random_key();
    for cluster in [&primary, &standby] {
        cluster.write_master_key(&format!("{new}\n{old}"), 0o600);
        cluster.reload();
    }
    assert_eq!(number(&mut admin, "SELECT ward.rewrap_keys()::bigint"), 2);
    caught_up(&mut admin, &mut reader);
    assert_eq!(text(&mut reader, OPENED).as_deref(), Some("one,two"));
    for cluster in [&primary, &standby] {
        cluster.write_master_key(&new, 0o600);
        cluster.reload();
    }
    assert_eq!(
        text(&mut standby.superuser(), OPENED).as_deref(),
        Some("one,two")
    );

    // It counts its own uses, in shared memory only.
    let uses = "SELECT sum(decryptions)::bigint FROM ward.key_usage";
    assert!(
        number(&mut reader, uses) >= 5,
        "{}",
        number(&mut reader, uses)
    );
    for statement in [
        "SELECT ward.flush_key_usage()",
        "SELECT ward.rewrap_keys()",
        "SELECT ward.rotate_encryption_key('k')",
        "SELECT ward.generate_encryption_key('another')",
        "SELECT ward.set_encryption_key_max_age('k', '1 day')",
        "SELECT ward.import_encryption_keys('{}')",
    ] {
        assert_eq!(
            refused(&mut reader, statement).code().code(),
            "25006",
            "{statement}"
        );
    }

    run(&mut admin, "SELECT ward.revoke_key('k', 'postgres')");
    caught_up(&mut admin, &mut reader);
    assert_eq!(refused(&mut reader, OPENED).code().code(), "42501");
    run(
        &mut admin,
        "SELECT ward.grant_key('k', 'postgres'); SELECT ward.destroy_encryption_key('k', 'k')",
    );
    caught_up(&mut admin, &mut reader);
    assert_eq!(refused(&mut reader, OPENED).code().code(), "P0002");
    let status = "SELECT count(*) FROM ward.shredding_status WHERE NOT finished";
    assert_eq!(number(&mut reader, status), 2);
}
