//! The accessors that policies call for every row, in the C calling convention: pgrx's wrapper costs
//! several times what the answer does.

use crate::context::lent::{self, Id, Part};
use crate::error;
use crate::pg::unguarded;
use pgrx::prelude::*;

macro_rules! uuid_accessor {
    ($info:ident, $name:ident, $part:expr) => {
        /// Tells PostgreSQL the calling convention.
        #[unsafe(no_mangle)]
        pub extern "C" fn $info() -> &'static pg_sys::Pg_finfo_record {
            const VERSION_1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
            &VERSION_1
        }

        /// The accessor.
        ///
        /// # Safety
        /// Called by PostgreSQL's function manager.
        #[unsafe(no_mangle)]
        pub unsafe extern "C-unwind" fn $name(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
            // Reads two cells and asks for memory, which cannot panic: no guard.
            match lent::known($part).and_then(copy) {
                Some(known) => known,
                // SAFETY: the caller's promise.
                None => unsafe { ask(fcinfo, $part) },
            }
        }
    };
}

uuid_accessor!(
    pg_finfo_ward_current_tenant_id,
    ward_current_tenant_id,
    Part::Tenant
);
uuid_accessor!(
    pg_finfo_ward_current_user_id,
    ward_current_user_id,
    Part::User
);

/// The UUID in the caller's memory context, for as long as the caller needs it: an argument of CALL outlives
/// the transaction. None for want of memory.
#[inline]
fn copy(id: Id) -> Option<pg_sys::Datum> {
    let place = unguarded::zeroed(id.len())?;
    // SAFETY: the place is new and has as many bytes.
    unsafe { place.cast::<Id>().write_unaligned(id) };
    Some(pg_sys::Datum::from(place))
}

/// # Safety
/// `fcinfo` is that of the running call.
#[pg_guard]
unsafe extern "C-unwind" fn ask(fcinfo: pg_sys::FunctionCallInfo, part: Part) -> pg_sys::Datum {
    match lent::lend(part) {
        Ok(Some(id)) => copy(id).unwrap_or_else(|| {
            error::raise(error::report(
                PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY,
                "out of memory for an identity of the context",
            ))
        }),
        Ok(None) => {
            // SAFETY: the caller's promise.
            unsafe { (*fcinfo).isnull = true };
            pg_sys::Datum::null()
        }
        Err(report) => error::raise(report),
    }
}
