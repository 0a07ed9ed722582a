//! What monitoring wants to know of the audit trail, in one row.

use super::{entries, lag, publication, sealed_size, verify};
use crate::pg::owner;
use crate::status;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

/// The row behind the view `audit_health`. Times are microseconds since 1970.
///
/// The function can be called by everybody because a view runs its functions as the caller; the right that counts
/// is SELECT on the view.
#[pg_extern(parallel_unsafe)]
fn audit_health_state() -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(unsealed_entries, i64),
            name!(unsealed_bytes, i64),
            name!(oldest_unsealed, Option<i64>),
            name!(sealed_leaves, i64),
            name!(worker_ok, bool),
            name!(worker, String),
            name!(published_leaves, Option<i64>),
            name!(cosigned_leaves, Option<i64>),
            name!(checkpoint_problem, Option<String>),
            name!(trigger_problems, i64),
        ),
    >,
    ErrorReport,
> {
    entries::check_select(c"audit_health")?;
    let lag = lag()?;
    let (sealed, published) = owner::run(|| (sealed_size(), publication()));
    let (worker_ok, worker) = status::worker_state();
    let mut trigger_problems = 0;
    verify::altered_triggers(false, &mut |_| trigger_problems += 1);
    let leaves = |count: u64| count as i64;
    Ok(TableIterator::once((
        leaves(lag.unsealed_entries),
        lag.unsealed_bytes as i64,
        lag.oldest_unsealed,
        sealed.map_or(0, leaves),
        worker_ok,
        worker,
        published.as_ref().map(|state| leaves(state.published)),
        published.as_ref().map(|state| leaves(state.cosigned)),
        published.and_then(|state| state.problem),
        trigger_problems,
    )))
}
