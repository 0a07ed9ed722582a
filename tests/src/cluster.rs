//! One private PostgreSQL cluster.

use crate::files::give_to_server;
use crate::options::{MasterKey, Options, random_key};
use crate::process::{
    kill_family, programs, programs_to_upgrade_to, send, server_command, wait_until_gone,
};
use crate::{DATABASE, SUPERUSER};
use nix::sys::signal::Signal;
use postgres::{Client, Config, NoTls};
use std::fmt::Write as _;
use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The socket lives in a directory of its own, so every cluster can use the same port number.
const PORT: u16 = 5432;
/// How long a server may take to start or to stop: long enough for a slow machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(180);

/// A running (or stopped) server with its own data directory. Dropping it removes both.
pub struct Cluster {
    directory: TempDir,
    /// Where the programs of its PostgreSQL are.
    programs: PathBuf,
    environment: Vec<(String, String)>,
    server: Option<Child>,
    /// The test itself kills server processes.
    kills: bool,
}

/// The server did not start; holds its log.
#[derive(Debug)]
pub struct StartFailure {
    /// Everything the server wrote.
    pub log: String,
}

impl Cluster {
    /// Starts a cluster; a server that does not start fails the test with its log.
    pub fn start(options: Options) -> Self {
        Self::try_start(options).unwrap_or_else(|failure| panic!("no start:\n{}", failure.log))
    }

    /// Starts a cluster with the default options and makes database [`DATABASE`] with the
    /// extension in it.
    pub fn with_extension() -> Self {
        Self::with_extension_and(Options::default())
    }

    /// Starts a cluster with `options` and makes database [`DATABASE`] with the extension in it.
    pub fn with_extension_and(options: Options) -> Self {
        let cluster = Self::start(options);
        cluster.create_database(DATABASE);
        cluster
    }

    /// Starts a cluster, or says why the server refused.
    pub fn try_start(options: Options) -> Result<Self, StartFailure> {
        let directory = TempDir::with_prefix("ward-").expect("make a temporary directory");
        give_to_server(directory.path());
        let mut cluster = Self {
            directory,
            programs: programs(),
            environment: options.environment.clone(),
            server: None,
            kills: false,
        };
        cluster.initdb();
        cluster.configure(&options);
        cluster.launch()?;
        Ok(cluster)
    }

    /// Creates a database with the extension in it.
    pub fn create_database(&self, name: &str) {
        self.run_alone("postgres", &format!("CREATE DATABASE {name}"));
        self.run_alone(name, "CREATE EXTENSION pg_ward");
    }

    /// Runs a statement in a session of its own and waits for its end, so that nobody takes it for somebody at work.
    fn run_alone(&self, database: &str, statement: &str) {
        let mut client = self.client(database, SUPERUSER);
        let row = client.query_one("SELECT pg_backend_pid()", &[]);
        let pid: i32 = row.expect("ask for the process").get(0);
        client
            .batch_execute(statement)
            .unwrap_or_else(|error| panic!("{statement}: {error:?}"));
        drop(client);
        wait_until_gone(pid.cast_unsigned());
    }

    /// A hot standby of this cluster with the same master key, streaming from it.
    pub fn standby(&self) -> Self {
        let mut standby = self.base_backup(&["--write-recovery-conf"]);
        standby
            .launch()
            .unwrap_or_else(|failure| panic!("no standby:\n{}", failure.log));
        standby
    }

    /// A base backup of this cluster with the same master key, not started.
    pub fn backup(&self) -> Self {
        self.base_backup(&[])
    }

    fn base_backup(&self, arguments: &[&str]) -> Self {
        let directory = TempDir::with_prefix("ward-").expect("make a temporary directory");
        give_to_server(directory.path());
        let copy = Self {
            directory,
            programs: self.programs.clone(),
            environment: self.environment.clone(),
            server: None,
            kills: false,
        };
        let output = copy
            .server_command("pg_basebackup")
            .args(["--checkpoint=fast", "--no-sync", "--pgdata"])
            .arg(copy.data_directory())
            .args(arguments)
            .arg("--host")
            .arg(self.socket_directory())
            .args(["--port", &PORT.to_string(), "--username", SUPERUSER])
            .output()
            .expect("run pg_basebackup");
        assert!(
            output.status.success(),
            "pg_basebackup: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let key = fs::read_to_string(self.master_key_file()).expect("read the master key");
        copy.write_master_key(&key, 0o600);
        copy.append_settings(&format!(
            "unix_socket_directories = '{}'\nward.master_key_file = '{}'\n",
            copy.directory.path().display(),
            copy.master_key_file().display()
        ));
        copy
    }

    /// An empty cluster that pg_upgrade has moved this stopped one to, not started: of a newer PostgreSQL if
    /// `WARD_UPGRADE_STAGE` names a stage of one.
    pub fn upgraded(&self, options: Options) -> Self {
        assert!(self.server.is_none(), "the server still runs");
        let directory = TempDir::with_prefix("ward-").expect("make a temporary directory");
        give_to_server(directory.path());
        let new = Self {
            directory,
            programs: programs_to_upgrade_to(),
            environment: options.environment.clone(),
            kills: false,
            server: None,
        };
        new.initdb();
        new.configure(&options);
        let output = new
            .server_command("pg_upgrade")
            .arg("--old-bindir")
            .arg(&self.programs)
            .arg("--new-bindir")
            .arg(&new.programs)
            .arg("--old-datadir")
            .arg(self.data_directory())
            .arg("--new-datadir")
            .arg(new.data_directory())
            .args(["--username", SUPERUSER])
            .env_remove("PGOPTIONS")
            .output()
            .expect("run pg_upgrade");
        assert!(
            output.status.success(),
            "pg_upgrade: {}{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
            new.upgrade_logs()
        );
        new
    }

    /// The errors that the programs which pg_upgrade runs have logged.
    fn upgrade_logs(&self) -> String {
        let runs = fs::read_dir(self.data_directory().join("pg_upgrade_output.d"));
        let logs = runs
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|run| fs::read_dir(run.path().join("log")).ok());
        let logs = logs.flatten().flatten().map(|log| {
            let lines = fs::read(log.path()).unwrap_or_default();
            let lines = String::from_utf8_lossy(&lines);
            let lines: Vec<_> = lines.lines().collect();
            let said = lines
                .iter()
                .filter(|line| line.contains("ERROR:") || line.contains("error:"));
            let said: Vec<_> = said.copied().collect();
            format!("--- {:?}\n{}\n", log.file_name(), said.join("\n"))
        });
        logs.collect()
    }

