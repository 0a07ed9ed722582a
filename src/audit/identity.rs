//! Whose history the log is: its incarnations, and whether it was left for another one.

use super::salt::SaltPool;
use super::store;
use crate::error::{self, Result};
use crate::pg::{encoding, owner, process, query, snapshot, timeline};
use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;
use std::collections::HashMap;
use ward_log::{Beginning, Snapshot};

/// One incarnation of the log: where it is written, and how it began.
#[derive(Clone)]
pub struct Identity {
    /// Which history this is.
    pub incarnation: [u8; 16],
    /// The cluster's identifier.
    pub system_identifier: u64,
    /// The database.
    pub database_oid: u32,
    /// The timeline it began on.
    pub timeline: u32,
    /// Why it began, as its leaf says it.
    pub reason: String,
    /// How many leaves the log had when the incarnation before was left.
    pub left_at: u64,
    /// Whether transaction ids are counted anew from here on.
    pub new_xids: bool,
    /// How many leaves of the former history are in the log, as somebody has declared.
    pub restored_size: Option<u64>,
}

/// How the log goes on where it is not written any more.
pub enum Succession {
    /// With the same transaction ids.
    Fork(String),
    /// With others.
    NewXids(String),
}

/// The incarnations of the log, the current one last; none when auditing was never enabled.
pub fn incarnations() -> Vec<Identity> {
    // by the one before: every session asks for them, so the query is one that is soon planned
    let mut found = HashMap::new();
    query::read(
        c"SELECT uuid_send(incarnation), convert_to(system_identifier::text, 'UTF8'), \
            database_oid::bigint, timeline, convert_to(reason, 'UTF8'), left_at, new_xids::int::bigint, restored_size, \
            uuid_send(previous) \
          FROM ward.audit_log",
        &[],
        |row| {
            let system = String::from_utf8(row.bytes(2))
                .ok()
                .and_then(|id| id.parse().ok());
            if let (Ok(incarnation), Some(system_identifier)) = (row.bytes(1).try_into(), system) {
                let identity = Identity {
                    incarnation,
                    system_identifier,
                    database_oid: row.int8(3) as u32,
                    timeline: row.int8(4) as u32,
                    reason: String::from_utf8_lossy(&row.bytes(5)).into_owned(),
                    left_at: u64::try_from(row.int8(6)).unwrap_or(0),
                    new_xids: row.int8(7) == 1,
                    restored_size: u64::try_from(row.int8(8)).ok(),
                };
                found.insert(row.bytes(9), identity);
            }
        },
    );
    let mut history: Vec<Identity> = found.remove(&[][..]).into_iter().collect();
    while let Some(next) = history
        .last()
        .and_then(|last| found.remove(&last.incarnation[..]))
    {
        history.push(next);
    }
    history
}

/// The current incarnation.
pub fn identity() -> Option<Identity> {
    incarnations().pop()
}

/// The incarnations that trailers may name now: those since transaction ids were last counted anew.
pub fn of_this_xid_space(incarnations: &[Identity]) -> &[Identity] {
    let from = incarnations.iter().rposition(|one| one.new_xids);
    &incarnations[from.unwrap_or(0)..]
}

/// The incarnations that a trailer behind leaf `first` may name, apart from those that begin there or later.
pub fn incarnations_at(first: u64) -> Vec<Identity> {
    let mut begun = incarnations();
    let count = begun.iter().take_while(|one| one.left_at < first).count();
    begun.truncate(count.max(1));
    of_this_xid_space(&begun).to_vec()
}

