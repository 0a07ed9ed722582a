//! What a superuser can do to the log as a whole: put back what it was, and write another history. Audited table `t`
//! has an integer `id` and a text.

use crate::query::{number, run, seal_and_verify, wait_until};
use postgres::Client;

/// Keeps what is needed to rebuild the log as it is now.
pub fn save(client: &mut Client) {
    run(
        client,
        "CREATE TABLE saved_block AS SELECT * FROM ward.audit_block;
         CREATE TABLE saved_tile AS SELECT * FROM ward.audit_tile",
    );
}

/// Rebuilds the log of that time: leaves, tree, tiles and block rows fit.
pub fn put_back(client: &mut Client, kept: i64) {
    run(
        client,
        &format!(
            "BEGIN;
             DELETE FROM ward.audit_segment_000000 WHERE entry_id >= {kept};
             DELETE FROM ward.audit_tile; INSERT INTO ward.audit_tile SELECT * FROM saved_tile;
             DELETE FROM ward.audit_block; INSERT INTO ward.audit_block SELECT * FROM saved_block;
             DELETE FROM ward.audit_journal_0; DELETE FROM ward.audit_journal_1;
             COMMIT"
        ),
    );
}

/// Writes until the log has more leaves than that. The worker that remembers the former log has to notice first.
pub fn write_on(client: &mut Client, beyond: i64) {
    wait_until("the worker seals the new end of the log", || {
        run(
            client,
            "INSERT INTO t SELECT coalesce(max(id), 0) + 1, 'another story' FROM t",
        );
        let _ = client.batch_execute("SELECT ward.seal_audit_trail()");
        number(client, "SELECT max(tree_size) FROM ward.audit_blocks") > beyond
    });
    seal_and_verify(client);
}
