//! Short ways to ask, for tests that should read like the situation they describe.

use postgres::{Client, Error, Row};
use std::thread;
use std::time::{Duration, Instant};

/// What `ward.verify_audit_trail_integrity()` answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether everything is as it was written.
    pub is_valid: bool,
    /// How many entries were recomputed.
    pub entries_checked: i64,
    /// How many blocks were recomputed.
    pub blocks_checked: i64,
    /// The first entry that is wrong.
    pub first_bad_entry: Option<i64>,
    /// Why.
    pub reason: Option<String>,
}

/// Verifies the whole audit trail.
pub fn verify(client: &mut Client) -> Verdict {
    let row = client
        .query_one("SELECT * FROM ward.verify_audit_trail_integrity()", &[])
        .expect("verify the audit trail");
    Verdict {
        is_valid: row.get("is_valid"),
        entries_checked: row.get("entries_checked"),
        blocks_checked: row.get("blocks_checked"),
        first_bad_entry: row.get("first_bad_entry"),
        reason: row.get("reason"),
    }
}

/// The SQLSTATE of an error the server reported.
pub fn sqlstate(error: &Error) -> &str {
    match error.code() {
        Some(code) => code.code(),
        None => panic!("not an error of the server: {error:?}"),
    }
}

/// The first column of the only row of a query, as text (`NULL` as such).
pub fn text(client: &mut Client, query: &str) -> Option<String> {
    rows(client, query).first().and_then(|row| row.get(0))
}

/// The rows of a query whose columns are read as text.
pub fn rows(client: &mut Client, query: &str) -> Vec<Row> {
    client
        .query(query, &[])
        .unwrap_or_else(|error| panic!("{query}: {error:?}"))
}

/// Waits until `ready` answers true; gives up after 30 seconds with `what`.
pub fn wait_until(what: &str, mut ready: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !ready() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
