//! Crashes under load: what a client was told is committed has its entry, what is lost is lost with its
//! entry, and nobody is accused of anything.

use crate::{ENTRIES_OF_T, audited_table};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use ward_tests::postgres::{Client, Config, NoTls};
use ward_tests::{
    Cluster, DATABASE, Options, SUPERUSER, Stop, kill_process, number, run, seal_and_verify, texts,
    wait_until, wait_until_sealers_left,
};

const WRITERS: i64 = 6;

/// How often something is killed. `WARD_KILL_ROUNDS=50` for the long run.
fn rounds() -> u64 {
    std::env::var("WARD_KILL_ROUNDS").map_or(10, |rounds| rounds.parse().expect("a number"))
}

/// A small generator; the seed is printed when the test fails.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// What the writers were told.
#[derive(Default)]
struct Told {
    committed: Mutex<Vec<i64>>,
    next: AtomicI64,
    stop: AtomicBool,
}

/// Writes until told to stop, over and over connecting again.
fn write(config: &Config, told: &Told, mut dice: Dice) {
    while !told.stop.load(Ordering::Acquire) {
        let Ok(mut client) = config.connect(NoTls) else {
            thread::sleep(Duration::from_millis(20));
            continue;
        };
        loop {
            if told.stop.load(Ordering::Acquire) {
                return;
            }
            // An id is used once: whether a transaction whose answer was lost was committed is unknown.
            let id = told.next.fetch_add(1000, Ordering::AcqRel);
            if client
                .batch_execute(&transaction(id, dice.roll(8)))
                .is_err()
            {
                break;
            }
            told.committed.lock().expect("not poisoned").push(id);
        }
    }
}

fn transaction(id: i64, kind: u64) -> String {
    match kind {
        0..=3 => format!("INSERT INTO t VALUES ({id}, 'one')"),
        4 | 5 => format!(
            "BEGIN; INSERT INTO t VALUES ({id}, 'first'); SAVEPOINT a;
             INSERT INTO t VALUES ({id} + 1, 'gone'); ROLLBACK TO a;
             INSERT INTO t VALUES ({id} + 2, 'last'); COMMIT"
        ),
        // more than the buffer holds, in two levels
        6 => format!(
            "BEGIN; INSERT INTO t SELECT {id} + g, repeat('x', 1000) FROM generate_series(0, 299) g; SAVEPOINT a;
             INSERT INTO t SELECT {id} + g, repeat('y', 1000) FROM generate_series(300, 599) g; RELEASE a; COMMIT"
        ),
        _ => format!(
            "BEGIN; INSERT INTO t VALUES ({id}, 'prepared'); PREPARE TRANSACTION 'w{id}'; COMMIT PREPARED 'w{id}'"
        ),
    }
}

/// Waits until the server answers again.
fn back(config: &Config) -> Client {
    let mut client = None;
    wait_until("the server is back", || {
        client = config.connect(NoTls).ok();
        client.is_some()
    });
    client.expect("the server is back")
}

/// Kills one process of this kind, if there is one.
fn kill_one(client: &mut Client, kind: &str, dice: &mut Dice) -> bool {
    let query = format!(
        "SELECT pid::text FROM pg_stat_activity
         WHERE backend_type = '{kind}' AND pid <> pg_backend_pid() ORDER BY pid"
    );
    let pids = texts(client, &query);
    if pids.is_empty() {
        return false;
    }
    let pid = &pids[dice.roll(pids.len() as u64) as usize];
    kill_process(pid.parse().expect("a pid"))
}

