//! Retention: how long entries are kept, and what may be taken out of the log (docs/log-format.md, section 13).
//!
//! A function checks the rules and writes a leaf into the caller's transaction. The sealer checks them again. The
//! worker then removes what the leaf says, when every snapshot in use sees the leaf.

mod count;
pub mod erase;
mod orders;
mod perform;
mod policy;
pub mod shown;

pub use orders::Orders;
pub use perform::perform;
pub use policy::published;

use super::{capture, catalog, enable, store, worker};
use crate::error::{self, Result};
use crate::pg::process::EPOCH_SHIFT;
use crate::pg::{owner, process, query};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use ward_log::{PruneLeaf, RetentionLeaf};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// Sets how long entries are kept at least. Returns when that takes effect.
#[pg_extern(parallel_unsafe)]
fn set_audit_retention(period: Option<Interval>) -> Result<TimestampWithTimeZone> {
    let period = period.ok_or_else(|| null("period", "0 keeps entries for ever."))?;
    let period = micros(&period)?;
    begin()?;
    let (occurred_at, effective_at) = owner::run(|| {
        let now = policy::now();
        (now, policy::load().earliest(period, now))
    });
    let shown = timestamp(effective_at)?;
    capture::order(occurred_at, |frame, out| {
        RetentionLeaf {
            frame,
            period,
            effective_at,
        }
        .encode(out);
    })?;
    Ok(shown)
}

/// Has the segments pruned whose entries are all older than `before` and than the retention period. Returns how many.
#[pg_extern(parallel_unsafe)]
fn prune_audit_trail(before: Option<TimestampWithTimeZone>) -> Result<i64> {
    let before = before.ok_or_else(|| null("before", "Entries older than this are pruned."))?;
    let before = pg_sys::TimestampTz::from(before).saturating_add(EPOCH_SHIFT);
    begin()?;
    let now = owner::run(policy::now);
    let Some(plan) = owner::run(|| plan(before, now))? else {
        return Ok(0);
    };
    capture::order(now, |frame, out| {
        PruneLeaf {
            frame,
            // what was pruned before, too: the leaf that says so may go with these
            from: 0,
            to: plan.to,
            root: plan.root,
            checkpoint_size: plan.checkpoint_size,
            period: plan.period,
        }
        .encode(out);
    })?;
    Ok(plan.segments as i64)
}

/// Makes the log if there is none, lets nobody else give orders until the transaction ends, and has everything that
/// was ordered before take effect.
fn begin() -> Result<()> {
    if process::in_recovery() {
        return Err(error::report_hint(
            PgSqlErrorCode::ERRCODE_READ_ONLY_SQL_TRANSACTION,
            "the audit trail cannot be pruned, erased or given a period on a standby",
            "Call the function on the primary.",
        ));
    }
    if !catalog::exists() {
        owner::run(enable::prepare)?;
    }
    policy::lock()?;
    worker::request::seal_audit_trail()?;
    Ok(())
}

/// What a prune leaf is to say.
struct Plan {
    /// How many segments go that are still there.
    segments: u64,
    to: u64,
    root: ward_log::Hash,
    checkpoint_size: u64,
    period: i64,
}

/// The segments to prune, from the first that is there on; none when the first is not to be pruned yet.
fn plan(before: i64, now: i64) -> Result<Option<Plan>> {
    let policy = policy::load();
    let period = policy.in_force(now);
    if period == 0 {
        let hint = match policy.to_follow(now) {
            Some((_, at)) => format!(
                "The retention period takes effect {} seconds from now.",
                (at - now) / SECOND + 1
            ),
            None => "Set a retention period with ward.set_audit_retention().".to_owned(),
        };
        return Err(error::report_hint(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "nothing can be pruned: entries are kept for ever",
            hint,
        ));
    }
    if before > now.saturating_sub(period) {
        return Err(error::report_hint(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            "entries of the retention period cannot be pruned: \"before\" is too late",
            "SELECT period FROM ward.audit_retention shows the period in force. A shorter one takes effect after it.",
        ));
    }
    let bits = store::segment_bits();
    let size = store::last_block().map_or(0, |block| block.tree_size);
    let first = first_segment();
    let mut number = first;
    while ((number + 1) << bits) <= size && policy::time_of((number + 1) << bits) <= before {
        number += 1;
    }
    if number == first {
        pgrx::notice!(
            "segment {first} is not pruned: it is not full, or holds entries that are not older"
        );
        return Ok(None);
    }
    let published = policy::published(0)?.unwrap_or(0);
    let covered = number.min(published >> bits);
    if covered <= first {
        return Err(error::report_hint(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("segment {first} cannot be pruned: no published checkpoint covers it"),
            "Checkpoints are published every ward.checkpoint_interval; ward.checkpoint_file or ward.checkpoint_command \
             take them outside the server.",
        ));
    }
    if covered < number {
        pgrx::notice!("segment {covered} is not pruned: no published checkpoint covers it");
    }
    let to = covered << bits;
    let root = store::root_at(to).ok_or_else(|| {
        error::report_hint(
            PgSqlErrorCode::ERRCODE_DATA_CORRUPTED,
            "nothing is pruned: the log's stored hashes are not complete",
            "SELECT * FROM ward.audit_violations() says where.",
        )
    })?;
    Ok(Some(Plan {
        segments: covered - first,
        to,
        root,
        checkpoint_size: published,
        period,
    }))
}

