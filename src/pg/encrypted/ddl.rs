//! The event trigger that refuses encrypted types without a key.

use crate::encrypted::ddl;
use crate::error;
use pgrx::prelude::*;

/// Tells PostgreSQL the calling convention of `ward_encrypted_ddl`.
#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_ward_encrypted_ddl() -> &'static pg_sys::Pg_finfo_record {
    const VERSION_1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &VERSION_1
}

/// The event trigger's function.
///
/// # Safety
/// Called by PostgreSQL's function manager.
#[unsafe(no_mangle)]
#[pg_guard]
pub unsafe extern "C-unwind" fn ward_encrypted_ddl(
    fcinfo: pg_sys::FunctionCallInfo,
) -> pg_sys::Datum {
    // SAFETY: fcinfo is valid; its context is NULL or a node.
    let fired = unsafe {
        let context = (*fcinfo).context;
        !context.is_null() && (*context).type_ == pg_sys::NodeTag::T_EventTriggerData
    };
    if !fired {
        error::raise(error::report(
            PgSqlErrorCode::ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED,
            "ward.encrypted_ddl() can only run as an event trigger",
        ));
    }
    if let Err(report) = ddl::refuse_without_key() {
        error::raise(report);
    }
    pg_sys::Datum::null()
}
