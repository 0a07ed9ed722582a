//! The event triggers that follow changes of tables. They look at the statement first, so that all
//! other statements cost next to nothing and cannot fail here.

pub mod reassign;
mod statement;

pub use statement::{Action, Membership, Statement};

use crate::audit::enable;
use crate::error;
use crate::pg::encoding;
use pgrx::prelude::*;
use std::ffi::CStr;

/// What happened.
pub enum Event {
    /// A command ended.
    End(Statement),
    /// A command dropped something. Its tag.
    Drop(Statement, String),
    /// A command is about to rewrite the rows of a table.
    Rewrite,
}

/// Tells PostgreSQL the calling convention of `ward_audit_ddl`.
#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_ward_audit_ddl() -> &'static pg_sys::Pg_finfo_record {
    const VERSION_1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &VERSION_1
}

/// The event triggers' function.
///
/// # Safety
/// Called by PostgreSQL's function manager.
#[unsafe(no_mangle)]
#[pg_guard]
pub unsafe extern "C-unwind" fn ward_audit_ddl(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: fcinfo is valid; its context is an EventTriggerData when the node tag says so.
    let event = unsafe {
        let context = (*fcinfo).context.cast::<pg_sys::EventTriggerData>();
        if context.is_null() || (*context).type_ != pg_sys::NodeTag::T_EventTriggerData {
            error::raise(error::report(
                PgSqlErrorCode::ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED,
                "ward.audit_ddl() can only run as an event trigger",
            ));
        }
        event(&*context)
    };
    if let Err(report) = enable::follow(&event) {
        error::raise(report);
    }
    pg_sys::Datum::null()
}

/// # Safety
/// `data` is the EventTriggerData of the running event trigger.
unsafe fn event(data: &pg_sys::EventTriggerData) -> Event {
    // SAFETY: the caller's promise: a C string, a parse tree, and a tag, whose name is a constant.
    unsafe {
        let name = CStr::from_ptr(data.event);
        if name == c"table_rewrite" {
            return Event::Rewrite;
        }
        let statement = Statement::of(data.parsetree);
        if name == c"sql_drop" {
            let tag = encoding::to_utf8(CStr::from_ptr(pg_sys::GetCommandTagName(data.tag)));
            Event::Drop(statement, tag)
        } else {
            Event::End(statement)
        }
    }
}