/// The first segment that is not pruned, nor ordered to be.
fn first_segment() -> u64 {
    let mut end = 0;
    query::read(
        c"SELECT coalesce(max(to_entry), 0) FROM ward.audit_removal WHERE kind = 'prune'",
        &[],
        |row| end = row.int8(1) as u64,
    );
    end >> store::segment_bits()
}

/// How retention stands.
#[pg_extern(parallel_unsafe)]
#[allow(clippy::type_complexity)]
fn audit_retention_state() -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(period, Option<Interval>),
            name!(next_period, Option<Interval>),
            name!(next_from, Option<TimestampWithTimeZone>),
            name!(segments, i64),
            name!(prunable_segments, i64),
            name!(pruned_entries, i64),
            name!(erasures, i64),
            name!(erased_images, i64),
            name!(unfinished, i64),
        ),
    >,
    ErrorReport,
> {
    super::entries::check_reader()?;
    let row = owner::run(|| -> Result<_> {
        let now = policy::now();
        let policy = policy::load();
        let follows = policy.to_follow(now);
        let mut counts = [0i64; 5];
        query::read(
            c"SELECT (SELECT count(*) FROM ward.audit_segment), \
                     coalesce(sum(removed) FILTER (WHERE kind = 'prune'), 0)::bigint, \
                     count(*) FILTER (WHERE kind = 'erase'), \
                     coalesce(sum(removed) FILTER (WHERE kind = 'erase'), 0)::bigint, \
                     count(*) FILTER (WHERE performed_at IS NULL) \
              FROM ward.audit_removal",
            &[],
            |row| counts = std::array::from_fn(|at| row.int8(at as i32 + 1)),
        );
        let [segments, pruned, erasures, images, unfinished] = counts;
        Ok((
            interval(policy.in_force(now))?,
            follows.map_or(Ok(None), |(period, _)| interval(period))?,
            follows.map(|(_, at)| timestamp(at)).transpose()?,
            segments,
            prunable(&policy, now)? as i64,
            pruned,
            erasures,
            images,
            unfinished,
        ))
    })?;
    Ok(TableIterator::once(row))
}

/// How many segments could be pruned now.
fn prunable(policy: &ward_log::RetentionPolicy, now: i64) -> Result<u64> {
    let period = policy.in_force(now);
    if period == 0 {
        return Ok(0);
    }
    let bits = store::segment_bits();
    let end = policy::published(0)?.unwrap_or(0) >> bits;
    let first = first_segment();
    let old = |number: &u64| now.saturating_sub(policy::time_of((number + 1) << bits)) >= period;
    Ok((first..end).take_while(old).count() as u64)
}

/// A period in microseconds, as EXTRACT(EPOCH) counts it: a year has 365.25 days, another month 30.
fn micros(period: &Interval) -> Result<i64> {
    let months = i64::from(period.months());
    let (years, months) = (months / 12, months % 12);
    let micros = years
        .checked_mul(DAY / 4 * 1461)
        .and_then(|sum| sum.checked_add(months * 30 * DAY))
        .and_then(|sum| sum.checked_add(i64::from(period.days()).checked_mul(DAY)?))
        .and_then(|sum| sum.checked_add(period.micros()));
    match micros {
        Some(micros) if micros < 0 => Err(error::report(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            "period must not be negative",
        )),
        Some(micros) if micros <= i64::MAX / 4 => Ok(micros),
        _ => Err(error::report_hint(
            PgSqlErrorCode::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
            "period is too long",
            "0 keeps entries for ever.",
        )),
    }
}

/// Microseconds as an interval of days and less; NULL for 0, which is for ever.
fn interval(micros: i64) -> Result<Option<Interval>> {
    if micros == 0 {
        return Ok(None);
    }
    let days = i32::try_from(micros / DAY).unwrap_or(i32::MAX);
    Interval::new(0, days, micros % DAY)
        .map(Some)
        .map_err(|_| out_of_range())
}

/// Microseconds since 1970 as a time.
fn timestamp(micros: i64) -> Result<TimestampWithTimeZone> {
    TimestampWithTimeZone::try_from(micros.saturating_sub(EPOCH_SHIFT)).map_err(|_| out_of_range())
}

fn out_of_range() -> ErrorReport {
    error::report(
        PgSqlErrorCode::ERRCODE_DATETIME_FIELD_OVERFLOW,
        "the retention period ends at a time that PostgreSQL cannot show",
    )
}

fn null(argument: &str, hint: &str) -> ErrorReport {
    error::report_hint(
        PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
        format!("{argument} must not be NULL"),
        hint,
    )
}
