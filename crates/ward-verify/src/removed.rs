//! What the log says was taken out of it.

use crate::outcome::shown;
use serde::Serialize;
use std::fmt;
use ward_log::Summary;

/// A range of entries that was pruned.
#[derive(Debug, Clone, Serialize)]
pub struct Pruned {
    /// The entry that says so.
    pub entry: u64,
    /// The first entry of the range.
    pub first: u64,
    /// The last one.
    pub last: u64,
    /// How many of them are missing.
    pub missing: u64,
}

/// A record of which the values were erased.
#[derive(Debug, Clone, Serialize)]
pub struct Erased {
    /// The entry that says so.
    pub entry: u64,
    /// The table.
    pub table: String,
    /// The record.
    pub record_id: String,
    /// Why.
    pub reason: String,
    /// How many of its entries lack their values.
    pub missing: u64,
}

/// What was removed, and is accounted for.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Removed {
    /// How many entries are missing because they were pruned.
    pub pruned_entries: u64,
    /// The ranges, the first 1,000.
    pub pruned: Vec<Pruned>,
    /// How many entries say that a record was erased.
    pub erasures: u64,
    /// How many entries lack their values because of that.
    pub erased_values: u64,
    /// The records, the first 1,000.
    pub erased: Vec<Erased>,
}

impl Removed {
    /// What a verification has found.
    pub fn of(summary: &Summary) -> Self {
        let pruned = summary.pruned.iter().map(|range| Pruned {
            entry: range.entry,
            first: range.from,
            last: range.to.saturating_sub(1),
            missing: range.missing,
        });
        let erased = summary.erased.iter().map(|record| Erased {
            entry: record.entry,
            table: format!("{}.{}", record.schema, record.table),
            record_id: record.record_id.clone(),
            reason: record.reason.clone(),
            missing: record.images,
        });
        Self {
            pruned_entries: summary.pruned_leaves,
            pruned: pruned.collect(),
            erasures: summary.erasures,
            erased_values: summary.erased_images,
            erased: erased.collect(),
        }
    }
}

impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for range in &self.pruned {
            writeln!(
                f,
                "  pruned       entries {} to {}, as entry {} says; {} of them are missing",
                range.first, range.last, range.entry, range.missing
            )?;
        }
        if self.erasures > 0 {
            writeln!(
                f,
                "  erased       the values of {} entries, as {} entries say",
                self.erased_values, self.erasures
            )?;
        }
        for record in &self.erased {
            writeln!(
                f,
                "               {}, record {}: {} entries, as entry {} says: {}",
                shown(&record.table),
                shown(&record.record_id),
                record.missing,
                record.entry,
                shown(&record.reason)
            )?;
        }
        Ok(())
    }
}
