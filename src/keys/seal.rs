//! MACs for rows outside the registry that are to be trusted as its own are.

use super::authentic::Row;
use super::error::KeyError;
use super::master;

/// What a MAC says about its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// pg_ward wrote the row.
    Authentic,
    /// Something else changed it.
    Altered,
    /// It was written under a master key that is not configured.
    UnknownMaster,
}

/// The MAC of a row under the current master key: what its column `mac` is to hold.
pub fn mac(row: &Row<'_>, id: &[u8; 16]) -> Result<Vec<u8>, KeyError> {
    // As for the registry's own rows: the master key that is the current one by now.
    master::reread();
    master::with(|masters| masters.first().map(|current| row.mac(current, id)))?
        .ok_or(KeyError::NoMaster)
}

/// Whether `mac` is the one of this row.
pub fn verify(row: &Row<'_>, id: &[u8; 16], mac: &[u8]) -> Result<Verdict, KeyError> {
    let Some((master_id, mac)) = mac.split_first_chunk::<8>() else {
        return Ok(Verdict::Altered);
    };
    let verdict = || {
        master::with(
            |masters| match masters.iter().find(|master| master.id() == *master_id) {
                None => Verdict::UnknownMaster,
                Some(master) if row.verify(master, id, mac) => Verdict::Authentic,
                Some(_) => Verdict::Altered,
            },
        )
    };
    // Another session may have seen a new master key, and rewrapped, before this one.
    match verdict()? {
        Verdict::UnknownMaster if master::reread() => verdict(),
        found => Ok(found),
    }
}
