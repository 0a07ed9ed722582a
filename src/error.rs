//! How every part reports an error: a proper SQLSTATE, what was wrong, and how to mend it.
//! Messages never carry a secret or a row value, because the server logs them.

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

/// The result of every SQL-callable function.
pub type Result<T> = std::result::Result<T, ErrorReport>;

/// An error report without a hint.
#[track_caller]
pub fn report(code: PgSqlErrorCode, message: impl Into<String>) -> ErrorReport {
    ErrorReport::new(code, message.into(), "")
}

/// An error report with a hint: what the reader can do about it.
#[track_caller]
pub fn report_hint(
    code: PgSqlErrorCode,
    message: impl Into<String>,
    hint: impl Into<String>,
) -> ErrorReport {
    report(code, message).set_hint(hint.into())
}

/// Raises `error` as a PostgreSQL ERROR, for callbacks that cannot return a `Result`.
#[track_caller]
pub fn raise(error: ErrorReport) -> ! {
    std::panic::panic_any(error)
}

/// A value that the log's format cannot hold.
pub fn format(error: ward_log::FormatError) -> ErrorReport {
    report(
        PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
        format!("the audit log cannot hold this change: {error}"),
    )
}

/// A failure of one of the extension's own queries.
pub fn spi(error: pgrx::spi::SpiError) -> ErrorReport {
    report(
        PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
        format!("an internal query of pg_ward failed: {error}"),
    )
}
