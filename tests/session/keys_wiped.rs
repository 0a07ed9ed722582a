//! What is left of a key in the memory of other sessions once it was destroyed.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use ward_crypto::{SecretKey, WrapContext, parse_master_keys, unwrap_key};
use ward_tests::postgres::Client;
use ward_tests::{Cluster, number, refused, run, text};

const OPEN: &str = "SELECT ward.decrypt(value) FROM vault";

/// The key's material, which only the holder of the master key can know.
fn material(cluster: &Cluster, client: &mut Client) -> SecretKey {
    let row = client
        .query_one(
            "SELECT k.key, v.wrapped FROM ward.encryption_key k
             JOIN ward.encryption_key_version v USING (key) WHERE k.name = 'k'",
            &[],
        )
        .unwrap();
    let key: uuid::Uuid = row.get(0);
    let wrapped: Vec<u8> = row.get(1);
    let text = std::fs::read_to_string(cluster.master_key_file()).unwrap();
    let context = WrapContext {
        key: key.into_bytes(),
        version: 1,
        purpose: "data_encryption",
    };
    unwrap_key(&parse_master_keys(&text).unwrap(), &context, &wrapped).unwrap()
}

/// Where the memory of process `pid` holds copies of `needle`.
fn copies(pid: i64, needle: &[u8]) -> Vec<String> {
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let maps = BufReader::new(File::open(format!("/proc/{pid}/maps")).unwrap());
    let mut found = Vec::new();
    for line in maps.lines().map(Result::unwrap) {
        let words: Vec<&str> = line.split_whitespace().collect();
        // Shared memory and files hold no keys; only what the process wrote itself can.
        if !words[1].starts_with("rw") || words[1].ends_with('s') {
            continue;
        }
        let (from, to) = words[0].split_once('-').unwrap();
        let from = u64::from_str_radix(from, 16).unwrap();
        let to = u64::from_str_radix(to, 16).unwrap();
        let mut content = vec![0; usize::try_from(to - from).unwrap()];
        if memory.read_exact_at(&mut content, from).is_ok() {
            let places = content.windows(needle.len()).enumerate();
            for (offset, _) in places.filter(|(_, window)| *window == needle) {
                found.push(format!(
                    "{} +{offset:#x} of {:#x}",
                    words.last().unwrap(),
                    to - from
                ));
            }
        }
    }
    found
}

#[test]
fn a_destroyed_key_leaves_the_memory_of_idle_sessions() {
    let cluster = Cluster::with_extension();
    let mut admin = cluster.superuser();
    run(
        &mut admin,
        "SELECT ward.generate_encryption_key('k');
         CREATE TABLE vault AS SELECT ward.encrypt('attack at dawn', 'k') AS value",
    );
    let secret = material(&cluster, &mut admin);
    let needle = secret.expose().as_slice();
    let mut idle = cluster.superuser();
    let mut in_transaction = cluster.superuser();
    run(&mut in_transaction, "BEGIN ISOLATION LEVEL REPEATABLE READ");
    let mut pids = Vec::new();
    for session in [&mut idle, &mut in_transaction] {
        let pid = number(session, "SELECT pg_backend_pid()::bigint");
        assert_eq!(text(session, OPEN).as_deref(), Some("attack at dawn"));
        run(session, "SELECT ward.encrypt('x', 'k')");
        pids.push(pid);
    }
    for pid in &pids {
        assert!(
            !copies(*pid, needle).is_empty(),
            "the search finds nothing at all"
        );
    }
    run(&mut admin, "SELECT ward.destroy_encryption_key('k', 'k')");
    // Neither session is asked for anything.
    for pid in &pids {
        let mut left = Vec::new();
        let wiped = (0..1200).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(50));
            left = copies(*pid, needle);
            left.is_empty()
        });
        assert!(wiped, "session {pid} still has the key: {left:?}");
    }
    let own = number(&mut admin, "SELECT pg_backend_pid()::bigint");
    let left = copies(own, needle);
    assert!(left.is_empty(), "the destroyer keeps the key: {left:?}");
    for session in [&mut idle, &mut in_transaction] {
        assert_eq!(refused(session, OPEN).code().code(), "P0002");
    }
}
