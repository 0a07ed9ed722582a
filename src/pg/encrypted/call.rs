//! One call of an SQL function, by PostgreSQL's version 1 convention. All functions here are STRICT.

use crate::encrypted::Error;
use crate::error;
use crate::pg::heap;
use pgrx::prelude::*;
use std::ffi::CStr;

/// The arguments of a call.
pub struct Call(pg_sys::FunctionCallInfo);

impl Call {
    /// # Safety
    /// `fcinfo` is the one the function manager passed to a function with the arguments asked for.
    pub unsafe fn new(fcinfo: pg_sys::FunctionCallInfo) -> Self {
        Self(fcinfo)
    }

    /// An argument as it came.
    pub fn datum(&self, number: usize) -> pg_sys::Datum {
        // SAFETY: the promise of `new`: there are as many arguments.
        unsafe { (*(*self.0).args.as_ptr().add(number)).value }
    }

    /// An argument of type integer.
    pub fn int4(&self, number: usize) -> i32 {
        self.datum(number).value() as i32
    }

    /// An argument of type cstring.
    pub fn cstring(&self, number: usize) -> &CStr {
        // SAFETY: the promise of `new`: the declared type is cstring, which is NUL-terminated and
        // lives as long as the call.
        unsafe { CStr::from_ptr(self.datum(number).cast_mut_ptr()) }
    }

    /// Calls `f` with the content of an argument whose type is a varlena.
    pub fn with_bytes<R>(&self, number: usize, f: impl FnOnce(&[u8]) -> R) -> R {
        // SAFETY: the promise of `new`: the declared type is a varlena, and not NULL as the function
        // is STRICT.
        unsafe { heap::with_bytes(self.datum(number), f) }
    }
}

/// The result of a call: raises what was refused.
pub fn answer(result: Result<pg_sys::Datum, Error>) -> pg_sys::Datum {
    result.unwrap_or_else(|refused| error::raise(refused.into()))
}

/// A result of type cstring, filled by `write`.
pub fn cstring(
    len: usize,
    write: impl FnOnce(&mut [u8]) -> Result<(), Error>,
) -> Result<pg_sys::Datum, Error> {
    // SAFETY: the allocation is zeroed and one byte longer, so it ends with NUL; nobody else points
    // to it yet.
    unsafe {
        let start = pg_sys::palloc0(len + 1).cast::<u8>();
        write(std::slice::from_raw_parts_mut(start, len))?;
        Ok(pg_sys::Datum::from(start))
    }
}

/// Exports functions to SQL: for each the symbol that tells PostgreSQL its calling convention, its
/// own symbol, and what it does.
macro_rules! sql_functions {
    ($($information:ident, $symbol:ident => $body:expr;)*) => {$(
        #[doc = concat!("The calling convention of `", stringify!($symbol), "`.")]
        #[unsafe(no_mangle)]
        pub extern "C" fn $information() -> &'static pg_sys::Pg_finfo_record {
            const VERSION_1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
            &VERSION_1
        }

        #[doc = concat!("The C side of an SQL function: see sql/encrypted.sql for `", stringify!($symbol), "`.")]
        ///
        /// # Safety
        /// Called by PostgreSQL's function manager.
        #[unsafe(no_mangle)]
        #[pg_guard]
        pub unsafe extern "C-unwind" fn $symbol(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
            // SAFETY: the function manager's; declared in sql/encrypted.sql with these arguments.
            let call = unsafe { $crate::pg::encrypted::call::Call::new(fcinfo) };
            let body: fn(&$crate::pg::encrypted::call::Call) -> Result<pg_sys::Datum, $crate::encrypted::Error> = $body;
            $crate::pg::encrypted::call::answer(body(&call))
        }
    )*};
}
pub(super) use sql_functions;
