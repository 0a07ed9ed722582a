//! The function behind the view audit_trail.

use super::trail;
use crate::error::{self, Result};
use crate::pg::srf::Rows;
use crate::pg::{access, owner};
use pgrx::prelude::*;
use std::ffi::CStr;

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
    check_select(c"audit_trail")
}

/// Refuses whoever may not select from a view of the extension.
pub fn check_select(name: &CStr) -> Result<()> {
    let shown = name.to_string_lossy();
    let view = owner::table(name).ok_or_else(|| {
        error::report(
            PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
            format!("the view ward.{shown} is missing"),
        )
    })?;
    if !access::may_select(view) {
        return Err(error::report_hint(
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            format!("permission denied for view {shown}"),
            format!("The right to read it is GRANT SELECT ON ward.{shown}."),
        ));
    }
    Ok(())
}
