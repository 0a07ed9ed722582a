//! The context and field encryption as real clients use them: a transaction pooler, a Rust driver,
//! Python drivers and an object mapper.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::thread;
use ward_tests::postgres::types::{ToSql, Type};
use ward_tests::postgres::{Client, Config, NoTls, SimpleQueryMessage};
use ward_tests::{
    Cluster, DATABASE, SUPERUSER, give_to_server, number, refused, run, server_identity, wait_until,
};

const TENANTS: usize = 10;
const ROWS_EACH: i64 = 20;

/// Table `orders`, isolated, with rows of tenants t0 to t9, and role `app`.
fn orders() -> Cluster {
    let cluster = Cluster::with_extension();
    run(
        &mut cluster.superuser(),
        &format!(
            "CREATE TABLE orders (tenant_id text NOT NULL, id int NOT NULL, note text);
             CREATE INDEX ON orders (tenant_id);
             INSERT INTO orders SELECT 't' || t, i FROM generate_series(0, {}) t,
                 generate_series(1, {ROWS_EACH}) i;
             SELECT ward.enable_tenant_isolation('orders');
             CREATE ROLE app LOGIN; GRANT ALL ON orders TO app;
             SELECT ward.generate_encryption_key('notes', grantee => 'app')",
            TENANTS - 1
        ),
    );
    cluster
}

/// A pgbouncer in transaction mode before one database; ended when dropped.
struct Pooler {
    process: Child,
    directory: tempfile::TempDir,
}

impl Pooler {
    fn before(cluster: &Cluster, server_connections: usize) -> Self {
        let directory = tempfile::TempDir::with_prefix("ward-pooler-").unwrap();
        let path = directory.path();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        let users = path.join("users.txt");
        fs::write(&users, "\"app\" \"\"\n").unwrap();
        let settings = path.join("pgbouncer.ini");
        fs::write(
            &settings,
            format!(
                "[databases]
{DATABASE} = host={} port={} dbname={DATABASE}
[pgbouncer]
unix_socket_dir = {}
listen_port = 6432
auth_type = trust
auth_file = {}
pool_mode = transaction
default_pool_size = {server_connections}
max_client_conn = 200
ignore_startup_parameters = extra_float_digits
",
                cluster.socket_directory().display(),
                cluster.port(),
                path.display(),
                users.display(),
            ),
        )
        .unwrap();
        for file in [path, &users, &settings] {
            give_to_server(file);
        }
        let mut command = Command::new("/usr/sbin/pgbouncer");
        command.arg("-q").arg(&settings);
        server_identity(&mut command);
        let process = command
            .spawn()
            .expect("run pgbouncer (Debian: apt-get install pgbouncer)");
        let pooler = Self { process, directory };
        wait_until("pgbouncer listens", || {
            pooler.socket().exists() && pooler.config().connect(NoTls).is_ok()
        });
        pooler
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join(".s.PGSQL.6432")
    }

    fn config(&self) -> Config {
        let mut config = Config::new();
        config
            .host_path(self.directory.path())
            .port(6432)
            .dbname(DATABASE)
            .user("app");
        config
    }

    fn client(&self) -> Client {
        self.config().connect(NoTls).expect("connect to pgbouncer")
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// First column of each row, by the simple protocol, which any pooler understands.
fn simple(client: &mut Client, query: &str) -> Vec<Option<String>> {
    let messages = client
        .simple_query(query)
        .unwrap_or_else(|error| panic!("{query}: {error:?}"));
    messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row.get(0).map(str::to_owned)),
            _ => None,
        })
        .collect()
}

#[test]
fn fifty_clients_over_five_pooled_connections_switch_tenants_ten_thousand_times() {
    let cluster = orders();
    let pooler = Pooler::before(&cluster, 5);
    thread::scope(|scope| {
        for number in 0..50 {
            let mut client = pooler.client();
            scope.spawn(move || {
                for round in 0..200 {
                    one_transaction(&mut client, number, round);
                }
            });
        }
    });
    let mut admin = cluster.superuser();
    let backends = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'";
    assert!(number(&mut admin, backends) <= 5);
    // every transaction of every client left one row of its own tenant, or was rolled back
    let crossed = "SELECT count(*) FROM orders WHERE note IS NOT NULL AND note <> tenant_id";
    assert_eq!(number(&mut admin, crossed), 0);
    assert!(
        number(
            &mut admin,
            "SELECT count(*) FROM orders WHERE note IS NOT NULL"
        ) > 0
    );
}