#[test]
fn kill_9_of_backends_workers_and_servers_at_random_under_load() {
    let seed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("the clock is after 1970")
        .as_nanos() as u64;
    eprintln!("seed {seed}");
    let mut dice = Dice(seed);
    let mut cluster =
        Cluster::with_extension_and(Options::default().set("ward.seal_interval", "50ms"));
    cluster.tolerate_kill_9();
    audited_table(&mut cluster.superuser());
    let config = cluster.config(DATABASE, SUPERUSER);
    let told = Told::default();
    let mut killed = HashSet::new();
    thread::scope(|scope| {
        let _stop = Stop(&told.stop);
        let committed = || told.committed.lock().expect("not poisoned").len();
        for writer in 0..WRITERS as u64 {
            let (config, told) = (&config, &told);
            scope.spawn(move || write(config, told, Dice(seed ^ (writer + 1))));
        }
        for round in 0..rounds() {
            let before = committed();
            thread::sleep(Duration::from_millis(100 + dice.roll(500)));
            // A backend's end by SIGKILL has the postmaster end all others: one killing at a time.
            let mut client = back(&config);
            wait_until("the writers go on", || committed() > before + 5);
            match (round + seed) % 4 {
                0 if kill_one(&mut client, "client backend", &mut dice) => killed.insert("backend"),
                1 if kill_one(&mut client, "pg_ward sealer", &mut dice) => killed.insert("worker"),
                2 if kill_one(&mut client, "pg_ward launcher", &mut dice) => {
                    killed.insert("launcher")
                }
                _ => {
                    cluster.kill9();
                    cluster.start_again().expect("the server starts again");
                    killed.insert("server")
                }
            };
        }
    });
    assert!(
        killed.contains("server") && killed.contains("backend"),
        "{killed:?}"
    );
    let mut client = back(&config);
    // What was prepared and not answered for is up to the administrator.
    for (at, id) in texts(&mut client, "SELECT gid FROM pg_prepared_xacts")
        .iter()
        .enumerate()
    {
        let verb = if at % 2 == 0 { "COMMIT" } else { "ROLLBACK" };
        run(&mut client, &format!("{verb} PREPARED '{id}'"));
    }
    seal_and_verify(&mut client);
    assert_trail_is_the_table(&mut client);
    let rows: HashSet<i64> = texts(&mut client, "SELECT id::text FROM t")
        .iter()
        .map(|id| id.parse().expect("a number"))
        .collect();
    let committed = told.committed.into_inner().expect("not poisoned");
    assert!(committed.len() as u64 > rounds() * 5, "hardly any load");
    assert!(committed.iter().all(|id| rows.contains(id)));
}

/// Every row has one entry, and every entry its row.
fn assert_trail_is_the_table(client: &mut Client) {
    let differing = "SELECT count(*) FROM t FULL JOIN
          (SELECT record_id::bigint AS id FROM ward.audit_trail WHERE table_name = 't') entry USING (id)
        WHERE t.id IS NULL OR entry.id IS NULL";
    assert_eq!(number(client, differing), 0);
    let rows = number(client, "SELECT count(*) FROM t");
    assert_eq!(number(client, ENTRIES_OF_T), rows);
}

#[test]
fn commits_that_did_not_wait_for_the_disk_are_lost_with_their_entries() {
    let mut cluster = Cluster::with_extension_and(
        Options::default()
            .set("ward.seal_interval", "1h")
            .set("wal_buffers", "16MB")
            .set("bgwriter_lru_maxpages", "0")
            .set("autovacuum", "off"),
    );
    let mut client = cluster.superuser();
    audited_table(&mut client);
    // Stopped, it writes nothing behind the commits; the crash kills it all the same.
    let query = "SELECT pid::bigint FROM pg_stat_activity WHERE backend_type = 'walwriter'";
    let walwriter = number(&mut client, query) as i32;
    kill(Pid::from_raw(walwriter), Signal::SIGSTOP).expect("stop the walwriter");
    run(&mut client, "SET synchronous_commit = off");
    let mut insert = |from: i64, to: i64| {
        for id in from..=to {
            run(&mut client, &format!("INSERT INTO t VALUES ({id}, 'a')"));
        }
    };
    insert(1, 100);
    // a block is on disk before it counts, and with it all that it covers
    let mut other = cluster.superuser();
    run(&mut other, "SELECT ward.seal_audit_trail()");
    // what the worker writes after that, a checkpoint for one, would take to the disk what comes before it
    wait_until_sealers_left(&mut other);
    insert(101, 200);
    cluster.kill9();
    cluster.start_again().expect("the server starts again");
    let mut client = cluster.superuser();
    let rows = number(&mut client, "SELECT count(*) FROM t");
    assert!((100..200).contains(&rows), "{rows} rows are left");
    seal_and_verify(&mut client);
    assert_trail_is_the_table(&mut client);
    run(&mut client, "INSERT INTO t VALUES (300, 'after the crash')");
    seal_and_verify(&mut client);
    assert_trail_is_the_table(&mut client);
}