/// Makes `identity` the current incarnation, after `previous`. Does nothing when another session was
/// first.
pub fn put_incarnation(identity: &Identity, previous: Option<[u8; 16]>) -> Result<()> {
    let uuid = pgrx::Uuid::from_bytes;
    // for people only, and no reason to fail: the leaf has it whole
    let reason: String = identity
        .reason
        .chars()
        .map(|c| {
            if c.is_ascii() || encoding::is_utf8() {
                c
            } else {
                '?'
            }
        })
        .collect();
    let args: [DatumWithOid; 9] = [
        uuid(identity.incarnation).into(),
        previous.map(uuid).into(),
        identity.system_identifier.to_string().into(),
        pg_sys::Oid::from(identity.database_oid).into(),
        i64::from(identity.timeline).into(),
        reason.as_str().into(),
        (identity.left_at as i64).into(),
        identity.new_xids.into(),
        identity.restored_size.map(|size| size as i64).into(),
    ];
    Spi::run_with_args(
        "INSERT INTO ward.audit_log (incarnation, previous, system_identifier, database_oid, timeline, \
           reason, left_at, new_xids, restored_size) \
         VALUES ($1, $2, $3::text::numeric, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
        &args,
    )
    .map_err(error::spi)?;
    crate::pg::catalog::invalidate(owner::table(c"audit_log"));
    Ok(())
}

impl Identity {
    /// The first incarnation of a log in this database.
    pub fn new_here() -> Result<Identity> {
        Self::beginning(Beginning::Created.reason(None), 0)
    }

    /// An incarnation that begins in this database, after the former was left with `left_at` leaves.
    pub fn beginning(reason: String, left_at: u64) -> Result<Identity> {
        let (system_identifier, timeline) = process::cluster_identity();
        Ok(Identity {
            incarnation: *uuid::Builder::from_random_bytes(SaltPool::default().next()?)
                .into_uuid()
                .as_bytes(),
            system_identifier,
            database_oid: process::my_database().to_u32(),
            timeline,
            reason,
            left_at,
            new_xids: false,
            restored_size: None,
        })
    }

    /// Whether this incarnation is written in this database of this cluster, on whatever timeline.
    pub fn is_here(&self) -> bool {
        (self.system_identifier, self.database_oid)
            == (
                process::cluster_identity().0,
                process::my_database().to_u32(),
            )
    }

    /// How the log goes on, if this is its current incarnation and `sealed` its last snapshot; None while it is
    /// written where it was. Outside recovery only.
    pub fn succession(&self, sealed: &Snapshot) -> Option<Succession> {
        let (system_identifier, timeline) = process::cluster_identity();
        let database = process::my_database().to_u32();
        if (self.system_identifier, self.database_oid, self.timeline)
            == (system_identifier, database, timeline)
        {
            return None;
        }
        if self.system_identifier != system_identifier || sealed.xmax > snapshot::next_xid() {
            return Some(Succession::NewXids(Beginning::Transferred.reason(None)));
        }
        if self.database_oid != database {
            return Some(Succession::Fork(Beginning::Copied.reason(None)));
        }
        Some(Succession::Fork(
            match timeline::recovery_target(timeline) {
                Some(target) => Beginning::Recovered.reason(Some(&target)),
                None => Beginning::Promoted.reason(None),
            },
        ))
    }

    /// Whether this is the current incarnation of a log that was brought to another cluster and has not begun there:
    /// what is written now could be taken for what was written there.
    pub fn has_other_xids(&self) -> Result<bool> {
        if self.succession(&Snapshot::default()).is_none() {
            return Ok(false);
        }
        let sealed = match store::last_block() {
            Some(block) => Snapshot::parse(&block.snapshot).map_err(error::format)?,
            None => Snapshot::default(),
        };
        Ok(matches!(
            self.succession(&sealed),
            Some(Succession::NewXids(_))
        ))
    }

    /// Whether the database it was written in is another one of this cluster, that still exists.
    pub fn lives_elsewhere(&self) -> bool {
        let here = process::my_database().to_u32();
        if self.system_identifier != process::cluster_identity().0 || self.database_oid == here {
            return false;
        }
        let mut found = false;
        query::read(
            c"SELECT 1::bigint FROM pg_catalog.pg_database WHERE oid::bigint = $1",
            &[query::Arg::Int8(self.database_oid.into())],
            |_| found = true,
        );
        found
    }
}
