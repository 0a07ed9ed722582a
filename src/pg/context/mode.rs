//! Whose word counts: `ward.context_mode`, and the time against which tokens expire.

use crate::context::state;
use crate::pg::process::EPOCH_SHIFT;
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::prelude::*;
use std::ffi::{c_int, c_void};

/// Where a context may come from.
#[derive(Clone, Copy, PartialEq, Eq, PostgresGucEnum)]
enum ContextMode {
    /// The application says who acts.
    #[name = c"trusted"]
    Trusted,
    /// A verified token says who acts.
    #[name = c"token"]
    Token,
}

static MODE: GucSetting<ContextMode> = GucSetting::<ContextMode>::new(ContextMode::Trusted);

/// Defines the setting. Only superusers, and roles a superuser granted SET on it, can change it, so
/// a client cannot loosen what was configured for its role or database.
pub fn register() {
    // SAFETY: the hook has the signature PostgreSQL asks for and is guarded.
    unsafe {
        GucRegistry::define_enum_guc_with_hooks(
            c"ward.context_mode",
            c"Who may say which tenant and user act: the application (trusted) or only a verified token (token).",
            c"Set it for a role or database. In mode token, contexts that an application set do not count.",
            &MODE,
            GucContext::Suset,
            GucFlags::default(),
            None,
            Some(assign),
            None,
        );
    }
}

/// Whether only tokens count.
pub fn token_mode() -> bool {
    MODE.get() == ContextMode::Token
}

#[pg_guard]
unsafe extern "C-unwind" fn assign(_value: c_int, _extra: *mut c_void) {
    state::mode_assigned();
}

// Without pgrx's guard, which would cost more than all else: a policy asks for every row.
unsafe extern "C-unwind" {
    fn GetCurrentStatementStartTimestamp() -> pg_sys::TimestampTz;
    fn GetCurrentTransactionStartTimestamp() -> pg_sys::TimestampTz;
}

/// When the running statement began, in microseconds since 1970-01-01 UTC. A procedure is one statement
/// for as long as it runs, so in one that commits it is when the running transaction began.
pub fn statement_start_micros() -> i64 {
    // SAFETY: read backend state and cannot raise.
    let (statement, transaction) = unsafe {
        (
            GetCurrentStatementStartTimestamp(),
            GetCurrentTransactionStartTimestamp(),
        )
    };
    statement.max(transaction).saturating_add(EPOCH_SHIFT)
}

/// Whether the running transaction may not write.
pub fn read_only() -> bool {
    // SAFETY: reads backend state.
    unsafe { pg_sys::XactReadOnly }
}
