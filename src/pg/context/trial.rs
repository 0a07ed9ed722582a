//! Trying statements as another role, and undoing them.

use crate::pg::encoding;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::prelude::*;
use std::ffi::{CString, c_int};
use std::panic::AssertUnwindSafe;

/// Why a statement failed.
pub struct Failure {
    /// Its SQLSTATE.
    pub code: String,
    /// The C function that raised it, which tells a policy's refusal from a missing right.
    pub routine: String,
    /// Its message, which is never shown: it may hold a value of a row.
    message: String,
}

impl Failure {
    /// Whether a policy of the table of this name refused the new row, after [`untranslated`].
    pub fn is_refusal_by_policy_of(&self, table: &str) -> bool {
        self.code == "42501"
            && self.routine == "ExecWithCheckOptions"
            && self.message.ends_with(&format!(" for table \"{table}\""))
    }
}

/// A row that statements are tried with.
pub struct Sample {
    /// The table it is in, a partition perhaps.
    pub table: pg_sys::Oid,
    ctid: pg_sys::Datum,
    row: pg_sys::Datum,
}

/// What a statement refers to.
pub enum Argument<'a> {
    /// The table of a sample, as oid.
    Table(&'a Sample),
    /// The place of a sample, as tid.
    Place(&'a Sample),
    /// The row of a sample, as a row of the table of this type.
    Row(&'a Sample, pg_sys::Oid),
    /// A transaction id.
    Xid(u32),
}

/// Runs `work` in a subtransaction that is rolled back, whatever happens in it. Cancellation,
/// shutdown, and what is wrong with the server are not caught.
pub fn rolled_back<R>(work: impl FnOnce() -> R) -> Result<R, Failure> {
    // SAFETY: as PL/pgSQL does it: the subtransaction ends on every way out but a rethrown error,
    // which ends the transaction; memory context and resource owner are those from before.
    unsafe {
        let context = pg_sys::CurrentMemoryContext;
        let owner = pg_sys::CurrentResourceOwner;
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::MemoryContextSwitchTo(context);
        let result = pgrx::PgTryBuilder::new(AssertUnwindSafe(|| Ok(work())))
            .catch_others(|caught| {
                let failure = match &caught {
                    CaughtError::PostgresError(report) | CaughtError::ErrorReport(report) => {
                        Failure {
                            code: sqlstate(report.sql_error_code() as c_int),
                            routine: report.function_name().unwrap_or_default().to_owned(),
                            message: report.message().to_owned(),
                        }
                    }
                    CaughtError::RustPanic { .. } => caught.rethrow(),
                };
                if ["53", "57", "58", "XX"].contains(&&failure.code[..2]) {
                    caught.rethrow();
                }
                Err(failure)
            })
            .execute();
        pg_sys::RollbackAndReleaseCurrentSubTransaction();
        pg_sys::MemoryContextSwitchTo(context);
        pg_sys::CurrentResourceOwner = owner;
        result
    }
}

/// The five characters of a SQLSTATE, six bits each.
fn sqlstate(code: c_int) -> String {
    (0..5)
        .map(|place| {
            let six = (code >> (6 * place)) & 0x3F;
            char::from(u8::try_from(six).unwrap_or(0) + b'0')
        })
        .collect()
}

/// Has messages in their original words until the subtransaction ends, so that they can be told apart.
pub fn untranslated() {
    // SAFETY: NUL-terminated names and values, which are copied; the end of the subtransaction
    // restores the setting.
    unsafe {
        pg_sys::set_config_option(
            c"lc_messages".as_ptr(),
            c"C".as_ptr(),
            pg_sys::GucContext::PGC_SUSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_LOCAL,
            true,
            0,
            false,
        );
    }
}

/// Runs `work` as `role`, which cannot go back by itself. For use in [`rolled_back`], which also
/// restores the user after an error.
pub fn as_role<R>(role: pg_sys::Oid, work: impl FnOnce() -> R) -> R {
    // SAFETY: inside a subtransaction, whose end restores the user on errors.
    unsafe {
        let mut user = pg_sys::InvalidOid;
        let mut security = 0;
        pg_sys::GetUserIdAndSecContext(&mut user, &mut security);
        pg_sys::SetUserIdAndSecContext(
            role,
            security | pg_sys::SECURITY_LOCAL_USERID_CHANGE as c_int,
        );
        let result = work();
        pg_sys::SetUserIdAndSecContext(user, security);
        result
    }
}

/// Runs one statement; answers how many rows it found or changed.
pub fn run(statement: &str, arguments: &[Argument]) -> u64 {
    execute(statement, arguments, |processed| processed)
}

/// Finds a row: the statement selects its table, its place, and the row.
pub fn sample(statement: &str) -> Option<Sample> {
    execute(statement, &[], |processed| {
        (processed > 0).then(|| {
            // SAFETY: SPI holds at least one row of three columns that are not NULL; the values are
            // copied to the memory context of the caller.
            unsafe {
                let table = pg_sys::SPI_tuptable;
                let (tuple, desc) = (*(*table).vals, (*table).tupdesc);
                let mut null = false;
                let oid = pg_sys::SPI_getbinval(tuple, desc, 1, &mut null);
                let ctid = pg_sys::SPI_getbinval(tuple, desc, 2, &mut null);
                let row = pg_sys::SPI_getbinval(tuple, desc, 3, &mut null);
                Sample {
                    table: pg_sys::Oid::from(oid.value() as u32),
                    ctid: pg_sys::SPI_datumTransfer(ctid, false, size_of_tid()),
                    row: pg_sys::SPI_datumTransfer(row, false, -1),
                }
            }
        })
    })
}

fn size_of_tid() -> c_int {
    c_int::try_from(size_of::<pg_sys::ItemPointerData>()).unwrap_or(6)
}

fn execute<R>(statement: &str, arguments: &[Argument], take: impl FnOnce(u64) -> R) -> R {
    let statement: CString = encoding::from_utf8(statement).unwrap_or_default();
    let mut types: Vec<pg_sys::Oid> = Vec::new();
    let mut values: Vec<pg_sys::Datum> = Vec::new();
    for argument in arguments {
        let (type_oid, value) = match argument {
            Argument::Table(sample) => (pg_sys::OIDOID, pg_sys::Datum::from(sample.table)),
            Argument::Place(sample) => (pg_sys::TIDOID, sample.ctid),
            Argument::Row(sample, type_oid) => (*type_oid, sample.row),
            Argument::Xid(xid) => (pg_sys::XIDOID, pg_sys::Datum::from(*xid)),
        };
        types.push(type_oid);
        values.push(value);
    }
    // SAFETY: as many types as values, none NULL, each of its type; what SPI holds is used before it
    // is freed. After an error the end of the subtransaction closes SPI.
    unsafe {
        pg_sys::SPI_connect();
        let count = c_int::try_from(types.len()).unwrap_or(0);
        pg_sys::SPI_execute_with_args(
            statement.as_ptr(),
            count,
            types.as_mut_ptr(),
            values.as_mut_ptr(),
            std::ptr::null(),
            false,
            0,
        );
        let result = take(pg_sys::SPI_processed);
        pg_sys::SPI_finish();
        result
    }
}

/// The type of the rows of a table.
pub fn row_type(table: pg_sys::Oid) -> pg_sys::Oid {
    // SAFETY: a catalog look-up that gives the invalid oid for an unknown one.
    unsafe { pg_sys::get_rel_type_id(table) }
}

/// The id of the current subtransaction, assigned if it has none.
pub fn subtransaction_xid() -> u32 {
    // SAFETY: inside a transaction that may write.
    unsafe { pg_sys::GetCurrentTransactionId() }.into_inner()
}
