//! The trigger function of audited tables. It is written in the C calling convention because a row
//! costs about a microsecond in all and pgrx's trigger wrapper alone costs more.

use super::encoding;
use super::relation::{Hidden, Row};
use crate::audit::capture;
use crate::error;
use pgrx::prelude::*;
use std::ffi::CStr;
use ward_log::Operation;

/// One firing of the trigger.
pub struct Firing {
    /// The table, open and locked by the statement.
    pub relation: pg_sys::Relation,
    /// What happened.
    pub operation: Operation,
    /// The row before, for UPDATE and DELETE.
    pub old: Option<Row>,
    /// The row after, for INSERT and UPDATE.
    pub new: Option<Row>,
    /// The trigger: its arguments say which columns are hidden.
    pub(super) trigger: *mut pg_sys::Trigger,
}

impl Firing {
    /// The table's oid, and whether the table was truncated.
    pub fn key(&self) -> (pg_sys::Oid, bool) {
        // SAFETY: the relation is open.
        (unsafe { (*self.relation).rd_id }, self.is_truncate())
    }

    /// Whether the table was truncated.
    pub fn is_truncate(&self) -> bool {
        matches!(self.operation, Operation::Truncate)
    }

    /// The columns to hide, from the trigger's arguments: two or three JSON arrays of names.
    pub fn hidden(&self) -> error::Result<Hidden> {
        let list = |number: usize| -> error::Result<Vec<String>> {
            // SAFETY: tgargs holds tgnargs C strings.
            let text = unsafe {
                let trigger = &*self.trigger;
                if number >= trigger.tgnargs as usize {
                    return Ok(Vec::new());
                }
                encoding::to_utf8(CStr::from_ptr(*trigger.tgargs.add(number)))
            };
            serde_json::from_str(&text).map_err(|_| {
                error::report_hint(
                    PgSqlErrorCode::ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
                    "the arguments of the audit trigger are not lists of column names",
                    "Make the trigger anew with ward.enable_audit().",
                )
            })
        };
        Ok(Hidden {
            exclude: list(0)?,
            redact: list(1)?,
            gone: list(2)?,
        })
    }
}

/// Tells PostgreSQL the calling convention of `ward_audit_capture`.
#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_ward_audit_capture() -> &'static pg_sys::Pg_finfo_record {
    const VERSION_1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &VERSION_1
}

/// The trigger function.
///
/// # Safety
/// Called by PostgreSQL's function manager.
#[unsafe(no_mangle)]
#[pg_guard]
pub unsafe extern "C-unwind" fn ward_audit_capture(
    fcinfo: pg_sys::FunctionCallInfo,
) -> pg_sys::Datum {
    // SAFETY: fcinfo is valid; its context is a TriggerData when the node tag says so; slots are
    // valid until the trigger returns.
    let firing = unsafe {
        let context = (*fcinfo).context.cast::<pg_sys::TriggerData>();
        if context.is_null() || (*context).type_ != pg_sys::NodeTag::T_TriggerData {
            error::raise(error::report_hint(
                PgSqlErrorCode::ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
                "ward.audit_capture() can only run as a trigger",
                "Use ward.enable_audit() to audit a table.",
            ));
        }
        firing(&*context)
    };
    if let Err(report) = firing.and_then(|firing| capture::change(&firing)) {
        error::raise(report);
    }
    pg_sys::Datum::null()
}

/// The row trigger of the audit among a table's triggers.
///
/// # Safety
/// `triggers` is NULL or the description of a table's triggers.
pub(super) unsafe fn of_rows(triggers: *mut pg_sys::TriggerDesc) -> Option<*mut pg_sys::Trigger> {
    // SAFETY: the caller's promise.
    unsafe {
        if triggers.is_null() {
            return None;
        }
        (0..(*triggers).numtriggers as usize)
            .map(|at| (*triggers).triggers.add(at))
            .find(|trigger| {
                let by_row = (**trigger).tgtype & pg_sys::TRIGGER_TYPE_ROW as i16 != 0;
                let mut info = pg_sys::FmgrInfo::default();
                by_row && {
                    pg_sys::fmgr_info((**trigger).tgfoid, &mut info);
                    info.fn_addr.is_some_and(|address| {
                        std::ptr::fn_addr_eq(
                            address,
                            ward_audit_capture
                                as unsafe extern "C-unwind" fn(
                                    pg_sys::FunctionCallInfo,
                                )
                                    -> pg_sys::Datum,
                        )
                    })
                }
            })
    }
}

/// # Safety
/// `data` is the TriggerData of the running trigger.
unsafe fn firing(data: &pg_sys::TriggerData) -> error::Result<Firing> {
    let event = data.tg_event;
    let level_row = event & pg_sys::TRIGGER_EVENT_ROW != 0;
    let after = event & pg_sys::TRIGGER_EVENT_TIMINGMASK == pg_sys::TRIGGER_EVENT_AFTER;
    // SAFETY: the caller's promise.
    let row = |slot| unsafe { Row::new(slot) };
    let (operation, old, new) = match (event & pg_sys::TRIGGER_EVENT_OPMASK, level_row, after) {
        (pg_sys::TRIGGER_EVENT_INSERT, true, true) => {
            (Operation::Insert, None, Some(row(data.tg_trigslot)))
        }
        (pg_sys::TRIGGER_EVENT_UPDATE, true, true) => (
            Operation::Update,
            Some(row(data.tg_trigslot)),
            Some(row(data.tg_newslot)),
        ),
        (pg_sys::TRIGGER_EVENT_DELETE, true, true) => {
            (Operation::Delete, Some(row(data.tg_trigslot)), None)
        }
        (pg_sys::TRIGGER_EVENT_TRUNCATE, false, true) => (Operation::Truncate, None, None),
        _ => {
            return Err(error::report_hint(
                PgSqlErrorCode::ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
                "ward.audit_capture() must be an AFTER trigger, for each row or for TRUNCATE",
                "Use ward.enable_audit() to audit a table.",
            ));
        }
    };
    Ok(Firing {
        relation: data.tg_relation,
        operation,
        old,
        new,
        trigger: data.tg_trigger,
    })
}
