//! Short ways to ask, for tests that should read like the situation they describe.

use postgres::error::DbError;
use postgres::{Client, Row};
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

/// The first column of the first row of a query, which must be text.
pub fn text(client: &mut Client, query: &str) -> Option<String> {
    rows(client, query).first().and_then(|row| row.get(0))
}

/// The first column of every row of a query, which must be text.
pub fn texts(client: &mut Client, query: &str) -> Vec<String> {
    rows(client, query).iter().map(|row| row.get(0)).collect()
}

/// The number a query answers, which must be a bigint.
pub fn number(client: &mut Client, query: &str) -> i64 {
    rows(client, query)[0].get(0)
}

/// Runs statements that must succeed.
pub fn run(client: &mut Client, statements: &str) {
    client
        .batch_execute(statements)
        .unwrap_or_else(|error| panic!("{statements}: {error:?}"));
}

/// Runs statements that the server must refuse; answers its error.
pub fn refused(client: &mut Client, statements: &str) -> DbError {
    match client.batch_execute(statements) {
        Ok(()) => panic!("the server allowed: {statements}"),
        Err(error) => match error.as_db_error() {
            Some(error) => error.clone(),
            None => panic!("not an error of the server: {error:?}"),
        },
    }
}

/// Seals, verifies, and fails the test unless everything is valid.
pub fn seal_and_verify(client: &mut Client) -> Verdict {
    run(client, "SELECT ward.seal_audit_trail()");
    let verdict = verify(client);
    assert!(verdict.is_valid, "{verdict:?}");
    verdict
}

fn rows(client: &mut Client, query: &str) -> Vec<Row> {
    client
        .query(query, &[])
        .unwrap_or_else(|error| panic!("{query}: {error:?}"))
}

/// Seals, and answers the changes of rows, as `operation table record`, in order.
pub fn changes(client: &mut Client) -> Vec<String> {
    seal_and_verify(client);
    texts(
        client,
        "SELECT concat_ws(' ', operation, table_name, record_id)
         FROM ward.audit_trail WHERE operation <> 'EVENT' ORDER BY entry_id",
    )
}

/// Waits until no worker seals any more. Where `ward.seal_interval` is long, none comes then before it is asked for.
pub fn wait_until_sealers_left(client: &mut Client) {
    let sealers = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_ward sealer'";
    wait_until("the sealing workers have left", || {
        number(client, sealers) == 0
    });
}

/// Waits until `ready` answers true; gives up with `what` after a time that is long for a slow machine, too, and for
/// what the server tries again only after a minute.
pub fn wait_until(what: &str, mut ready: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(180);
    while !ready() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