fn one_transaction(client: &mut Client, number: usize, round: usize) {
    let tenant = format!("t{}", (number * 7 + round) % TENANTS);
    match round % 10 {
        // without a context, whatever the connection was used for before
        0 => assert_eq!(simple(client, "SELECT tenant_id FROM orders").len(), 0),
        // a transaction that fails half-way
        1 => {
            run(
                client,
                &format!("BEGIN; SELECT ward.set_tenant_context('{tenant}')"),
            );
            refused(
                client,
                "SELECT 1 / (SELECT count(*) - count(*) FROM orders)",
            );
            run(client, "ROLLBACK");
        }
        // with unnamed statements and parameters
        2..=4 => {
            let mut transaction = client.transaction().unwrap();
            transaction
                .query_typed(
                    "SELECT ward.set_tenant_context($1)",
                    &[(&tenant, Type::TEXT)],
                )
                .unwrap();
            let rows = transaction
                .query_typed(
                    "SELECT count(*), count(*) FILTER (WHERE tenant_id <> $1) FROM orders
                     WHERE note IS NULL",
                    &[(&tenant, Type::TEXT)],
                )
                .unwrap();
            assert_eq!(rows[0].get::<_, i64>(0), ROWS_EACH);
            assert_eq!(rows[0].get::<_, i64>(1), 0);
            transaction.commit().unwrap();
        }
        _ => {
            run(
                client,
                &format!("BEGIN; SELECT ward.set_tenant_context('{tenant}')"),
            );
            let seen = simple(client, "SELECT DISTINCT tenant_id FROM orders");
            assert_eq!(seen, [Some(tenant.clone())]);
            run(
                client,
                &format!(
                    "INSERT INTO orders (tenant_id, id, note) VALUES ('{tenant}', 0, '{tenant}')"
                ),
            );
            run(
                client,
                if round.is_multiple_of(2) {
                    "COMMIT"
                } else {
                    "ROLLBACK"
                },
            );
        }
    }
}

#[test]
fn a_pooled_connection_that_was_reset_has_no_context() {
    let cluster = orders();
    let mut app = cluster.client(DATABASE, "app");
    for reset in ["DISCARD ALL", "RESET ALL", "RESET ward.context"] {
        run(
            &mut app,
            "SELECT ward.set_tenant_context('t1', is_local => false)",
        );
        assert_eq!(number(&mut app, "SELECT count(*) FROM orders"), ROWS_EACH);
        run(&mut app, reset);
        assert_eq!(
            number(&mut app, "SELECT count(*) FROM orders"),
            0,
            "{reset}"
        );
    }
}

#[test]
fn a_statement_prepared_under_one_tenant_serves_the_next() {
    let cluster = orders();
    let mut app = cluster.client(DATABASE, "app");
    // more than five executions, so that PostgreSQL may choose a generic plan
    let statement = app
        .prepare("SELECT count(*), min(tenant_id), max(tenant_id) FROM orders WHERE id > $1")
        .unwrap();
    for round in 0..20 {
        let tenant = format!("t{}", round % TENANTS);
        let mut transaction = app.transaction().unwrap();
        transaction
            .execute("SELECT ward.set_tenant_context($1::text)", &[&tenant])
            .unwrap();
        let row = transaction.query_one(&statement, &[&0]).unwrap();
        assert_eq!(row.get::<_, i64>(0), ROWS_EACH);
        assert_eq!(row.get::<_, String>(1), tenant);
        assert_eq!(row.get::<_, String>(2), tenant);
        transaction.commit().unwrap();
    }
}

