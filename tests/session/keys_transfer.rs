//! Keys that move to another server under the backup master key.

use ward_tests::postgres::Client;
use ward_tests::{
    Cluster, DATABASE, MasterKey, Options, ServerFiles, number, random_key, refused, run, text,
    texts,
};

const OPENED: &str = "SELECT string_agg(ward.decrypt(value), ',' ORDER BY id) FROM vault";
const STATES: &str = "SELECT name || ' ' || version || ' ' || state FROM ward.encryption_keys
                      WHERE purpose IN ('data_encryption', 'search') ORDER BY name, version";

/// A server with a master key of its own and this backup master key.
fn server(files: &ServerFiles, name: &str, backup: &str) -> Cluster {
    let file = files.write(name, backup, 0o600);
    Cluster::with_extension_and(
        Options::default().set("ward.backup_master_key_file", &file.display().to_string()),
    )
}

fn export(client: &mut Client) -> String {
    text(client, "SELECT ward.export_encryption_keys()").unwrap()
}

fn import(client: &mut Client, document: &str) -> i32 {
    client
        .query_one("SELECT ward.import_encryption_keys($1)", &[&document])
        .unwrap()
        .get(0)
}

fn import_refused(client: &mut Client, document: &str) -> (String, String) {
    let error = client
        .query_one("SELECT ward.import_encryption_keys($1)", &[&document])
        .expect_err("the server imported it");
    let error = error.as_db_error().unwrap();
    (error.code().code().to_owned(), error.message().to_owned())
}

/// Copies the rows of `vault` as another server would get them.
fn copy_values(from: &mut Client, to: &mut Client) {
    run(
        to,
        "DROP TABLE IF EXISTS vault; CREATE TABLE vault (id int, value bytea)",
    );
    for row in from.query("SELECT id, value FROM vault", &[]).unwrap() {
        let (id, value): (i32, Vec<u8>) = (row.get(0), row.get(1));
        to.execute("INSERT INTO vault VALUES ($1, $2)", &[&id, &value])
            .unwrap();
    }
}

