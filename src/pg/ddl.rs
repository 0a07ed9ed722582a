//! The event trigger that follows changes of tables. It looks at the statement first, so that all
//! other statements cost next to nothing and cannot fail here.

use crate::audit::enable;
use crate::error;
use pgrx::prelude::*;

/// What a statement may mean for audited tables.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Statement {
    /// Nothing.
    Other,
    /// A table may have got a parent, or a parent another owner.
    Joins,
    /// A partition may have left its parent.
    Detaches,
}

/// Tells PostgreSQL the calling convention of `ward_audit_ddl`.
#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_ward_audit_ddl() -> &'static pg_sys::Pg_finfo_record {
    const VERSION_1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &VERSION_1
}

/// The event trigger's function.
///
/// # Safety
/// Called by PostgreSQL's function manager.
#[unsafe(no_mangle)]
#[pg_guard]
pub unsafe extern "C-unwind" fn ward_audit_ddl(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: fcinfo is valid; its context is an EventTriggerData when the node tag says so.
    let statement = unsafe {
        let context = (*fcinfo).context.cast::<pg_sys::EventTriggerData>();
        if context.is_null() || (*context).type_ != pg_sys::NodeTag::T_EventTriggerData {
            error::raise(error::report(
                PgSqlErrorCode::ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED,
                "ward.audit_ddl() can only run as an event trigger",
            ));
        }
        statement((*context).parsetree)
    };
    if let Err(report) = enable::follow(&statement) {
        error::raise(report);
    }
    pg_sys::Datum::null()
}

/// # Safety
/// `node` is NULL or the parse tree of a statement.
unsafe fn statement(node: *mut pg_sys::Node) -> Statement {
    let when = |joins: bool| {
        if joins {
            Statement::Joins
        } else {
            Statement::Other
        }
    };
    // SAFETY: the tag says what the node is.
    unsafe {
        if node.is_null() {
            return Statement::Other;
        }
        match (*node).type_ {
            pg_sys::NodeTag::T_CreateStmt => {
                when(!(*node.cast::<pg_sys::CreateStmt>()).inhRelations.is_null())
            }
            pg_sys::NodeTag::T_CreateForeignTableStmt => {
                let create = node.cast::<pg_sys::CreateForeignTableStmt>();
                when(!(*create).base.inhRelations.is_null())
            }
            pg_sys::NodeTag::T_CreateSchemaStmt => when(
                !(*node.cast::<pg_sys::CreateSchemaStmt>())
                    .schemaElts
                    .is_null(),
            ),
            pg_sys::NodeTag::T_AlterTableStmt => {
                alterations((*node.cast::<pg_sys::AlterTableStmt>()).cmds)
            }
            _ => Statement::Other,
        }
    }
}

/// # Safety
/// `list` is NULL or the list of an ALTER TABLE's commands.
unsafe fn alterations(list: *mut pg_sys::List) -> Statement {
    let mut found = Statement::Other;
    // SAFETY: the caller's promise.
    unsafe {
        let count = if list.is_null() { 0 } else { (*list).length };
        for at in 0..count as usize {
            let command = (*(*list).elements.add(at))
                .ptr_value
                .cast::<pg_sys::AlterTableCmd>();
            match (*command).subtype {
                pg_sys::AlterTableType::AT_DetachPartition
                | pg_sys::AlterTableType::AT_DetachPartitionFinalize => {
                    return Statement::Detaches;
                }
                pg_sys::AlterTableType::AT_AttachPartition
                | pg_sys::AlterTableType::AT_AddInherit
                | pg_sys::AlterTableType::AT_ChangeOwner => found = Statement::Joins,
                _ => {}
            }
        }
    }
    found
}
