//! The function behind the view audit_trail.

use super::trail;
use crate::error::{self, Result};
use crate::pg::srf::Rows;
use crate::pg::{access, owner};
use pgrx::prelude::*;

/// Fills `rows` with the trail, if the caller may read it.
///
/// The function can be called by everybody because a view runs its functions as the caller; the
/// right that counts is SELECT on the view.
pub fn entries(rows: &mut Rows) -> Result<()> {
    check_reader()?;
    trail::read(rows)
}

/// Refuses whoever may not read the trail.
pub fn check_reader() -> Result<()> {
    let view = owner::table(c"audit_trail").ok_or_else(|| {
        error::report(
            PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
            "the view ward.audit_trail is missing",
        )
    })?;
    if !access::may_select(view) {
        return Err(error::report_hint(
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            "permission denied for view audit_trail",
            "The right to read the trail is GRANT SELECT ON ward.audit_trail.",
        ));
    }
    Ok(())
}
