//! Columns that are converted while others use the table, and conversions that are interrupted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::{self, JoinHandle};
use ward_tests::postgres::Client;
use ward_tests::{
    Cluster, DATABASE, number, refused, run, seal_and_verify, text, texts, wait_until,
};

/// A table whose rows carry a copy of their value, so that a lost or mixed up value shows.
fn customers(client: &mut Client, rows: usize) {
    run(
        client,
        &format!(
            "SELECT ward.generate_encryption_key('k');
             CREATE TABLE customer (id bigint PRIMARY KEY, email text UNIQUE, copy text, visits int DEFAULT 0)
                 WITH (fillfactor = 70);
             CREATE INDEX by_email ON customer (email, id);
             INSERT INTO customer SELECT g, 'c' || g, 'c' || g FROM generate_series(1, {rows}) g;
             ANALYZE customer"
        ),
    );
}

const WRONG: &str = "SELECT count(*) FROM customer WHERE email::text IS DISTINCT FROM copy";
const TYPE: &str = "SELECT format_type(atttypid, atttypmod) FROM pg_attribute
                    WHERE attrelid = 'customer'::regclass AND attname = 'email'";
const DONE: &str = "SELECT coalesce(sum(rows_converted), 0)::bigint FROM ward.column_conversions";
const UNDER_WAY: &str = "SELECT count(*) FROM ward.column_conversions";

/// Clients that insert, update, delete and move rows until they are stopped.
struct Writers {
    stop: Arc<AtomicBool>,
    rows: Arc<AtomicI64>,
    threads: Vec<JoinHandle<i64>>,
}

impl Writers {
    fn start(cluster: &Cluster, phase: i64, rows: i64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let rows = Arc::new(AtomicI64::new(rows));
        let threads = (1..=2i64)
            .map(|number| {
                let (mut client, stop, rows) =
                    (cluster.superuser(), Arc::clone(&stop), Arc::clone(&rows));
                thread::spawn(move || {
                    let mut rounds = 0;
                    while !stop.load(Ordering::Relaxed) {
                        rounds += 1;
                        // Never the other one's row: they must not wait for each other.
                        let id = (rounds * 37 % 2000) * 2 + number % 2;
                        let fresh = (phase * 2 + number) * 10_000_000 + rounds;
                        run(
                            &mut client,
                            &format!(
                                "INSERT INTO customer (id, email, copy) VALUES ({fresh}, 'n{fresh}', 'n{fresh}');
                                 UPDATE customer SET email = 'u{fresh}', copy = 'u{fresh}' WHERE id = {id};
                                 UPDATE customer SET visits = visits + 1 WHERE id = {id} + 4000;
                                 UPDATE customer SET email = NULL, copy = NULL WHERE id = {fresh} AND {rounds} % 5 = 0"
                            ),
                        );
                        let deleted = client
                            .execute("DELETE FROM customer WHERE id = $1", &[&(id + 8000)])
                            .unwrap();
                        rows.fetch_add(1 - deleted as i64, Ordering::Relaxed);
                    }
                    rounds
                })
            })
            .collect();
        Self {
            stop,
            rows,
            threads,
        }
    }

    /// Stops them and answers how many rows there must be.
    fn stop(self) -> i64 {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            assert!(thread.join().unwrap() > 0, "a writer wrote nothing");
        }
        self.rows.load(Ordering::Relaxed)
    }
}

#[test]
fn writers_lose_nothing_while_a_column_is_encrypted_renewed_and_decrypted() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    customers(&mut client, 12_000);
    let mut rows = 12_000;
    for (phase, statement, kind) in [
        (
            1,
            "CALL ward.encrypt_column('customer', 'email', 'k', 1000)",
            "ward.encrypted_text('k')",
        ),
        (
            2,
            "CALL ward.reencrypt_column('customer', 'email', 1000)",
            "ward.encrypted_text('k')",
        ),
        (
            3,
            "CALL ward.decrypt_column('customer', 'email', 1000)",
            "text",
        ),
    ] {
        run(&mut client, "SELECT ward.rotate_encryption_key('k')");
        let writers = Writers::start(&cluster, phase, rows);
        run(&mut client, statement);
        rows = writers.stop();
        assert_eq!(number(&mut client, WRONG), 0, "{statement}");
        let count = number(&mut client, "SELECT count(*) FROM customer");
        assert_eq!(count, rows, "{statement}");
        assert_eq!(text(&mut client, TYPE).as_deref(), Some(kind));
        assert_eq!(number(&mut client, UNDER_WAY), 0);
        let indexes = texts(
            &mut client,
            "SELECT indexname::text FROM pg_indexes WHERE tablename = 'customer' ORDER BY 1",
        );
        assert_eq!(indexes, ["by_email", "customer_email_key", "customer_pkey"]);
        if statement.contains("reencrypt") {
            let versions =
                "SELECT array_to_string(versions, ' ') FROM ward.encryption_status(true)";
            assert_eq!(text(&mut client, versions).as_deref(), Some("k/3"));
        }
        run(
            &mut client,
            "SET enable_seqscan = off; SET enable_bitmapscan = off",
        );
        let plan = texts(
            &mut client,
            "EXPLAIN SELECT 1 FROM customer WHERE email = 'c11999'",
        );
        assert!(plan.join("\n").contains("Index"), "{plan:?}");
    }
}

