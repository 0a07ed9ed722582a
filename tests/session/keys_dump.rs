//! Dump, restore, decrypt: the registry goes with the data, its master key does not.

use std::process::Stdio;
use ward_tests::{Cluster, DATABASE, MasterKey, Options, number, random_key, refused, run, text};

const OPENED: &str = "SELECT string_agg(ward.decrypt(value), ',' ORDER BY id) FROM vault";

#[test]
fn a_dump_of_rotated_and_rewrapped_keys_opens_with_the_master_key_and_only_then() {
    let (old, new) = (random_key(), random_key());
    let both = format!("{new}\n{old}\n");
    let options = Options::default().master_key(MasterKey::private_file(&old));
    let source = Cluster::with_extension_and(options);
    let mut admin = source.superuser();
    run(
        &mut admin,
        "CREATE TABLE vault (id serial, value bytea);
         SELECT ward.generate_encryption_key('k', max_age => '90 days');
         INSERT INTO vault (value) VALUES (ward.encrypt('one', 'k'));
         SELECT ward.rotate_encryption_key('k');
         INSERT INTO vault (value) VALUES (ward.encrypt('two', 'k'));
         SELECT ward.generate_encryption_key('gone');
         SELECT ward.destroy_encryption_key('gone', 'gone')",
    );
    source.write_master_key(&both, 0o600);
    run(
        &mut admin,
        "SELECT ward.rewrap_keys();
         SELECT ward.rotate_encryption_key('k');
         INSERT INTO vault (value) VALUES (ward.encrypt('three', 'k'));
         SELECT ward.flush_key_usage()",
    );
    let uses = "SELECT sum(encryptions)::bigint FROM ward.key_usage";
    assert_eq!(number(&mut admin, uses), 3);
    for format in ["plain", "custom"] {
        let dump = source
            .client_program("pg_dump", DATABASE)
            .args(["--format", format])
            .output()
            .unwrap();
        assert!(dump.status.success(), "{dump:?}");
        for (master, works) in [(new.clone(), true), (random_key(), false)] {
            let options = Options::default().master_key(MasterKey::private_file(&master));
            let target = Cluster::start(options);
            run(
                &mut target.client("postgres", "postgres"),
                "CREATE DATABASE app",
            );
            if format == "plain" {
                let restored = target.psql(&String::from_utf8(dump.stdout.clone()).unwrap());
                assert!(restored.status.success(), "{restored:?}");
            } else {
                let mut restore = target
                    .client_program("pg_restore", DATABASE)
                    .args(["--exit-on-error", "--dbname", DATABASE])
                    .stdin(Stdio::piped())
                    .spawn()
                    .unwrap();
                std::io::Write::write_all(&mut restore.stdin.take().unwrap(), &dump.stdout)
                    .unwrap();
                assert!(restore.wait().unwrap().success());
            }
            let mut client = target.superuser();
            assert_eq!(number(&mut client, uses), 3);
            if works {
                assert_eq!(text(&mut client, OPENED).as_deref(), Some("one,two,three"));
                let kept = "SELECT count(*) FROM ward.encryption_keys
                            WHERE rotation_due IS NOT NULL AND name = 'k'";
                assert_eq!(number(&mut client, kept), 1);
                let gone =
                    "SELECT count(*) FROM ward.shredding_status WHERE destroyed_at IS NOT NULL";
                assert_eq!(number(&mut client, gone), 1);
            } else {
                let error = refused(&mut client, OPENED);
                assert!(error.message().contains("wrong master key"), "{error:?}");
                // The master key is put back: nothing was harmed.
                target.write_master_key(&new, 0o600);
                target.reload();
                ward_tests::wait_until("it opens", || client.query_one(OPENED, &[]).is_ok());
            }
        }
    }
}