#[test]
fn keys_move_to_a_server_with_another_master_key() {
    let files = ServerFiles::new();
    let backup = random_key();
    let source = server(&files, "source", &backup);
    // While rotating the backup master key, several are read.
    let target = server(&files, "target", &format!("{}\n{backup}\n", random_key()));
    let mut from = source.superuser();
    let mut to = target.superuser();
    run(
        &mut from,
        "CREATE TABLE vault (id serial, value bytea);
         CREATE ROLE bob LOGIN;
         SELECT ward.generate_encryption_key('k', max_age => '1 year');
         SELECT ward.grant_key('k', 'bob');
         INSERT INTO vault (value) VALUES (ward.encrypt('one', 'k'));
         SELECT ward.rotate_encryption_key('k');
         INSERT INTO vault (value) VALUES (ward.encrypt('two', 'k'));
         SELECT ward.generate_encryption_key('asleep');
         SELECT ward.disable_encryption_key('asleep');
         SELECT ward.generate_encryption_key('gone');
         SELECT ward.destroy_encryption_key('gone', 'gone');
         SELECT ward.generate_encryption_key('lookup', 'search');
         SELECT ward.generate_encryption_key('trail', 'audit')",
    );
    let document = export(&mut from);
    for secret in [
        std::fs::read_to_string(source.master_key_file()).unwrap(),
        backup.clone(),
    ] {
        assert!(
            !document.contains(secret.trim()),
            "the export holds a master key"
        );
    }
    assert!(
        !document.contains("gone") && !document.contains("trail"),
        "{document}"
    );

    assert_eq!(import(&mut to, &document), 4);
    assert_eq!(
        texts(&mut to, STATES),
        [
            "asleep 1 disabled",
            "k 1 decrypt_only",
            "k 2 active",
            "lookup 1 active"
        ]
    );
    let default = "SELECT DISTINCT name FROM ward.encryption_keys WHERE is_default";
    assert_eq!(texts(&mut to, default), ["k"]);
    // Grants did not come along, not even for the importer.
    copy_values(&mut from, &mut to);
    assert_eq!(refused(&mut to, OPENED).code().code(), "42501");
    assert_eq!(number(&mut to, "SELECT count(*) FROM ward.key_grants"), 0);
    run(&mut to, "SELECT ward.grant_key('k', 'postgres')");
    assert_eq!(text(&mut to, OPENED).as_deref(), Some("one,two"));
    // The importing server's own master key holds them now.
    let masters = "SELECT count(DISTINCT master_key_id) FROM ward.encryption_keys";
    assert_eq!(number(&mut to, masters), 1);

    // Again: nothing new. After a rotation there: the new version only.
    assert_eq!(import(&mut to, &document), 0);
    run(
        &mut from,
        "SELECT ward.rotate_encryption_key('k');
         INSERT INTO vault (value) VALUES (ward.encrypt('three', 'k'))",
    );
    let newer = export(&mut from);
    assert_eq!(import(&mut to, &newer), 1);
    copy_values(&mut from, &mut to);
    assert_eq!(text(&mut to, OPENED).as_deref(), Some("one,two,three"));
    assert_eq!(
        texts(&mut to, STATES)[1..4],
        ["k 1 decrypt_only", "k 2 decrypt_only", "k 3 active"]
    );
    // An older export takes nothing back, and a copy in an export is known to shredding_status.
    assert_eq!(import(&mut to, &document), 0);
    run(&mut to, "SELECT ward.destroy_encryption_key('k', 'k')");
    let open = "SELECT min(cardinality(still_configured))::bigint FROM ward.shredding_status";
    assert_eq!(number(&mut to, open), 2, "own and backup master key");
    // What was destroyed here stays destroyed.
    assert_eq!(import(&mut to, &newer), 0);
    assert_eq!(refused(&mut to, OPENED).code().code(), "P0002");

    // Some keys only.
    let one = text(&mut from, "SELECT ward.export_encryption_keys('{asleep}')").unwrap();
    assert!(one.contains("asleep") && !one.contains("\"k\""), "{one}");
    for (names, code) in [
        ("'{none}'", "42704"),
        ("'{gone}'", "P0002"),
        ("'{trail}'", "22023"),
        ("'{NULL}'", "22004"),
        ("ARRAY[repeat('x', 100000)]", "42704"),
    ] {
        let error = refused(
            &mut from,
            &format!("SELECT ward.export_encryption_keys({names})"),
        );
        assert_eq!(error.code().code(), code, "{names}");
    }
}

