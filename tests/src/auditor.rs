//! From the server to the auditor, who has `ward-verify`, the log's public key, and what was kept of the log.

use crate::query::text;
use crate::{Cluster, DATABASE};
use postgres::Client;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

/// The verifier.
pub fn program() -> PathBuf {
    env::var_os("WARD_VERIFY")
        .expect("WARD_VERIFY names no ward-verify: run the session tests with `make test`")
        .into()
}

/// What an auditor has.
pub struct Auditor {
    directory: tempfile::TempDir,
    /// The public key of the log.
    pub key: String,
}

/// What the verifier said.
pub struct Said {
    /// The exit code.
    pub code: i32,
    /// What it printed, as JSON where it is.
    pub outcome: serde_json::Value,
    /// What it complained of.
    pub error: String,
}

impl Auditor {
    /// Who takes the log's public key from the server.
    pub fn new(client: &mut Client) -> Self {
        Self {
            directory: tempfile::TempDir::with_prefix("auditor-").unwrap(),
            key: text(client, "SELECT ward.audit_public_key()").unwrap(),
        }
    }

    /// A file of the auditor.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Keeps what a query answers.
    pub fn keep(&self, client: &mut Client, query: &str, name: &str) -> String {
        fs::write(self.path(name), text(client, query).unwrap()).unwrap();
        self.path(name).display().to_string()
    }

    /// Keeps a checkpoint of the log as it is, which covers all that was ordered, in a file of this name.
    pub fn keep_now(&self, client: &mut Client, name: &str) -> String {
        self.keep(client, "SELECT ward.audit_checkpoint()", name)
    }

    /// Runs the verifier in the auditor's directory.
    pub fn run(&self, args: &[&str]) -> Said {
        self.run_with(args, Path::new("/dev/null"))
    }

    /// As [`run`](Self::run), with this file as its standard input.
    pub fn run_with(&self, args: &[&str], input: &Path) -> Said {
        let output = Command::new(program())
            .args(args)
            .current_dir(self.directory.path())
            .stdin(fs::File::open(input).unwrap())
            .output()
            .unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        Said {
            code: output.status.code().unwrap(),
            outcome: serde_json::from_str(&out).unwrap_or(serde_json::Value::String(out)),
            error: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Verifies an export against a checkpoint.
    pub fn check(&self, export: &str, checkpoint: &str) -> Said {
        self.run(&[
            "check",
            export,
            "--key",
            &self.key,
            "--checkpoint",
            checkpoint,
            "--json",
        ])
    }
}

/// Exports as the manual says: with psql.
pub fn export(cluster: &Cluster, auditor: &Auditor, from: i64) -> String {
    let file = auditor.path("trail.ward");
    let status = cluster
        .client_program("psql", DATABASE)
        .args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-c"])
        .arg(format!(
            "COPY (SELECT ward.export_audit_trail({from})) TO STDOUT"
        ))
        .stdout(Stdio::from(fs::File::create(&file).unwrap()))
        .status()
        .unwrap();
    assert!(status.success());
    file.display().to_string()
}

impl Said {
    /// Fails unless the verdict is this one.
    #[track_caller]
    pub fn is(&self, verdict: &str) {
        assert_eq!(
            self.outcome["verdict"], verdict,
            "{}{}",
            self.outcome, self.error
        );
    }

    /// Fails unless the verdict is this one, and nothing else was found than one thing at this entry.
    #[track_caller]
    pub fn finds(&self, verdict: &str, code: i32, kind: &str, entry: i64) {
        self.is(verdict);
        assert_eq!(self.code, code);
        assert_eq!(self.outcome["findings_total"], 1, "{}", self.outcome);
        let finding = &self.outcome["findings"][0];
        assert_eq!(finding["kind"], kind);
        assert_eq!(finding["entry"], entry, "{}", self.outcome);
    }
}

/// Exports the trail as it is now and verifies it against checkpoints.
pub fn check(cluster: &Cluster, auditor: &Auditor, checkpoints: &[&str]) -> Said {
    let trail = export(cluster, auditor, 0);
    let mut args = vec!["check", &trail, "--key", &auditor.key, "--json"];
    for checkpoint in checkpoints {
        args.extend(["--checkpoint", checkpoint]);
    }
    auditor.run(&args)
}