#[test]
fn a_row_that_somebody_holds_is_converted_when_it_is_let_go() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    customers(&mut client, 3000);
    let (mut committing, mut aborting) = (cluster.superuser(), cluster.superuser());
    run(&mut client, "SET lock_timeout = 0");
    begin(&mut client);
    // The first to use the search key do not wait for each other.
    for (writer, id) in [(&mut committing, 1), (&mut aborting, 2)] {
        run(
            writer,
            &format!("BEGIN; UPDATE customer SET email = 'w{id}', copy = 'w{id}' WHERE id = {id}"),
        );
    }
    run(&mut committing, "COMMIT");
    run(&mut aborting, "COMMIT");
    // Locked before any row is converted, for it might be done too soon; written to once it has what it needs of the
    // table.
    for (holder, id) in [(&mut committing, 3000), (&mut aborting, 2999)] {
        run(
            holder,
            &format!("BEGIN; SELECT FROM customer WHERE id = {id} FOR UPDATE"),
        );
    }
    let mut other = cluster.superuser();
    let caller = thread::spawn(move || {
        run(
            &mut other,
            "CALL ward.encrypt_column('customer', 'email', 'k', 100)",
        );
    });
    wait_until("some rows are converted", || number(&mut client, DONE) > 0);
    run(
        &mut committing,
        "UPDATE customer SET email = 'held', copy = 'held' WHERE id = 3000",
    );
    run(
        &mut aborting,
        "UPDATE customer SET email = 'gone', copy = 'gone' WHERE id = 2999",
    );
    wait_until("the conversion waits", || {
        let waiting = "SELECT count(*) FROM pg_stat_activity
                       WHERE query LIKE 'CALL%' AND wait_event_type = 'Lock'";
        caller.is_finished() || number(&mut client, waiting) == 1
    });
    assert!(!caller.is_finished(), "it did not wait for held rows");
    run(&mut aborting, "ROLLBACK");
    run(&mut committing, "COMMIT");
    caller.join().unwrap();
    assert_eq!(number(&mut client, WRONG), 0);
    assert_eq!(number(&mut client, "SELECT count(*) FROM customer"), 3000);
}

/// Begins to encrypt, which needs the whole table for a moment, and converts no row yet.
fn begin(client: &mut Client) {
    let begun =
        "SELECT ward.begin_conversion('customer', 'email', ward.conversion_type('k', true))::text";
    wait_until("the conversion has begun", || {
        text(client, begun).as_deref() == Some("true")
    });
}

/// Begins to encrypt in another session; answers when some rows are done. It cannot end before the session
/// that is answered, too: that one holds row `held`.
fn in_the_middle(cluster: &Cluster, client: &mut Client, held: u32) -> (JoinHandle<bool>, Client) {
    begin(client);
    // What an interrupted conversion has done already counts, too.
    let before = number(client, DONE);
    let mut holder = cluster.superuser();
    run(
        &mut holder,
        &format!("BEGIN; SELECT FROM customer WHERE id = {held} FOR UPDATE"),
    );
    let mut other = cluster.superuser();
    let caller = thread::spawn(move || {
        other
            .batch_execute("CALL ward.encrypt_column('customer', 'email', 'k', 50)")
            .is_ok()
    });
    wait_until("some rows are converted", || number(client, DONE) > before);
    (caller, holder)
}

