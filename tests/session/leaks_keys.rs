//! Key material: whatever is done with keys, no form of one leaves the server's memory.

use crate::leaks_scene::{UNPACKED, answer, dump, file_of};
use crate::leaks_search::{Findings, Search};
use std::fs;
use ward_crypto::{MasterKey, WrapContext, parse_master_keys, unwrap_key};
use ward_tests::postgres::Client;
use ward_tests::{Cluster, Options, random_key, refused, run};

/// Every key that exists, with a name: what nobody may ever see.
fn secrets(masters: &[MasterKey], client: &mut Client) -> Vec<(String, Vec<u8>)> {
    let mut secrets = Vec::new();
    for master in masters {
        let derived = [master.kek(), master.registry_mac_key()];
        for (name, key) in ["the wrapping key", "the registry's key"]
            .iter()
            .zip(derived)
        {
            secrets.push(((*name).to_owned(), key.expose().to_vec()));
        }
    }
    let versions = client
        .query(
            "SELECT k.key, k.name, k.purpose, v.version, v.wrapped
             FROM ward.encryption_key k JOIN ward.encryption_key_version v USING (key)
             WHERE v.wrapped IS NOT NULL",
            &[],
        )
        .unwrap();
    for row in versions {
        let (name, purpose): (String, String) = (row.get("name"), row.get("purpose"));
        let version: i32 = row.get("version");
        let context = WrapContext {
            key: row.get::<_, uuid::Uuid>("key").into_bytes(),
            version: version.try_into().unwrap(),
            purpose: &purpose,
        };
        let secret = unwrap_key(masters, &context, row.get("wrapped")).unwrap();
        secrets.push((format!("{name} {version}"), secret.expose().to_vec()));
    }
    secrets
}

/// Everything that can be done with keys, well and badly.
fn use_keys(client: &mut Client) {
    run(
        client,
        "SELECT ward.generate_encryption_key('k');
         SELECT ward.generate_encryption_key('other');
         CREATE TABLE t (id bigint PRIMARY KEY, value bytea);
         ALTER TABLE t REPLICA IDENTITY FULL;
         SELECT ward.enable_audit('t');
         INSERT INTO t SELECT g, ward.encrypt('x' || g, 'k') FROM generate_series(1, 500) g;
         SELECT ward.rotate_encryption_key('k');
         INSERT INTO t SELECT g, ward.encrypt('x' || g, 'k') FROM generate_series(501, 900) g;
         SELECT count(ward.decrypt(value)) FROM t;
         SELECT ward.disable_encryption_key('other')",
    );
    run(
        client,
        "SELECT ward.seal_audit_trail(); SELECT ward.audit_checkpoint()",
    );
    run(client, UNPACKED);
    for statement in [
        "SELECT ward.encrypt('x', 'other')",
        "SELECT ward.decrypt(value, 'wrong aad') FROM t",
        "SELECT ward.decrypt(overlay(value PLACING '\\x00' FROM 60)) FROM t",
        "SELECT ward.destroy_encryption_key('k', 'no')",
        "UPDATE ward.encryption_key_version SET wrapped = NULL WHERE state = 'active'",
    ] {
        refused(client, statement);
    }
    run(
        client,
        "SELECT ward.enable_encryption_key('other');
         SELECT pg_log_backend_memory_contexts(pg_backend_pid())",
    );
}

/// What a superuser can ask the server for.
const ANSWERS: [&str; 8] = [
    "SELECT * FROM ward.encryption_keys",
    "SELECT * FROM ward.encryption_key",
    "SELECT * FROM ward.encryption_key_version",
    "SELECT * FROM ward.key_grant",
    "SELECT * FROM ward.status()",
    "SELECT * FROM ward.audit_trail",
    "SELECT * FROM pg_settings",
    "SELECT * FROM pg_stat_activity",
];

#[test]
fn no_key_is_in_any_file_log_dump_stream_or_answer() {
    let options = Options::default()
        .set("log_statement", "all")
        .set("log_min_messages", "debug2")
        .set("log_error_verbosity", "verbose");
    let cluster = Cluster::with_extension_and(options);
    let mut client = cluster.superuser();
    run(
        &mut client,
        "SELECT pg_create_logical_replication_slot('stream', 'test_decoding')",
    );
    use_keys(&mut client);
    // A key that somebody keeps in a table of his own: the search must find this one.
    let exposed = hex::decode(random_key()).unwrap();
    client
        .batch_execute("CREATE TABLE exposed (key bytea)")
        .unwrap();
    client
        .execute("INSERT INTO exposed VALUES ($1)", &[&exposed])
        .unwrap();
    run(&mut client, "CHECKPOINT");

    let file = fs::read_to_string(cluster.master_key_file()).unwrap();
    let masters = parse_master_keys(&file).unwrap();
    let mut secrets = secrets(&masters, &mut client);
    assert!(
        secrets.len() >= 7,
        "two data keys, three versions, audit, signing"
    );
    secrets.push((
        "the master key".to_owned(),
        hex::decode(file.trim()).unwrap(),
    ));
    secrets.push(("exposed".to_owned(), exposed));
    let wrapped: Vec<u8> = client
        .query_one(
            "SELECT wrapped FROM ward.encryption_key_version WHERE state = 'active' LIMIT 1",
            &[],
        )
        .unwrap()
        .get(0);
    secrets.push(("wrapped".to_owned(), wrapped));
    let search = Search::new(
        secrets
            .iter()
            .map(|(name, key)| (name.as_str(), key.as_slice())),
    );

    let mut findings = Findings::default();
    search.tree(&cluster.data_directory(), &mut findings);
    search.bytes("log", cluster.log().as_bytes(), &mut findings);
    search.bytes("dump", &dump(&cluster), &mut findings);
    let stream = answer(
        &cluster,
        "SELECT data FROM pg_logical_slot_get_changes('stream', NULL, NULL)",
    );
    search.bytes("stream", &stream, &mut findings);
    let encoded = answer(&cluster, "SELECT encode(key, 'base64') FROM exposed");
    search.bytes("base64", &encoded, &mut findings);
    for query in ANSWERS {
        search.bytes(query, &answer(&cluster, query), &mut findings);
    }

    for place in ["pg_wal", &file_of(&mut client, "exposed"), "dump", "stream"] {
        findings.assert_in("exposed", place);
    }
    for form in ["raw", "hex", "base64"] {
        findings.assert_form("exposed", form);
    }
    findings.assert_in(
        "wrapped",
        &file_of(&mut client, "ward.encryption_key_version"),
    );
    findings.assert_in("wrapped", "dump");
    for (name, _) in &secrets {
        if name != "exposed" && name != "wrapped" {
            findings.assert_nowhere(name);
        }
    }
}
