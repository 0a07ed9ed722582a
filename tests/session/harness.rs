//! The harness itself, without the extension.

use std::process::Command;
use ward_tests::{Cluster, Options, text};

#[test]
fn committed_rows_survive_kill_9() {
    let mut cluster = Cluster::start(Options::plain());
    let mut client = cluster.client("postgres", "postgres");
    client
        .batch_execute("CREATE TABLE t (a int); INSERT INTO t VALUES (1)")
        .unwrap();
    cluster.kill9();
    assert!(client.batch_execute("SELECT 1").is_err());
    cluster.start_again().unwrap();
    let mut client = cluster.client("postgres", "postgres");
    assert_eq!(
        text(&mut client, "SELECT a::text FROM t").as_deref(),
        Some("1")
    );
}

#[test]
fn a_dropped_cluster_leaves_nothing_behind() {
    let cluster = Cluster::start(Options::plain());
    let directory = cluster.socket_directory().to_owned();
    let memory = cluster.shared_memory().unwrap();
    let there = || {
        let listed = Command::new("ipcs").args(["-m", "-i", &memory]).output();
        String::from_utf8(listed.unwrap().stdout)
            .unwrap()
            .contains(&format!("shmid={memory}"))
    };
    assert!(there());
    drop(cluster);
    assert!(!directory.exists());
    assert!(!there());
}