    /// A superuser's connection to [`DATABASE`].
    pub fn superuser(&self) -> Client {
        self.client(DATABASE, SUPERUSER)
    }

    /// A connection.
    pub fn client(&self, database: &str, user: &str) -> Client {
        self.config(database, user)
            .connect(NoTls)
            .unwrap_or_else(|error| panic!("connect to {database} as {user}: {error:?}"))
    }

    /// What a client needs to connect; a test may add options to it.
    pub fn config(&self, database: &str, user: &str) -> Config {
        let mut config = Config::new();
        config
            .host_path(self.socket_directory())
            .port(PORT)
            .dbname(database)
            .user(user)
            .application_name("ward-tests");
        config
    }

    /// One of PostgreSQL's client programs, told how to reach this cluster.
    pub fn client_program(&self, name: &str, database: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command
            .env("PGHOST", self.socket_directory())
            .env("PGPORT", PORT.to_string())
            .env("PGUSER", SUPERUSER)
            .env("PGDATABASE", database)
            .env_remove("PGOPTIONS");
        command
    }

    /// Runs a script with psql in [`DATABASE`], stopping at the first error.
    pub fn psql(&self, script: &str) -> Output {
        let file = self.directory.path().join("script.sql");
        fs::write(&file, script).expect("write the script");
        self.client_program("psql", DATABASE)
            .args(["-X", "-v", "ON_ERROR_STOP=1", "-f"])
            .arg(&file)
            .output()
            .expect("run psql")
    }