#[test]
fn statements_sent_ahead_in_a_pipeline_belong_to_their_transactions() {
    let cluster = orders();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut config = tokio_postgres::Config::new();
        config
            .host_path(cluster.socket_directory())
            .port(cluster.port())
            .dbname(DATABASE)
            .user("app");
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
        let driver = tokio::spawn(connection);
        let set = "SELECT ward.set_tenant_context($1::text)";
        let set = client.prepare(set).await.unwrap();
        let read = "SELECT count(*), min(tenant_id), max(tenant_id) FROM orders";
        let read = client.prepare(read).await.unwrap();
        for round in 0..20 {
            let tenants = [
                format!("t{}", round % TENANTS),
                format!("t{}", (round + 1) % TENANTS),
            ];
            let one = |tenant: &String| {
                let (client, set, read, tenant) = (&client, &set, &read, tenant.clone());
                async move {
                    let parameters: [&(dyn ToSql + Sync); 1] = [&tenant];
                    // polled together, so all five are on the way before the first answer comes
                    let (begun, _, row, ended, after) = tokio::join!(
                        client.batch_execute("BEGIN"),
                        client.execute(set, &parameters),
                        client.query_one(read, &[]),
                        client.batch_execute("COMMIT"),
                        client.query_one(read, &[]),
                    );
                    begun.unwrap();
                    ended.unwrap();
                    let row = row.unwrap();
                    assert_eq!(row.get::<_, i64>(0), ROWS_EACH);
                    assert_eq!(row.get::<_, String>(1), tenant);
                    assert_eq!(row.get::<_, String>(2), tenant);
                    assert_eq!(after.unwrap().get::<_, i64>(0), 0);
                }
            };
            let [first, second] = &tenants;
            tokio::join!(one(first), one(second));
        }
        drop(client);
        driver.await.unwrap().unwrap();
    });
}

#[test]
fn values_survive_the_binary_protocol_of_a_driver() {
    let cluster = orders();
    let mut app = cluster.client(DATABASE, "app");
    let row = app
        .query_one(
            "SELECT ward.encrypt($1::text, 'notes', $2)",
            &[&"grüße", &"row 1"],
        )
        .unwrap();
    let sealed: Vec<u8> = row.get(0);
    let row = app
        .query_one("SELECT ward.decrypt($1, $2)", &[&sealed, &"row 1"])
        .unwrap();
    assert_eq!(row.get::<_, String>(0), "grüße");
}

/// Runs a Python client of `tests/clients` against the cluster, as role app.
fn python(cluster: &Cluster, script: &str) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("clients")
        .join(script);
    // Debian's own Python has Debian's packages, whatever else is first in PATH.
    let program = ["/usr/bin/python3", "python3"]
        .into_iter()
        .find(|program| {
            Command::new(program)
                .args(["-c", "import psycopg, psycopg2, sqlalchemy"])
                .output()
                .is_ok_and(|output| output.status.success())
        })
        .expect(
            "no python3 has psycopg, psycopg2 and sqlalchemy (Debian: apt-get install \
             python3-psycopg python3-psycopg2 python3-sqlalchemy)",
        );
    Command::new(program)
        .arg(script)
        .env("PGHOST", cluster.socket_directory())
        .env("PGPORT", cluster.port().to_string())
        .env("PGUSER", "app")
        .env("PGDATABASE", DATABASE)
        .output()
        .expect("run python3")
}

fn succeeds(output: &Output) {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success() && text(&output.stdout).trim_end().ends_with("done"),
        "{}\n{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

#[test]
fn python_with_psycopg() {
    let cluster = orders();
    succeeds(&python(&cluster, "with_psycopg.py"));
    let mut admin = cluster.client(DATABASE, SUPERUSER);
    let stored = "SELECT count(*) FROM orders WHERE note = 'batch' AND tenant_id = 't3'";
    assert_eq!(number(&mut admin, stored), 2);
}

#[test]
fn python_with_sqlalchemy() {
    let cluster = orders();
    succeeds(&python(&cluster, "with_sqlalchemy.py"));
}
