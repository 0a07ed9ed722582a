//! Context and encrypted columns as a Java application uses them. Its driver speaks TCP only, clusters of
//! the tests listen on a socket: connections are passed on.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use ward_tests::{Cluster, DATABASE, run};

const DRIVER: &str = "/usr/share/java/postgresql.jar";

/// Passes connections to a port of this machine on to the cluster; gives the port.
fn passed_on(cluster: &Cluster) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let socket = cluster
        .socket_directory()
        .join(format!(".s.PGSQL.{}", cluster.port()));
    thread::spawn(move || {
        for client in listener.incoming() {
            pass_on(client.unwrap(), &socket).unwrap();
        }
    });
    port
}

fn pass_on(client: TcpStream, socket: &PathBuf) -> io::Result<()> {
    let server = UnixStream::connect(socket)?;
    let (answers, receiver) = (server.try_clone()?, client.try_clone()?);
    thread::spawn(move || {
        copy(client, &server);
        let _ = server.shutdown(Shutdown::Write);
    });
    thread::spawn(move || {
        copy(answers, &receiver);
        let _ = receiver.shutdown(Shutdown::Both);
    });
    Ok(())
}

/// Until one of the two ends.
fn copy(mut from: impl Read, mut to: impl Write) {
    let mut buffer = [0; 65536];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
}

#[test]
fn java_with_jdbc() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/WithJdbc.java");
    assert!(
        Path::new(DRIVER).exists(),
        "{DRIVER} is missing (Debian: apt-get install openjdk-17-jdk-headless libpostgresql-jdbc-java)"
    );
    let cluster = Cluster::with_extension();
    run(
        &mut cluster.superuser(),
        "CREATE TABLE orders (tenant_id text NOT NULL, id int NOT NULL, note text);
         CREATE INDEX ON orders (tenant_id);
         INSERT INTO orders SELECT 't' || t, i FROM generate_series(0, 9) t, generate_series(1, 20) i;
         SELECT ward.enable_tenant_isolation('orders');
         CREATE ROLE app LOGIN;
         SELECT ward.generate_encryption_key('notes', grantee => 'app');
         CREATE TABLE person (id int PRIMARY KEY, mail ward.encrypted_text('notes') UNIQUE, note ward.secret_text('notes'));
         GRANT ALL ON orders, person TO app",
    );
    let output = Command::new("java")
        .args([
            "-XX:TieredStopAtLevel=1",
            "-Dfile.encoding=UTF-8",
            "-cp",
            DRIVER,
        ])
        .arg(source)
        .env("PGPORT", passed_on(&cluster).to_string())
        .env("PGUSER", "app")
        .env("PGDATABASE", DATABASE)
        .output()
        .expect("run java (Debian: apt-get install openjdk-17-jdk-headless)");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success() && text(&output.stdout).trim_end().ends_with("done"),
        "{}\n{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}