    /// Stops the server as `pg_ctl stop -m fast` does.
    pub fn stop(&mut self) {
        let Some(mut server) = self.server.take() else {
            return;
        };
        send(server.id(), Signal::SIGINT);
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = server.try_wait().expect("wait for the server") {
                assert!(
                    status.success(),
                    "the server ended with {status}:\n{}",
                    self.log()
                );
                return;
            }
            if Instant::now() > deadline {
                kill_family(server.id());
                let _ = server.wait();
                panic!("the server did not stop:\n{}", self.log());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The System V segment of the server, as its lock file says. A killed server leaves it behind, and
    /// there are only some thousands on a machine.
    pub fn shared_memory(&self) -> Option<String> {
        let lock = fs::read_to_string(self.data_directory().join("postmaster.pid")).ok()?;
        let (_key, id) = lock
            .lines()
            .nth(6)?
            .trim()
            .split_once(char::is_whitespace)?;
        Some(id.trim().to_owned())
    }

    fn free_shared_memory(&self) {
        if let Some(id) = self.shared_memory() {
            // fails when the server was not killed but stopped: then it is gone already
            let _ = Command::new("ipcrm").args(["-m", &id]).output();
        }
    }

    /// Starts a stopped server again.
    pub fn start_again(&mut self) -> Result<(), StartFailure> {
        assert!(self.server.is_none(), "the server still runs");
        self.launch()
    }

    /// Stops the server properly and starts it again.
    pub fn restart(&mut self) {
        self.stop();
        self.start_again()
            .unwrap_or_else(|failure| panic!("no restart:\n{}", failure.log));
    }

    /// Kills the server and all its children with SIGKILL. Start it again with
    /// [`Cluster::start_again`].
    pub fn kill9(&mut self) {
        let mut server = self.server.take().expect("the server runs");
        kill_family(server.id());
        server.wait().expect("reap the server");
    }

    /// The test kills single server processes with SIGKILL; any other crash still fails it.
    pub fn tolerate_kill_9(&mut self) {
        self.kills = true;
    }

    /// Has the server read its configuration and its master key again.
    pub fn reload(&self) {
        let server = self.server.as_ref().expect("the server runs");
        send(server.id(), Signal::SIGHUP);
    }

    /// Replaces the master key file. Takes effect at the next start or reload.
    pub fn write_master_key(&self, content: &str, mode: u32) {
        let file = self.master_key_file();
        fs::write(&file, content).expect("write the master key");
        fs::set_permissions(&file, Permissions::from_mode(mode)).expect("set its permissions");
        give_to_server(&file);
    }

    /// Appends lines to postgresql.conf. They take effect at the next start or reload.
    pub fn append_settings(&self, lines: &str) {
        let file = self.data_directory().join("postgresql.conf");
        let mut text = fs::read_to_string(&file).expect("read postgresql.conf");
        text.push_str(lines);
        fs::write(&file, text).expect("write postgresql.conf");
    }

    /// The process id of the postmaster.
    pub fn pid(&self) -> u32 {
        self.server.as_ref().expect("the server runs").id()
    }

    /// The file that holds the master key.
    pub fn master_key_file(&self) -> PathBuf {
        self.directory.path().join("master.key")
    }

    /// The data directory.
    pub fn data_directory(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The port number in the socket's name.
    pub fn port(&self) -> u16 {
        PORT
    }

    /// The directory of the Unix socket.
    pub fn socket_directory(&self) -> &Path {
        self.directory.path()
    }

    /// Everything the server has logged.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.log_file()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn log_file(&self) -> PathBuf {
        self.directory.path().join("server.log")
    }

    /// A command that runs one of PostgreSQL's programs as the server's user, in the cluster's directory.
    fn server_command(&self, name: &str) -> Command {
        server_command(&self.programs.join(name), self.directory.path())
    }

    fn initdb(&self) {
        let help = self.server_command("initdb").arg("--help").output();
        let help = help.expect("run initdb").stdout;
        let mut command = self.server_command("initdb");
        // where they are usual (18 on): pg_upgrade wants both clusters to have them, or neither
        if String::from_utf8_lossy(&help).contains("--no-data-checksums") {
            command.arg("--no-data-checksums");
        }
        let output = command
            .args(["--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C"])
            .args(["--username", SUPERUSER, "--pgdata"])
            .arg(self.data_directory())
            .output()
            .expect("run initdb");
        assert!(
            output.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// A statement that would wait for ever fails, so that the test does and says so.
    fn configure(&self, options: &Options) {
        let mut text = format!(
            "listen_addresses = ''\n\
             unix_socket_directories = '{}'\n\
             port = {PORT}\n\
             fsync = on\n\
             wal_level = logical\n\
             max_connections = 100\n\
             max_prepared_transactions = 20\n\
             max_worker_processes = 16\n\
             statement_timeout = 5min\n\
             logging_collector = off\n",
            self.directory.path().display()
        );
        if options.preload {
            text.push_str("shared_preload_libraries = 'pg_ward'\n");
        }
        let key = match &options.master_key {
            MasterKey::Random => Some((random_key() + "\n", 0o600)),
            MasterKey::File { content, mode } => Some((content.clone(), *mode)),
            MasterKey::None => None,
        };
        if let Some((content, mode)) = key {
            self.write_master_key(&content, mode);
            let file = self.master_key_file();
            let _ = writeln!(text, "ward.master_key_file = '{}'", file.display());
        }
        for (name, value) in &options.settings {
            let _ = writeln!(text, "{name} = '{}'", value.replace('\'', "''"));
        }
        self.append_settings(&text);
    }

    fn launch(&mut self) -> Result<(), StartFailure> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_file())
            .expect("open the server's log");
        let mut server = self
            .server_command("postgres")
            .arg("-D")
            .arg(self.data_directory())
            .env_remove("PG_WARD_MASTER_KEY")
            .env_remove("RUST_BACKTRACE")
            .env_remove("RUST_LIB_BACKTRACE")
            .envs(self.environment.iter().cloned())
            .stdout(log.try_clone().expect("share the log"))
            .stderr(log)
            .spawn()
            .expect("start postgres");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if server.try_wait().expect("watch the server").is_some() {
                return Err(StartFailure { log: self.log() });
            }
            if self.config("postgres", SUPERUSER).connect(NoTls).is_ok() {
                self.server = Some(server);
                return Ok(());
            }
            if Instant::now() > deadline {
                kill_family(server.id());
                let _ = server.wait();
                panic!("the server accepts no connections:\n{}", self.log());
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            kill_family(server.id());
            let _ = server.wait();
        }
        self.free_shared_memory();
        let log = self.log();
        if thread::panicking() {
            let start = log.len().saturating_sub(6000);
            let tail = log.get(start..).unwrap_or(&log);
            eprintln!("--- end of the server's log ---\n{tail}");
        } else {
            let tolerated = |line: &str| self.kills && line.contains("by signal 9: Killed");
            let crashed = log.lines().any(|line| {
                line.contains("PANIC:")
                    || (line.contains("was terminated by signal") && !tolerated(line))
            });
            assert!(!crashed, "a server process crashed:\n{log}");
        }
    }
}
