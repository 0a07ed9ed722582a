//! The record of verifications, by which the next one goes on where the last one ended.

use crate::error::{self, Result};
use crate::pg::owner;
use crate::pg::query;
use pgrx::prelude::*;
use ward_log::{AuditMac, Hash, Verification};

/// What the table says.
#[derive(Default)]
pub struct Records {
    /// The newest genuine record of a verification that found nothing.
    pub sound: Option<Verification>,
    /// Numbers of records that were not made with an audit key of this log.
    pub forged: Vec<i64>,
    next: u64,
}

impl Records {
    /// Reads the table with the active snapshot.
    pub fn read(keys: &[AuditMac]) -> Records {
        let mut records = Records::default();
        query::read(
            c"SELECT verification_no, (extract(epoch FROM verified_at) * 1000000)::bigint, \
              convert_to(verified_by, 'UTF8'), from_block, to_block, tree_size, root, violations, mac \
              FROM ward.audit_verification ORDER BY verification_no",
            &[],
            |row| {
                let number = row.int8(1);
                records.next = records.next.max(number as u64 + 1);
                let record = Verification {
                    number: number as u64,
                    verified_at: row.int8(2),
                    verified_by: String::from_utf8(row.bytes(3)).unwrap_or_default(),
                    from_block: row.int8(4) as u64,
                    to_block: row.int8(5) as u64,
                    size: row.int8(6) as u64,
                    root: Hash::try_from(row.bytes(7)).unwrap_or_default(),
                    violations: row.int8(8) as u64,
                };
                let mac = row.bytes(9);
                if !keys.iter().any(|key| record.verify_mac(key, &mac)) {
                    records.forged.push(number);
                } else if record.violations == 0 {
                    records.sound = Some(record);
                }
            },
        );
        records
    }
}

/// Whether there is any record.
pub fn is_any() -> bool {
    let mut any = false;
    query::read(
        c"SELECT 1::bigint FROM ward.audit_verification LIMIT 1",
        &[],
        |_| any = true,
    );
    any
}

/// Adds a record, with the next number. Verifications that end at the same time wait for each other here.
pub fn add(mut record: Verification, key: &AuditMac) -> Result<()> {
    owner::run(|| {
        Spi::run("LOCK TABLE ward.audit_verification IN SHARE ROW EXCLUSIVE MODE")
            .map_err(error::spi)
    })?;
    // with a snapshot that is younger than the lock
    owner::run(|| {
        record.number = Records::read(&[]).next.max(1);
        Spi::run_with_args(
            "INSERT INTO ward.audit_verification (verification_no, verified_at, verified_by, from_block, to_block, \
                 tree_size, root, violations, mac) \
             VALUES ($1, 'epoch'::timestamptz + $2 * interval '1 microsecond', convert_from($3, 'UTF8'), $4, $5, \
                 $6, $7, $8, $9)",
            &[
                (record.number as i64).into(),
                record.verified_at.into(),
                record.verified_by.as_bytes().into(),
                (record.from_block as i64).into(),
                (record.to_block as i64).into(),
                (record.size as i64).into(),
                record.root.as_slice().into(),
                (record.violations as i64).into(),
                record.mac(key).as_slice().into(),
            ],
        )
        .map_err(error::spi)
    })
}
