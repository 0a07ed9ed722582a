//! How often each key version was used. Counted in shared memory, written to a table now and then:
//! statistics, which a crash may shorten by what was not written yet; not a security bound.

use super::error::KeyError;
use crate::error::{Result, report_hint};
use crate::pg::keys::usage::{self, Counts};
use crate::pg::keys::{process, rows};
use crate::pg::{owner, worker};
use pgrx::datum::TimestampWithTimeZone;
use pgrx::prelude::*;

/// What was counted and is not in the table yet, per key version of this database.
#[pg_extern(volatile, parallel_restricted)]
pub fn key_usage_counts() -> Result<
    TableIterator<
        'static,
        (
            name!(key_id, Vec<u8>),
            name!(encryptions, i64),
            name!(decryptions, i64),
            name!(last_used_at, Option<TimestampWithTimeZone>),
        ),
    >,
> {
    if usage::lost() > 0 {
        pgrx::warning!(
            "{} uses of keys were not counted: the server counts {} key versions at most",
            usage::lost(),
            usage::PLACES
        );
    }
    let rows = counted()?.into_iter().map(|(key_id, counts)| {
        (
            key_id.to_vec(),
            whole(counts.encryptions),
            whole(counts.decryptions),
            time(counts.last_used),
        )
    });
    Ok(TableIterator::new(rows.collect::<Vec<_>>()))
}

/// Writes what was counted to the table. The worker does it by itself, about once a minute.
#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
pub fn flush_key_usage() -> Result<()> {
    if process::in_recovery() {
        return Err(report_hint(
            PgSqlErrorCode::ERRCODE_READ_ONLY_SQL_TRANSACTION,
            "the usage of keys cannot be written on a standby",
            "The view ward.key_usage shows it all the same.",
        ));
    }
    Ok(write()?)
}

/// What the worker calls between two rounds, in a transaction of its own. It must not wait for a session: sealing would
/// wait with it. What cannot be written now is written the next time.
pub fn flush_by_worker() -> Result<()> {
    let table = owner::table(c"encryption_key_usage");
    if !table.is_some_and(worker::try_lock_against_writers) {
        return Ok(());
    }
    Ok(owner::run(write)?)
}

fn write() -> std::result::Result<(), KeyError> {
    let counted = counted()?;
    if counted.iter().all(|(_, counts)| unused(counts)) {
        return Ok(());
    }
    Spi::connect_mut(|client| {
        // One writer at a time: the counts are taken out of shared memory only at its commit.
        client.update(
            "LOCK TABLE ward.encryption_key_usage IN SHARE ROW EXCLUSIVE MODE",
            None,
            &[],
        )?;
        for (key_id, _) in counted {
            let counts = usage::unwritten(key_id);
            if unused(&counts) {
                continue;
            }
            client.update(
                "INSERT INTO ward.encryption_key_usage AS u \
                 (key_id, encryptions, decryptions, last_used_at) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (key_id) DO UPDATE SET \
                     encryptions = u.encryptions + excluded.encryptions, \
                     decryptions = u.decryptions + excluded.decryptions, \
                     last_used_at = greatest(u.last_used_at, excluded.last_used_at)",
                None,
                &[
                    key_id.to_vec().into(),
                    whole(counts.encryptions).into(),
                    whole(counts.decryptions).into(),
                    time(counts.last_used).into(),
                ],
            )?;
            usage::written(key_id, counts);
        }
        Ok(())
    })
}

fn counted() -> std::result::Result<Vec<([u8; 8], Counts)>, KeyError> {
    let rows = rows::read().ok_or(KeyError::NotInstalled)?;
    let ids = rows
        .versions
        .iter()
        .filter_map(|version| version.key_id.as_slice().try_into().ok());
    Ok(ids
        .map(|key_id| (key_id, usage::unwritten(key_id)))
        .collect())
}

fn unused(counts: &Counts) -> bool {
    counts.encryptions == 0 && counts.decryptions == 0
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn time(micros: i64) -> Option<TimestampWithTimeZone> {
    if micros == 0 {
        return None;
    }
    TimestampWithTimeZone::try_from(micros).ok()
}
