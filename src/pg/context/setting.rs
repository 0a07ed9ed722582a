//! `ward.context`: written by the setters, carried by PostgreSQL, refused to everybody else.

use crate::context::{SecurityContext, state};
use crate::error::{self, Result};
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::prelude::*;
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::rc::Rc;

const NAME: &CStr = c"ward.context";

static CONTEXT: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

thread_local! {
    /// Raised by [`store`] for the one value it is about to set, which it holds already parsed.
    static PERMIT: RefCell<Option<Rc<SecurityContext>>> = const { RefCell::new(None) };
    /// The value that passed the check last, parsed, and where PostgreSQL keeps its text: what is
    /// assigned right after a check need not be parsed again.
    static CHECKED: RefCell<Option<Checked>> = const { RefCell::new(None) };
}

struct Checked {
    place: *const c_char,
    context: Rc<SecurityContext>,
}

/// Withdraws the permit on every way out, errors included.
struct Permit;

impl Permit {
    fn raise(context: SecurityContext) -> Self {
        PERMIT.set(Some(Rc::new(context)));
        Permit
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        PERMIT.set(None);
        CHECKED.set(None);
    }
}

/// Defines the setting. It may be RESET by anybody, so that RESET ALL and DISCARD ALL of a
/// connection pool end the context.
pub fn register() {
    // SAFETY: the hooks have the signatures PostgreSQL asks for; those that could panic are guarded.
    unsafe {
        GucRegistry::define_string_guc_with_hooks(
            NAME,
            c"The tenant and user context of this session or transaction.",
            c"Set with ward.set_tenant_context() and ward.set_security_context() only.",
            &CONTEXT,
            GucContext::Userset,
            GucFlags::NO_SHOW_ALL | GucFlags::DISALLOW_IN_FILE,
            Some(check),
            Some(assign),
            Some(show),
        );
    }
}

/// Sets the context, for the transaction or for the session.
pub fn store(context: SecurityContext, is_local: bool) -> Result<()> {
    let value = CString::new(context.encode()?).map_err(|_| failed())?;
    let permit = Permit::raise(context);
    let outcome = set(value.as_ptr(), is_local);
    drop(permit);
    outcome
}

/// Ends the context of the transaction and of the session, as RESET does.
pub fn clear() -> Result<()> {
    set(std::ptr::null(), false)
}

fn set(value: *const c_char, is_local: bool) -> Result<()> {
    // SAFETY: reads the state of the current transaction.
    if unsafe { pg_sys::IsInParallelMode() } {
        return Err(error::report_hint(
            PgSqlErrorCode::ERRCODE_INVALID_TRANSACTION_STATE,
            "the security context cannot be changed during a parallel operation",
            "A function that changes it must not be marked PARALLEL SAFE or RESTRICTED.",
        ));
    }
    let action = if is_local {
        pg_sys::GucAction::GUC_ACTION_LOCAL
    } else {
        pg_sys::GucAction::GUC_ACTION_SET
    };
    // SAFETY: name and value are NUL-terminated and outlive the call, which copies them; a NULL
    // value means the setting's default.
    let outcome = unsafe {
        pg_sys::set_config_option(
            NAME.as_ptr(),
            value,
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            action,
            true,
            0,
            false,
        )
    };
    if outcome == 1 { Ok(()) } else { Err(failed()) }
}

fn failed() -> pgrx::pg_sys::panic::ErrorReport {
    error::report(
        PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
        "the security context could not be stored",
    )
}

/// Accepts a value from the setters, as the boot default, and from the leader of a parallel
/// query (which could hold only what passed here). Everything else that reaches a setting (SET,
/// set_config, function and role settings, connection options, files) is refused.
#[pg_guard]
unsafe extern "C-unwind" fn check(
    value: *mut *mut c_char,
    _extra: *mut *mut c_void,
    source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: PostgreSQL passes a pointer to a NUL-terminated string or to NULL.
    let text = unsafe {
        match *value {
            text if text.is_null() => None,
            text => Some(CStr::from_ptr(text)),
        }
    };
    let unset = text.is_none_or(CStr::is_empty);
    if source == pg_sys::GucSource::PGC_S_DEFAULT && unset {
        return true;
    }
    if let Some(context) = PERMIT.take() {
        CHECKED.set(text.map(|text| Checked {
            place: text.as_ptr(),
            context,
        }));
        return true;
    }
    // SAFETY: a plain global of the backend, read on its only thread.
    let inherits =
        unsafe { pg_sys::InitializingParallelWorker } && source == pg_sys::GucSource::PGC_S_SESSION;
    if inherits && (unset || text.is_some_and(|text| decode(text).is_some())) {
        return true;
    }
    refuse();
    false
}

fn refuse() {
    // SAFETY: PostgreSQL reads these when the hook returns false, and never writes to or frees
    // them; the texts are static.
    unsafe {
        pg_sys::GUC_check_errcode(PgSqlErrorCode::ERRCODE_CANT_CHANGE_RUNTIME_PARAM as c_int);
        pg_sys::GUC_check_errmsg_string = c"the security context cannot be set as a parameter"
            .as_ptr()
            .cast_mut();
        pg_sys::GUC_check_errhint_string =
            c"Call ward.set_tenant_context(), ward.set_security_context() or ward.authenticate()."
                .as_ptr()
                .cast_mut();
    }
}

/// Follows every change of the setting, also those by RESET, end of transaction and rollback to a
/// savepoint, which are not checked.
#[pg_guard]
unsafe extern "C-unwind" fn assign(value: *const c_char, _extra: *mut c_void) {
    let checked = CHECKED
        .take()
        .filter(|checked| checked.place == value)
        .map(|checked| checked.context);
    let context = checked.or_else(|| {
        // SAFETY: PostgreSQL passes the new value, NUL-terminated, or NULL.
        (!value.is_null()).then(|| decode(unsafe { CStr::from_ptr(value) }).map(Rc::new))?
    });
    state::assign(context);
}

/// Shows whether a context is set, not which: a policy that read the setting itself would get
/// past the binding of the transaction to its tenant.
#[pg_guard]
unsafe extern "C-unwind" fn show() -> *const c_char {
    if CONTEXT.get().is_some_and(|value| !value.is_empty()) {
        c"(set)".as_ptr()
    } else {
        c"".as_ptr()
    }
}

fn decode(text: &CStr) -> Option<SecurityContext> {
    SecurityContext::decode(text.to_str().ok()?)
}
