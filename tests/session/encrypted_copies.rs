//! Encrypted columns in dumps, replicas, logical streams and the audit trail: ciphertext, without any
//! grant, and nothing is lost.

use std::fs;
use std::path::Path;
use std::process::Output;
use std::thread;
use ward_tests::postgres::Client;
use ward_tests::{
    Cluster, DATABASE, MasterKey, Options, number, random_key, refused, run, seal_and_verify, text,
    wait_until,
};

fn ok(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn dump(cluster: &Cluster, arguments: &[&str]) -> String {
    ok(&cluster
        .client_program("pg_dump", DATABASE)
        .args(arguments)
        .output()
        .unwrap())
}

const FILLED: &str = "
    SELECT ward.generate_encryption_key('k');
    CREATE DOMAIN mail AS ward.encrypted_text('k');
    CREATE TABLE t (id int PRIMARY KEY, mail mail UNIQUE, note ward.secret_text('k'),
                    list ward.encrypted_text('k')[], kind ward.encrypted_text('k') DEFAULT 'canary standard');
    INSERT INTO t SELECT g, 'canary' || g, 'canary note', ARRAY['canary', 'b'] FROM generate_series(1, 50) g;
    CREATE VIEW chosen AS SELECT id FROM t WHERE mail = 'canary7';
    ANALYZE t";

const READABLE: &str =
    "SELECT count(*) FROM t WHERE mail::text = 'canary' || id AND note::text = 'canary note'
    AND list::text[] = '{canary,b}' AND kind::text = 'canary standard'";

#[test]
fn a_dump_restores_into_an_empty_cluster() {
    let options = Options::default().master_key(MasterKey::private_file(&random_key()));
    let source = Cluster::with_extension_and(options.clone());
    let mut client = source.superuser();
    run(&mut client, FILLED);
    // Even for a role that would see text.
    run(&mut client, "ALTER ROLE postgres SET ward.reveal = on");
    drop(client);
    let mut client = source.superuser();
    assert_eq!(number(&mut client, READABLE), 50);
    let shown = text(&mut client, "SHOW ward.reveal");
    assert_eq!(shown.as_deref(), Some("on"));

    let target = Cluster::start(options);
    for (database, arguments) in [
        ("copied", &[][..]),
        ("inserted", &["--inserts"]),
        ("rows", &["--rows-per-insert=10"]),
    ] {
        let dumped = dump(&source, arguments);
        assert!(!dumped.contains("canary"), "the dump has plaintext");
        let mut client = target.client("postgres", "postgres");
        run(&mut client, &format!("CREATE DATABASE {database}"));
        let file = target.socket_directory().join("dump.sql");
        fs::write(&file, &dumped).unwrap();
        ok(&target
            .client_program("psql", database)
            .args(["-Xq", "-v", "ON_ERROR_STOP=1", "-f"])
            .arg(&file)
            .output()
            .unwrap());
        let mut client = target.client(database, "postgres");
        assert_eq!(number(&mut client, READABLE), 50, "{database}");
        assert_eq!(
            number(&mut client, "SELECT count(*) FROM chosen WHERE id = 7"),
            1
        );
        run(
            &mut client,
            "INSERT INTO t (id, mail, note, list) VALUES (51, 'canary51', 'canary note', '{canary,b}')",
        );
        assert_eq!(number(&mut client, READABLE), 51, "{database}");
        let again = "INSERT INTO t (id, mail) VALUES (52, 'canary8')";
        assert_eq!(refused(&mut client, again).code().code(), "23505");
        let types = "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'note'";
        assert_eq!(
            text(&mut client, types).as_deref(),
            Some("ward.secret_text('k')")
        );
    }
}

#[test]
fn a_dump_restores_where_the_key_is_missing_and_the_values_stay() {
    let source = Cluster::with_extension();
    let mut client = source.superuser();
    run(&mut client, FILLED);
    let id = text(
        &mut client,
        "SELECT key_id FROM ward.encryption_keys WHERE name = 'k'",
    )
    .unwrap();
    let tables = ["--table=t", "--no-owner"];
    let dumped = [
        dump(&source, &tables),
        dump(&source, &["--inserts", tables[0], tables[1]]),
    ];
    for master_key in [MasterKey::Random, MasterKey::None] {
        let without = matches!(master_key, MasterKey::None);
        let target = Cluster::with_extension_and(Options::default().master_key(master_key));
        let mut restored = target.superuser();
        run(
            &mut restored,
            "CREATE DOMAIN mail AS ward.encrypted_text('k')",
        );
        for dumped in &dumped {
            ok(&target.psql(dumped));
            assert_eq!(number(&mut restored, "SELECT count(*) FROM t"), 50);
            assert_eq!(
                number(
                    &mut restored,
                    "SELECT count(*) FROM t a JOIN t b USING (mail)"
                ),
                50
            );
            run(&mut restored, "ANALYZE t; REINDEX TABLE t");
            let error = refused(&mut restored, "SELECT note::text FROM t");
            if without {
                assert!(error.message().contains("master key"), "{error:?}");
            } else {
                assert!(error.message().contains(&id), "{error:?}");
            }
            // Unchanged, byte for byte.
            let sum = "SELECT md5(string_agg(format('%s %s %s', mail, note, list), ',' ORDER BY id)) FROM t";
            assert_eq!(text(&mut restored, sum), text(&mut client, sum));
            run(&mut restored, "DROP TABLE t");
        }
    }
}

#[test]
fn logical_replication_to_a_server_without_the_key() {
    let publisher = Cluster::with_extension();
    let subscriber = Cluster::with_extension();
    let mut source = publisher.superuser();
    let mut target = subscriber.superuser();
    run(
        &mut source,
        "SELECT ward.generate_encryption_key('k');
         CREATE TABLE t (id int PRIMARY KEY, mail ward.encrypted_text('k') UNIQUE, note ward.secret_text('k'));
         INSERT INTO t SELECT g, 'before' || g, 'note' FROM generate_series(1, 20) g;
         CREATE PUBLICATION p FOR TABLE t",
    );
    let key = text(
        &mut source,
        "SELECT key_id FROM ward.encryption_keys WHERE name = 'k'",
    )
    .unwrap();
    for binary in [false, true] {
        run(
            &mut target,
            "DROP TABLE IF EXISTS t;
             CREATE TABLE t (id int PRIMARY KEY, mail ward.encrypted_text('k') UNIQUE, note ward.secret_text('k'));
             SELECT ward.enable_audit('t')",
        );
        run(&mut source, "DELETE FROM t WHERE id > 20");
        run(
            &mut target,
            &format!(
                "CREATE SUBSCRIPTION s CONNECTION 'host={} port=5432 dbname={DATABASE} user=postgres' PUBLICATION p WITH (binary = {binary})",
                publisher.socket_directory().display()
            ),
        );
        wait_until("the table is copied", || {
            number(&mut target, "SELECT count(*) FROM t") == 20
        });
        run(
            &mut source,
            "INSERT INTO t VALUES (21, 'later', 'note');
             UPDATE t SET mail = 'changed' WHERE id = 1;
             DELETE FROM t WHERE id = 2",
        );
        let sum =
            "SELECT md5(string_agg(format('%s %s %s', id, mail, note), ',' ORDER BY id)) FROM t";
        let expected = text(&mut source, sum);
        wait_until("the changes are applied", || {
            text(&mut target, sum) == expected
        });
        let error = refused(&mut target, "SELECT mail::text FROM t");
        assert!(error.message().contains(&key), "{error:?}");
        run(&mut target, "DROP SUBSCRIPTION s");
        run(
            &mut source,
            "UPDATE t SET mail = 'before1' WHERE id = 1; INSERT INTO t VALUES (2, 'before2', 'note')",
        );
    }
    seal_and_verify(&mut target);
    assert!(
        !subscriber.log().contains("ERROR:  permission"),
        "{}",
        subscriber.log()
    );
}

/// Whether a file below `directory` holds `canary`.
fn holds(directory: &Path, canary: &[u8]) -> Option<String> {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if let Some(found) = holds(&path, canary) {
                return Some(found);
            }
        } else if let Ok(content) = fs::read(&path)
            && content.windows(canary.len()).any(|window| window == canary)
        {
            return Some(path.display().to_string());
        }
    }
    None
}

