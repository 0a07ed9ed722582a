//! The harness itself, without the extension.

use std::net::TcpListener;
use ward_tests::{Cluster, MasterKey, Options, text};

fn plain() -> Options {
    Options {
        preload: false,
        master_key: MasterKey::None,
        settings: Vec::new(),
    }
}

#[test]
fn committed_rows_survive_kill_9() {
    let mut cluster = Cluster::start(plain());
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
fn the_server_listens_on_no_network_port() {
    let cluster = Cluster::start(plain());
    let mut client = cluster.client("postgres", "postgres");
    assert_eq!(
        text(&mut client, "SHOW listen_addresses").as_deref(),
        Some("")
    );
    drop(TcpListener::bind("127.0.0.1:0").unwrap());
}

#[test]
fn a_dropped_cluster_leaves_nothing_behind() {
    let cluster = Cluster::start(plain());
    let directory = cluster.socket_directory().to_owned();
    drop(cluster);
    assert!(!directory.exists());
}
