//! A sealed log to attack. Tests share it: each attacks it inside a transaction that is rolled back, verifies in the
//! same transaction, and has `ward-verify` look at an export of what it left.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use ward_tests::auditor::program;
use ward_tests::postgres::Client;
use ward_tests::{
    Cluster, Options, number, run, seal_and_verify, tamper, verify, wait_until_sealers_left,
};

static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());

/// Block 0: rows 1 to 300 of table `t`. Block 1: a transaction of tenant-a, whose user changes at row 1101, then one
/// of tenant-b. Block 2: many rows more. Rows 1050 and 1051 hold NULL beside an empty text, and two short texts.
fn prepare() -> Cluster {
    let cluster = Cluster::with_extension_and(Options::default().set("ward.seal_interval", "1h"));
    let mut client = cluster.superuser();
    let rows = |first: i64, last: i64| {
        format!("INSERT INTO t SELECT g, 'note', 'more' FROM generate_series({first}, {last}) g")
    };
    // In one transaction: the first that is committed may be sealed at once, all others are when asked for.
    let table = |name: &str| {
        format!(
            "CREATE TABLE {name} (id bigint PRIMARY KEY, note text, more text);
             SELECT ward.enable_audit('{name}')"
        )
    };
    let first = [table("t"), table("u"), rows(1, 300)].join("; ");
    run(&mut client, &format!("BEGIN; {first}; COMMIT"));
    seal_and_verify(&mut client);
    // nor may a worker that looks at each database once after the server's start come between what follows
    wait_until_sealers_left(&mut client);
    run(
        &mut client,
        &format!(
            "BEGIN; SELECT ward.set_tenant_context('tenant-a');
             {}; INSERT INTO t VALUES (1050, NULL, ''), (1051, 'ab', 'c'); INSERT INTO u VALUES (1, 'x', 'y');
             SELECT ward.set_security_context('11111111-2222-3333-4444-555555555555'); {}; COMMIT",
            rows(1001, 1049),
            rows(1101, 1150)
        ),
    );
    run(
        &mut client,
        &format!(
            "BEGIN; SELECT ward.set_tenant_context('tenant-b'); {}; UPDATE t SET note = 'changed' WHERE id = 2007;
             DELETE FROM t WHERE id = 2008; COMMIT",
            rows(2001, 2100)
        ),
    );
    seal_and_verify(&mut client);
    run(&mut client, &rows(3001, 3300));
    seal_and_verify(&mut client);
    let blocks = "SELECT count(*) FROM ward.audit_block";
    assert_eq!(number(&mut client, blocks), 3);
    cluster
}

/// The cluster, as long as a test uses it.
fn shared() -> Arc<Cluster> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let cluster = Arc::new(prepare());
        *shared = Arc::downgrade(&cluster);
        cluster
    })
}

/// What a verifier found: kind and entry.
pub type Finding = (String, Option<i64>);

/// An attacker's session; what it does is rolled back in the end.
pub struct Attacker {
    pub client: Client,
    /// The blocks of what was found last.
    pub blocks: Vec<Option<i64>>,
    _cluster: Arc<Cluster>,
}

impl Attacker {
    /// A superuser alone with the log.
    pub fn new() -> Self {
        Self::on(shared())
    }

    /// The same with another log.
    pub fn on(cluster: Arc<Cluster>) -> Self {
        let mut client = cluster.superuser();
        // Those before it may take long, all together.
        run(
            &mut client,
            "SET statement_timeout = 0; BEGIN; SELECT pg_advisory_xact_lock(1); RESET statement_timeout",
        );
        Self {
            client,
            blocks: Vec::new(),
            _cluster: cluster,
        }
    }

    /// Number of the entry of a record of table `t`.
    pub fn entry(&mut self, record: i64) -> i64 {
        number(
            &mut self.client,
            &format!(
                "SELECT min(entry_id) FROM ward.audit_trail WHERE table_name = 't' AND record_id = '{record}'"
            ),
        )
    }

