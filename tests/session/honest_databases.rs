//! Many databases with a log each, made, copied and dropped while they are written to and sealed.

use crate::{ENTRIES_OF_T, audited_table};
use std::thread;
use ward_tests::{Cluster, Options, SUPERUSER, number, run, seal_and_verify};

const DATABASES: usize = 12;
const ROWS: i64 = 20;

/// Writes rows in transactions of their own and seals halfway.
fn work(cluster: &Cluster, database: &str, first: i64) {
    let mut client = cluster.client(database, SUPERUSER);
    for id in first..first + ROWS {
        run(&mut client, &format!("INSERT INTO t VALUES ({id}, 'a')"));
        if id % 20 == 10 {
            run(&mut client, "SELECT ward.seal_audit_trail()");
        }
    }
}

#[test]
fn twelve_databases_sealed_while_others_are_copied_and_dropped() {
    // Room for two sealing workers beside the two launchers: the databases take turns.
    let cluster = Cluster::with_extension_and(
        Options::default()
            .set("max_worker_processes", "4")
            .set("ward.seal_interval", "100ms"),
    );
    let mut admin = cluster.client("postgres", SUPERUSER);
    let names: Vec<String> = (0..DATABASES).map(|n| format!("db_{n}")).collect();
    for name in &names {
        run(
            &mut admin,
            &format!("CREATE DATABASE {name} TEMPLATE {}", ward_tests::DATABASE),
        );
        audited_table(&mut cluster.client(name, SUPERUSER));
    }
    thread::scope(|scope| {
        for name in &names {
            let cluster = &cluster;
            scope.spawn(move || work(cluster, name, 0));
        }
    });
    let (kept, given_up) = names.split_at(DATABASES - 3);
    let sources = &kept[..3];
    let busy = &kept[3..];
    thread::scope(|scope| {
        for name in busy {
            let cluster = &cluster;
            scope.spawn(move || work(cluster, name, ROWS));
        }
        // Workers may be at work in all of these.
        for name in given_up {
            run(&mut admin, &format!("DROP DATABASE {name}"));
        }
        for name in sources {
            run(
                &mut admin,
                &format!("CREATE DATABASE {name}_copy TEMPLATE {name}"),
            );
        }
    });
    for name in sources {
        for (name, incarnations) in [(name.clone(), 1), (format!("{name}_copy"), 2)] {
            work(&cluster, &name, ROWS);
            let mut client = cluster.client(&name, SUPERUSER);
            seal_and_verify(&mut client);
            let known = number(&mut client, "SELECT count(*) FROM ward.audit_log");
            assert_eq!(known, incarnations, "{name}");
        }
    }
    for name in kept {
        let mut client = cluster.client(name, SUPERUSER);
        seal_and_verify(&mut client);
        assert_eq!(number(&mut client, ENTRIES_OF_T), 2 * ROWS, "{name}");
        let unsealed = "SELECT count(*) FROM ward.audit_trail WHERE entry_id IS NULL";
        assert_eq!(number(&mut client, unsealed), 0, "{name}");
    }
}
