//! The trigger that keeps the new column of a conversion in step while others write the table.

use super::table::{Column, Value, column};
use crate::columns::Transform;
use crate::error::{self, Result};
use pgrx::prelude::*;
use std::ffi::{CStr, c_int};

/// Tells PostgreSQL the calling convention of `ward_keep_in_step`.
#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_ward_keep_in_step() -> &'static pg_sys::Pg_finfo_record {
    const VERSION_1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &VERSION_1
}

/// The trigger function: its two arguments name the old column and the new one.
///
/// # Safety
/// Called by PostgreSQL's function manager.
#[unsafe(no_mangle)]
#[pg_guard]
pub unsafe extern "C-unwind" fn ward_keep_in_step(
    fcinfo: pg_sys::FunctionCallInfo,
) -> pg_sys::Datum {
    // SAFETY: fcinfo is valid; its context is a TriggerData when the node tag says so.
    let tuple = unsafe {
        let context = (*fcinfo).context.cast::<pg_sys::TriggerData>();
        if context.is_null() || (*context).type_ != pg_sys::NodeTag::T_TriggerData {
            error::raise(misused());
        }
        step(&*context)
    };
    match tuple {
        Ok(tuple) => pg_sys::Datum::from(tuple),
        Err(report) => error::raise(report),
    }
}

fn misused() -> pgrx::pg_sys::panic::ErrorReport {
    error::report_hint(
        PgSqlErrorCode::ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
        "ward.keep_in_step() can only run as the trigger that a conversion makes",
        "Use ward.encrypt_column or ward.decrypt_column.",
    )
}

/// # Safety
/// `data` is the TriggerData of the running trigger.
unsafe fn step(data: &pg_sys::TriggerData) -> Result<pg_sys::HeapTuple> {
    let event = data.tg_event;
    let before = event & pg_sys::TRIGGER_EVENT_TIMINGMASK == pg_sys::TRIGGER_EVENT_BEFORE;
    let by_row = event & pg_sys::TRIGGER_EVENT_ROW != 0;
    let (tuple, new, old) = match event & pg_sys::TRIGGER_EVENT_OPMASK {
        pg_sys::TRIGGER_EVENT_INSERT if before && by_row => {
            (data.tg_trigtuple, data.tg_trigslot, None)
        }
        pg_sys::TRIGGER_EVENT_UPDATE if before && by_row => {
            (data.tg_newtuple, data.tg_newslot, Some(data.tg_trigslot))
        }
        _ => return Err(misused()),
    };
    // SAFETY: the relation and the slots are valid until the trigger returns; the two columns are of
    // it and stored as varlenas, which `Transform` sees to.
    unsafe {
        let source = argument(data, 0)?;
        let target = argument(data, 1)?;
        let transform = Transform::between(&source, &target)?;
        let value = match get(new, &source) {
            None => None,
            Some(value) => {
                let kept = old.and_then(|old| {
                    let (before, kept) = (get(old, &source)?, get(old, &target)?);
                    before.same(&value).then_some(kept)
                });
                Some(match kept {
                    Some(kept) => kept,
                    None => transform.apply(&value)?,
                })
            }
        };
        let mut number = target.index as c_int + 1;
        let mut is_null = value.is_none();
        let mut datum = value.map_or(pg_sys::Datum::null(), |value| value.0);
        Ok(pg_sys::heap_modify_tuple_by_cols(
            tuple,
            (*data.tg_relation).rd_att,
            1,
            &mut number,
            &mut datum,
            &mut is_null,
        ))
    }
}

/// # Safety
/// As `step`.
unsafe fn argument(data: &pg_sys::TriggerData, number: usize) -> Result<Column> {
    // SAFETY: tgargs holds tgnargs C strings; the relation is open.
    unsafe {
        let trigger = &*data.tg_trigger;
        if number >= trigger.tgnargs as usize {
            return Err(misused());
        }
        let name = CStr::from_ptr(*trigger.tgargs.add(number));
        column(data.tg_relation, name).map_err(|error| {
            error.set_hint(
                "A column was renamed or dropped while it is being converted. Undo that, or call ward.cancel_conversion.",
            )
        })
    }
}

/// # Safety
/// `slot` holds a row of the relation that `column` is of.
unsafe fn get(slot: *mut pg_sys::TupleTableSlot, column: &Column) -> Option<Value> {
    // SAFETY: the caller's promise; what the inline function slot_getattr does.
    unsafe {
        let count = column.index as c_int + 1;
        if c_int::from((*slot).tts_nvalid) < count {
            pg_sys::slot_getsomeattrs_int(slot, count);
        }
        (!*(*slot).tts_isnull.add(column.index))
            .then(|| Value(*(*slot).tts_values.add(column.index)))
    }
}
