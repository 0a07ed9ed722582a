//! The accessors that policies call for every row, in the C calling convention: pgrx's wrapper and a
//! copy of the value cost several times what the answer does.

use crate::context::lent::{self, Part};
use crate::error;
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
            // Reads two cells, which cannot panic: no guard.
            let known = lent::known($part);
            if known.is_null() {
                // SAFETY: the caller's promise.
                unsafe { ask(fcinfo, $part) }
            } else {
                pg_sys::Datum::from(known)
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

/// # Safety
/// `fcinfo` is that of the running call.
#[pg_guard]
unsafe extern "C-unwind" fn ask(fcinfo: pg_sys::FunctionCallInfo, part: Part) -> pg_sys::Datum {
    match lent::lend(part) {
        Ok(Some(address)) => pg_sys::Datum::from(address),
        Ok(None) => {
            // SAFETY: the caller's promise.
            unsafe { (*fcinfo).isnull = true };
            pg_sys::Datum::null()
        }
        Err(report) => error::raise(report),
    }
}
