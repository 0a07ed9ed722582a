//! Events: entries of the trail that are no change of a row.

use super::{capture, catalog, enable};
use crate::error::{self, Result};
use crate::pg::owner;
pub use ward_log::{Details, Severity};

/// Records an event in the running transaction: it is part of the trail if that commits. `details` is
/// a JSON object without secrets. The log is made if this database has none yet.
pub fn record(event_type: &str, severity: Severity, details: &str) -> Result<()> {
    let details = Details::new(details).map_err(error::format)?;
    if !catalog::exists() {
        owner::run(enable::prepare)?;
    }
    capture::event(event_type, severity, details)
}