#[test]
fn a_conversion_goes_on_after_kill_9_after_a_cancel_and_in_a_restored_dump() {
    let mut cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    customers(&mut client, 20_000);
    let (caller, _holder) = in_the_middle(&cluster, &mut client, 10_000);
    cluster.kill9();
    assert!(!caller.join().unwrap(), "it was done before the crash");
    cluster.start_again().unwrap();

    let mut client = cluster.superuser();
    assert_eq!(number(&mut client, UNDER_WAY), 1);
    assert_eq!(text(&mut client, TYPE).as_deref(), Some("text"));
    run(
        &mut client,
        "UPDATE customer SET email = 'after', copy = 'after' WHERE id = 7;
         INSERT INTO customer (id, email, copy) VALUES (100000, 'new', 'new')",
    );
    let (caller, holder) = in_the_middle(&cluster, &mut client, 15_000);
    run(
        &mut client,
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'CALL ward.encrypt%'",
    );
    assert!(
        !caller.join().unwrap(),
        "it was done before it was cancelled"
    );
    drop(holder);
    assert_eq!(number(&mut client, UNDER_WAY), 1);

    let dump = cluster
        .client_program("pg_dump", DATABASE)
        .output()
        .unwrap();
    run(&mut client, "CREATE DATABASE restored");
    let file = cluster.socket_directory().join("dump.sql");
    std::fs::write(&file, &dump.stdout).unwrap();
    let restored = cluster
        .client_program("psql", "restored")
        .args(["-Xqv", "ON_ERROR_STOP=1", "-f"])
        .arg(&file)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&restored.stderr);
    assert!(restored.status.success(), "{errors}");
    let mut elsewhere = cluster.client("restored", "postgres");

    for client in [&mut client, &mut elsewhere] {
        assert_eq!(number(client, UNDER_WAY), 1);
        run(
            client,
            "CALL ward.encrypt_column('customer', 'email', 'k', 5000)",
        );
        assert_eq!(number(client, WRONG), 0);
        assert_eq!(number(client, "SELECT count(*) FROM customer"), 20_001);
        let kind = "ward.encrypted_text('k')";
        assert_eq!(text(client, TYPE).as_deref(), Some(kind));
        assert_eq!(number(client, UNDER_WAY), 0);
        let twice = "INSERT INTO customer (id, email, copy) VALUES (-1, 'c1', 'c1')";
        assert_eq!(refused(client, twice).code().code(), "23505");
    }
}

#[test]
fn rows_that_a_policy_hides_are_converted_and_the_trail_gets_no_plaintext_of_it() {
    let cluster = Cluster::with_extension();
    let mut admin = cluster.superuser();
    run(
        &mut admin,
        "CREATE ROLE owner LOGIN; GRANT CREATE ON SCHEMA public TO owner;
         GRANT EXECUTE ON FUNCTION ward.enable_audit TO owner;
         SELECT ward.generate_encryption_key('k', grantee => 'owner')",
    );
    let mut owner = cluster.client(DATABASE, "owner");
    run(
        &mut owner,
        "CREATE TABLE customer (id bigint PRIMARY KEY, email text NOT NULL, touched int DEFAULT 0);
         INSERT INTO customer SELECT g, 'plain' || g FROM generate_series(1, 500) g;
         CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.touched := 1; RETURN NEW; END';
         CREATE TRIGGER touch BEFORE UPDATE ON customer FOR EACH ROW EXECUTE FUNCTION touch();
         ALTER TABLE customer ENABLE ROW LEVEL SECURITY;
         ALTER TABLE customer FORCE ROW LEVEL SECURITY;
         CREATE POLICY few ON customer USING (id <= 10)",
    );
    run(&mut admin, "SELECT ward.enable_audit('customer')");
    let visible = number(&mut owner, "SELECT count(*) FROM customer");
    assert_eq!(visible, 10);

    run(
        &mut owner,
        "CALL ward.encrypt_column('customer', 'email', 'k', 100)",
    );
    run(&mut admin, "SELECT ward.rotate_encryption_key('k')");
    run(
        &mut owner,
        "CALL ward.reencrypt_column('customer', 'email', 100)",
    );

    run(
        &mut admin,
        "SELECT ward.grant_key('k', 'postgres', '{decrypt}')",
    );
    let all = "SELECT count(*) FROM customer WHERE email::text = 'plain' || id AND touched = 0";
    assert_eq!(number(&mut admin, all), 500);
    let versions = "SELECT array_to_string(versions, ' ') FROM ward.encryption_status(true)";
    assert_eq!(text(&mut admin, versions).as_deref(), Some("k/2"));
    run(
        &mut owner,
        "UPDATE customer SET email = 'plainly new' WHERE id = 5",
    );
    let entries = "SELECT count(*) FROM ward.audit_trail WHERE table_name = 'customer'";
    assert_eq!(number(&mut admin, entries), 1);
    let plain = "SELECT count(*) FROM ward.audit_trail t WHERE t::text LIKE '%plain%'";
    assert_eq!(number(&mut admin, plain), 0);
    seal_and_verify(&mut admin);
}
