//! `ward.status()`: how each part stands, and what to do.

use crate::error::Result;
use crate::pg::{owner, process, shared};
use crate::{audit, keys};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use std::sync::atomic::Ordering;

pgrx::extension_sql_file!(
    "../sql/status.sql",
    name = "ward_status",
    requires = [status]
);

type Row = (String, bool, String, Option<String>);

/// One row per part: master key, worker, seal lag, checkpoints, settings.
#[pg_extern(parallel_unsafe)]
fn status() -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(part, String),
            name!(ok, bool),
            name!(state, String),
            name!(what_to_do, Option<String>),
        ),
    >,
    ErrorReport,
> {
    Ok(TableIterator::new([
        master_key(),
        worker(),
        seal_lag()?,
        checkpoints()?,
        settings(),
    ]))
}

fn row(part: &str, state: String, what_to_do: Option<&str>) -> Row {
    (
        part.to_owned(),
        what_to_do.is_none(),
        state,
        what_to_do.map(str::to_owned),
    )
}

fn master_key() -> Row {
    let master = keys::master_status();
    if master.ids.is_empty() {
        return row(
            "master key",
            "not configured".to_owned(),
            Some(
                "Set ward.master_key_file in postgresql.conf to a file with 64 hex digits that only the server's user can read, and restart.",
            ),
        );
    }
    let state = format!("from {}, id {}", master.source, master.ids.join(", "));
    let advice = (master.source == "environment").then_some(
        "PG_WARD_MASTER_KEY is meant for development: use ward.master_key_file or ward.master_key_command.",
    );
    row("master key", state, advice)
}

fn worker() -> Row {
    if process::in_recovery() {
        return row("worker", "not needed on a standby".to_owned(), None);
    }
    let launcher = shared::get().launcher.load(Ordering::Acquire);
    if !process::alive(launcher) {
        return row(
            "worker",
            "the launcher is not running".to_owned(),
            Some("See the server's log; max_worker_processes may be too low."),
        );
    }
    match shared::mine() {
        None => row(
            "worker",
            format!("all {} places are taken by other databases", shared::SLOTS),
            Some(
                "Entries of this database are kept, but not sealed. Use fewer audited databases per cluster.",
            ),
        ),
        Some(slot) if slot.failing.load(Ordering::Acquire) => row(
            "worker",
            "the last round of sealing failed".to_owned(),
            Some("The server's log says why; the worker tries again every few seconds."),
        ),
        Some(slot) if slot.worker.load(Ordering::Acquire) != 0 => {
            row("worker", "sealing".to_owned(), None)
        }
        Some(_) => row("worker", "waiting for work".to_owned(), None),
    }
}

/// Whether sealing goes on, and how it stands.
pub fn worker_state() -> (bool, String) {
    let (_, ok, state, _) = worker();
    (ok, state)
}

fn seal_lag() -> Result<Row> {
    let lag = audit::lag()?;
    if !lag.has_log {
        return Ok(row("seal lag", "no table is audited".to_owned(), None));
    }
    let age = lag
        .last_block_age
        .map_or("never".to_owned(), |seconds| format!("{seconds:.0} s ago"));
    let state = format!(
        "{} bytes of entries not sealed, last block {age}",
        lag.unsealed_bytes
    );
    let late = lag.unsealed_bytes > 0 && lag.last_block_age.is_none_or(|seconds| seconds > 60.0);
    Ok(row(
        "seal lag",
        state,
        late.then_some("A long transaction or a failing worker holds sealing up: see the row \"worker\" and pg_stat_activity."),
    ))
}

fn checkpoints() -> Result<Row> {
    let state = |size: u64| -> Result<Row> {
        let Some(state) = audit::publication() else {
            return Ok(row("checkpoints", "nothing is sealed yet".to_owned(), None));
        };
        if let Some(problem) = state.problem {
            let advice = "The server signs nothing until this is mended: see docs/errors.md.";
            return Ok(row("checkpoints", problem, Some(advice)));
        }
        if !state.leaves {
            let text = format!(
                "{size} leaves can be signed with ward.audit_checkpoint(); publishing is up to you"
            );
            return Ok(row("checkpoints", text, None));
        }
        let cosigned = match state.cosigned {
            0 => String::new(),
            leaves => format!(", {leaves} cosigned"),
        };
        let text = format!("{} of {size} leaves published{cosigned}", state.published);
        Ok(row("checkpoints", text, None))
    };
    owner::run(|| match audit::sealed_size() {
        None => Ok(row("checkpoints", "nothing is sealed yet".to_owned(), None)),
        Some(size) => state(size),
    })
}

fn settings() -> Row {
    let durable =
        crate::pg::settings::is_on(c"fsync") && crate::pg::settings::is_on(c"full_page_writes");
    row(
        "settings",
        if durable {
            "durable".to_owned()
        } else {
            "fsync or full_page_writes is off".to_owned()
        },
        (!durable).then_some("A crash can tear the log's tables: set both to on."),
    )
}