#[test]
fn an_export_that_does_not_belong_here_is_refused() {
    let files = ServerFiles::new();
    let backup = random_key();
    let source = server(&files, "source", &backup);
    let target = server(&files, "target", &backup);
    let foreign = server(&files, "foreign", &random_key());
    let mut from = source.superuser();
    let mut to = target.superuser();
    run(
        &mut from,
        "SELECT ward.generate_encryption_key('k'); SELECT ward.rotate_encryption_key('k');
         SELECT ward.generate_encryption_key('l')",
    );
    let document = export(&mut from);
    let (code, message) = import_refused(&mut foreign.superuser(), &document);
    assert_eq!(code, "F0000");
    assert!(
        message.contains("made under backup master key"),
        "{message}"
    );

    // Any change of it: a name, a state, an order, a swap of material, the MAC itself.
    let parsed: serde_json::Value = serde_json::from_str(&document).unwrap();
    let changes: [fn(&mut serde_json::Value); 7] = [
        |d| d["keys"][0]["name"] = "mine".into(),
        |d| d["keys"][0]["is_default"] = (!d["keys"][0]["is_default"].as_bool().unwrap()).into(),
        |d| d["keys"][0]["versions"][0]["state"] = "disabled".into(),
        |d| {
            d["keys"].as_array_mut().unwrap().pop();
        },
        |d| d["keys"].as_array_mut().unwrap().reverse(),
        |d| {
            let swapped = d["keys"][0]["versions"][0]["wrapped"].clone();
            d["keys"][1]["versions"][0]["wrapped"] = swapped;
        },
        |d| d["mac"] = "00".repeat(32).into(),
    ];
    for change in changes {
        let mut altered = parsed.clone();
        change(&mut altered);
        let (code, message) = import_refused(&mut to, &altered.to_string());
        assert_eq!(
            (code.as_str(), message.contains("altered")),
            ("XX001", true),
            "{message}"
        );
    }
    // White space is no change.
    assert_eq!(import(&mut to, &parsed.to_string()), 3);

    // Not an export at all; nothing of it is repeated.
    let deep = "[".repeat(100_000);
    let huge = format!("{{\"format\": \"{}\"}}", "x".repeat(70_000_000));
    for text in [
        "",
        "{}",
        "null",
        "secret",
        "{\"secret\": 1}",
        deep.as_str(),
        huge.as_str(),
    ] {
        let (code, message) = import_refused(&mut to, text);
        assert_eq!(code, "22P02");
        assert!(
            !message.contains("secret") && message.len() < 200,
            "{message}"
        );
    }
    let null = refused(&mut to, "SELECT ward.import_encryption_keys(NULL)");
    assert_eq!(null.code().code(), "22004");

    // A name that is taken by another key: nothing at all is imported.
    let third = server(&files, "third", &backup);
    let mut other = third.superuser();
    run(&mut other, "SELECT ward.generate_encryption_key('l')");
    let (code, message) = import_refused(&mut other, &document);
    assert_eq!(code, "42710");
    assert!(message.contains("\"l\" was not imported"), "{message}");
    assert_eq!(texts(&mut other, STATES), ["l 1 active"]);
    // Two servers that rotated the same key apart have different second versions.
    run(&mut to, "SELECT ward.rotate_encryption_key('l')");
    run(&mut from, "SELECT ward.rotate_encryption_key('l')");
    let (code, _) = import_refused(&mut to, &export(&mut from));
    assert_eq!(code, "42710");
}

#[test]
fn the_backup_master_key_is_held_to_the_rules_of_the_master_key() {
    let files = ServerFiles::new();
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(&mut client, "SELECT ward.generate_encryption_key('k')");
    let error = refused(&mut client, "SELECT ward.export_encryption_keys()");
    assert_eq!(error.code().code(), "F0000");
    assert!(
        error
            .hint()
            .unwrap()
            .contains("ward.backup_master_key_file")
    );
    run(&mut client, "CREATE ROLE bob LOGIN");
    let mut bob = cluster.client(DATABASE, "bob");
    for statement in [
        "SELECT ward.export_encryption_keys()",
        "SELECT ward.import_encryption_keys('{}')",
    ] {
        assert_eq!(refused(&mut bob, statement).code().code(), "42501");
    }
    let key = random_key();
    for (name, content, mode, expected) in [
        ("open", key.as_str(), 0o644, "group or others"),
        ("short", &key[..60], 0o600, "exactly 32 bytes"),
        ("empty", "", 0o600, "no master key"),
    ] {
        let file = files.write(name, content, mode).display().to_string();
        let options = Options::default().set("ward.backup_master_key_file", &file);
        let failure = Cluster::try_start(options).err().expect("no start");
        assert!(failure.log.contains(expected), "{}", failure.log);
        assert!(
            failure.log.contains("the backup master key file"),
            "{}",
            failure.log
        );
    }
    let same = files.write("same", &key, 0o600).display().to_string();
    let options = Options::default()
        .master_key(MasterKey::private_file(&key))
        .set("ward.backup_master_key_file", &same);
    let failure = Cluster::try_start(options).err().expect("no start");
    assert!(failure.log.contains("uses itself"), "{}", failure.log);
}