    /// Number of the last leaf that a condition on `leaf` picks.
    pub fn number_of(&mut self, which: &str) -> i64 {
        run(&mut self.client, "SAVEPOINT before");
        let pick = format!(
            "CREATE TEMP TABLE picked AS SELECT max(entry_id) AS n FROM leaves WHERE {which}"
        );
        tamper(&mut self.client, &pick);
        let picked = number(&mut self.client, "SELECT n FROM picked");
        run(&mut self.client, "ROLLBACK TO before");
        picked
    }

    /// Number of leaves in the log.
    pub fn size(&mut self) -> i64 {
        number(
            &mut self.client,
            "SELECT max(tree_size) FROM ward.audit_block",
        )
    }

    /// Edits the leaves, which lie in a table `leaves` (entry_id, leaf, image), and answers what is found.
    pub fn leaves(&mut self, attack: &str) -> Vec<Finding> {
        run(&mut self.client, "SAVEPOINT before");
        tamper(&mut self.client, attack);
        self.found(attack)
    }

    /// Edits the tables of the log and answers what is found.
    pub fn tables(&mut self, attack: &str) -> Vec<Finding> {
        run(&mut self.client, "SAVEPOINT before");
        run(&mut self.client, attack);
        self.found(attack)
    }

    /// What verification in SQL finds; the offline verifier finds the same in the export. Undoes the attack.
    fn found(&mut self, attack: &str) -> Vec<Finding> {
        let verdict = verify(&mut self.client);
        let rows = self
            .client
            .query(
                "SELECT kind, entry, block FROM ward.audit_violations()",
                &[],
            )
            .expect("list the violations");
        let found: Vec<Finding> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        assert!(!found.is_empty(), "unnoticed: {attack}");
        assert!(!verdict.is_valid);
        assert_eq!(verdict.first_bad_entry, found[0].1);
        assert!(
            verdict
                .reason
                .is_some_and(|reason| reason.starts_with(&found[0].0))
        );
        self.blocks = rows.iter().map(|row| row.get(2)).collect();
        // An export ends with the last block that has a row: without it, more than that is missing there.
        let offline = self.found_offline();
        if found.iter().all(|finding| finding.0 != "block_missing") {
            assert!(
                found.starts_with(&offline),
                "{offline:?} in the export, {found:?} here: {attack}"
            );
        }
        run(&mut self.client, "ROLLBACK TO before");
        found
    }

    /// What `ward-verify` finds in an export, the first findings of many.
    fn found_offline(&mut self) -> Vec<Finding> {
        let blocks = number(&mut self.client, "SELECT count(*) FROM ward.audit_block");
        let exported = self.client.query("SELECT ward.export_audit_trail()", &[]);
        let lines = match exported {
            Ok(lines) => lines,
            // there is nothing to export
            Err(error) if blocks == 0 => {
                let refused = error.as_db_error().expect("an error of the server");
                assert!(refused.message().contains("no sealed audit log"));
                return Vec::new();
            }
            Err(error) => panic!("export the log: {error:?}"),
        };
        let mut text = String::new();
        for line in &lines {
            writeln!(text, "{}", line.get::<_, &str>(0)).expect("write a line");
        }
        let directory = tempfile::TempDir::with_prefix("auditor-").expect("make a directory");
        let file = directory.path().join("trail");
        fs::write(&file, text).expect("write the export");
        let output = Command::new(program())
            .arg("check")
            .arg(&file)
            .arg("--json")
            .output()
            .expect("run ward-verify");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said: serde_json::Value = serde_json::from_slice(&output.stdout).expect("its verdict");
        assert_eq!(said["verdict"], "tampered");
        let findings = said["findings"].as_array().expect("findings");
        assert!(!findings.is_empty());
        findings
            .iter()
            .map(|f| {
                (
                    f["kind"].as_str().expect("a kind").to_owned(),
                    f["entry"].as_i64(),
                )
            })
            .collect()
    }
}

/// One finding of this kind at this entry.
pub fn one(kind: &str, entry: i64) -> Vec<Finding> {
    vec![(kind.to_owned(), Some(entry))]
}