fn parameters(client: &mut Client, statement: &str, values: &[&str]) -> bool {
    let values: Vec<&(dyn ward_tests::postgres::types::ToSql + Sync)> =
        values.iter().map(|value| value as _).collect();
    client.execute(statement, &values).is_ok()
}

#[test]
fn a_canary_is_nowhere_outside_the_ciphertext() {
    let cluster = Cluster::with_extension_and(
        Options::default()
            .set("shared_preload_libraries", "pg_ward, pg_stat_statements")
            .set("log_statement", "all")
            .set("log_min_duration_statement", "0")
            .set("log_parameter_max_length", "0")
            .set("log_parameter_max_length_on_error", "0")
            .set("log_min_messages", "info")
            .set("track_activity_query_size", "65536"),
    );
    let mut client = cluster.superuser();
    run(
        &mut client,
        "SELECT ward.generate_encryption_key('k');
         CREATE EXTENSION pg_stat_statements;
         SET ward.reveal = on;
         CREATE TABLE t (id serial PRIMARY KEY, mail ward.encrypted_text('k') UNIQUE CHECK (mail::text <> lower('CANARY-bad')),
                         note ward.secret_text('k') NOT NULL, number int CHECK (number > 0) DEFAULT 1);
         SELECT ward.enable_audit('t')",
    );
    run(
        &mut client,
        "SELECT pg_create_logical_replication_slot('s', 'test_decoding')",
    );
    let canary = "Canary-7f3a";
    let insert = "INSERT INTO t (mail, note) VALUES ($1::text, $2::text)";
    for number in 0..200 {
        assert!(parameters(
            &mut client,
            insert,
            &[&format!("{canary}{number}"), canary]
        ));
    }
    // Every refusal that prints a row or a key.
    assert!(!parameters(
        &mut client,
        insert,
        &[&format!("{canary}1"), canary]
    ));
    let negative = "INSERT INTO t (mail, note, number) VALUES ($1::text, $2::text, -1) RETURNING *";
    assert!(!parameters(
        &mut client,
        negative,
        &["Canary-7f3a-x", canary]
    ));
    let null = "INSERT INTO t (mail, note) VALUES ($1::text, NULL)";
    assert!(!parameters(&mut client, null, &["Canary-7f3a-y"]));
    let changed = "UPDATE t SET note = $1::text WHERE mail = $2::text";
    assert!(parameters(
        &mut client,
        changed,
        &["Canary-7f3a-z", &format!("{canary}3")]
    ));
    let same = "UPDATE t SET mail = $1::text WHERE mail = $2::text";
    assert!(!parameters(
        &mut client,
        same,
        &[&format!("{canary}4"), &format!("{canary}5")]
    ));
    run(
        &mut client,
        "ANALYZE t; CREATE INDEX ON t USING hash (mail)",
    );
    run(&mut client, "VACUUM FULL t");
    // It is there, for who may read it.
    let readable = format!(
        "SELECT count(*) FROM t WHERE note::text LIKE 'Canary-%' AND mail::text LIKE '{}%'",
        "Canary-"
    );
    assert_eq!(number(&mut client, &readable), 200);

    let spread = [
        "SELECT string_agg(data, ' ') FROM pg_logical_slot_get_changes('s', NULL, NULL)",
        "SELECT string_agg(s::text, ' ') FROM pg_stats s WHERE tablename = 't'",
        "SELECT string_agg(concat(old_values, new_values), ' ') FROM ward.audit_trail",
        "SELECT string_agg(query, ' ') || ' ward:encrypted:' FROM pg_stat_statements",
        "SELECT string_agg(t::text, ' ') FROM t",
        "SELECT string_agg(to_jsonb(t)::text, ' ') FROM t",
    ];
    for query in spread {
        let found = text(&mut client, query).unwrap();
        assert!(found.contains("ward:encrypted:"), "{query}");
        assert!(!found.contains(canary), "{query}");
    }
    seal_and_verify(&mut client);
    run(&mut client, "CHECKPOINT");
    assert_eq!(holds(&cluster.data_directory(), canary.as_bytes()), None);
    let log = cluster.log();
    assert!(
        log.contains("Failing row contains") && log.contains("already exists"),
        "{log}"
    );
    assert!(!log.contains(canary), "the log has the canary");
    // The search does find what is not encrypted.
    run(
        &mut client,
        &format!("CREATE TABLE plain AS SELECT '{canary}'::text AS c; CHECKPOINT"),
    );
    assert!(holds(&cluster.data_directory(), canary.as_bytes()).is_some());
}

#[test]
fn retagging_waits_for_those_who_write_tags_of_the_former_key() {
    let cluster = Cluster::with_extension();
    let mut admin = cluster.superuser();
    run(
        &mut admin,
        "SELECT ward.generate_encryption_key('k');
         CREATE TABLE t (id int, mail ward.encrypted_text('k') UNIQUE);
         INSERT INTO t VALUES (1, 'one')",
    );
    let mut writer = cluster.superuser();
    run(&mut writer, "BEGIN; INSERT INTO t VALUES (2, 'two')");
    run(&mut admin, "SELECT ward.renew_search_key()");
    let mut other = cluster.superuser();
    let retag = thread::spawn(move || number(&mut other, "SELECT ward.retag_column('t', 'mail')"));
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%retag_column%'";
    let mut watcher = cluster.superuser();
    wait_until("it waits for the writer", || {
        number(&mut watcher, waiting) >= 1
    });
    // The new key counts at once, in an open transaction too.
    run(&mut writer, "INSERT INTO t VALUES (3, 'three'); COMMIT");
    assert_eq!(retag.join().unwrap(), 2);
    let found = "SELECT count(*) FROM t WHERE mail IN ('one', 'two', 'three')";
    assert_eq!(number(&mut admin, found), 3);
}
