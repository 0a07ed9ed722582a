//! The backend's view of the context: the parsed setting, and the tenant the running transaction
//! is bound to.
//!
//! RESET and ROLLBACK TO SAVEPOINT restore an earlier value of a setting without asking anybody,
//! so the setting alone could be made to change tenants inside a transaction. The latch is
//! therefore not part of it: the first tenant a top-level transaction sets or reads stays its
//! only tenant until the transaction ends. A restored context of another tenant is masked: it
//! reads as no context at all. So does one that the application set, where only tokens count.

use super::lent;
use super::model::{SecurityContext, Source};
use crate::error::{self, Result};
use crate::pg::context::{statement_start_micros, token_mode};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::PgSqlErrorCode;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

struct State {
    /// The parsed setting, whatever the latch and the mode say about it.
    context: RefCell<Option<Rc<SecurityContext>>>,
    /// The tenant this top-level transaction is bound to.
    latch: RefCell<Option<Box<str>>>,
    /// Whether `context` has passed latch and mode in this transaction: the fast path of every read.
    admitted: Cell<bool>,
    /// Whether this transaction has read a context.
    used: Cell<bool>,
    generation: Cell<u64>,
}

thread_local! {
    static STATE: State = const {
        State {
            context: RefCell::new(None),
            latch: RefCell::new(None),
            admitted: Cell::new(false),
            used: Cell::new(false),
            generation: Cell::new(0),
        }
    };
}

impl State {
    fn changed(&self) {
        lent::take_back();
        self.admitted.set(false);
        self.generation.set(self.generation.get().wrapping_add(1));
    }

    /// Binds the transaction to the context's tenant, or finds that the context does not count.
    fn admit(&self) -> bool {
        if self.admitted.get() {
            return true;
        }
        let context = self.context.borrow();
        let Some(context) = context.as_deref() else {
            return false;
        };
        if distrusted(context) {
            return false;
        }
        if let Some(tenant) = context.tenant.as_deref() {
            let mut latch = self.latch.borrow_mut();
            match latch.as_deref() {
                Some(bound) if bound != tenant => return false,
                Some(_) => {}
                None => *latch = Some(tenant.into()),
            }
        }
        self.used.set(true);
        self.admitted.set(true);
        true
    }

    /// Whether the context is of another tenant than the transaction.
    fn masked(&self) -> bool {
        let context = self.context.borrow();
        let tenant = context
            .as_deref()
            .filter(|context| !distrusted(context))
            .and_then(|context| context.tenant.as_deref());
        let latch = self.latch.borrow();
        matches!((tenant, latch.as_deref()), (Some(tenant), Some(bound)) if tenant != bound)
    }
}

/// Whether only tokens count, and this is none.
fn distrusted(context: &SecurityContext) -> bool {
    context.source == Source::Trusted && token_mode()
}

/// Takes over a new value of the setting. Called by the assign hook: must not fail.
pub(crate) fn assign(context: Option<Rc<SecurityContext>>) {
    STATE.with(|state| {
        *state.context.borrow_mut() = context;
        state.changed();
    });
}

/// Looks at the context anew: the mode may have changed. Called by an assign hook: must not fail.
pub(crate) fn mode_assigned() {
    STATE.with(State::changed);
}

/// Reads one part of the context in force, for the accessors. A token that has run out is an error:
/// an empty answer could be taken for an empty table.
#[inline]
pub(super) fn read<R>(part: impl FnOnce(&SecurityContext) -> Option<R>) -> Result<Option<R>> {
    STATE.with(|state| {
        if !state.admit() {
            return Ok(None);
        }
        let context = state.context.borrow();
        let Some(context) = context.as_deref() else {
            return Ok(None);
        };
        match context.expires_at {
            Some(end) if end <= statement_start_micros() => Err(expired()),
            _ => Ok(part(context)),
        }
    })
}

#[cold]
fn expired() -> ErrorReport {
    error::report_hint(
        PgSqlErrorCode::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
        "the token of this security context has expired",
        "Call ward.authenticate() with a new token, or ward.clear_security_context().",
    )
}

/// Shows the context in force to `f`: none when it is unset or does not count. An expired token is
/// shown too: it still says who acts. Counts as a read: the transaction is bound to the tenant from
/// here on.
pub fn with_current<R>(f: impl FnOnce(Option<&SecurityContext>) -> R) -> R {
    let context = STATE.with(|state| {
        if state.admit() {
            state.context.borrow().clone()
        } else {
            None
        }
    });
    f(context.as_deref())
}

/// Runs `f` without counting what it reads as a use of the context.
pub(super) fn unused<R>(f: impl FnOnce() -> R) -> R {
    let before = STATE.with(|state| state.used.get());
    let result = f();
    STATE.with(|state| {
        lent::take_back();
        state.used.set(before);
        // The next read has to come through `admit` to be counted.
        state.admitted.set(before && state.admitted.get());
    });
    result
}

/// A number that changes whenever the context in force may have changed.
pub fn generation() -> u64 {
    STATE.with(|state| state.generation.get())
}

/// What a setter builds on: the context in force, without counting as a read.
pub(super) fn base() -> Option<SecurityContext> {
    STATE.with(|state| {
        if state.masked() {
            return None;
        }
        let context = state.context.borrow();
        context
            .as_deref()
            .filter(|context| !distrusted(context))
            .cloned()
    })
}

/// Refuses a tenant other than the one this transaction is bound to.
pub(super) fn check_tenant(tenant: &str) -> Result<()> {
    STATE.with(|state| match state.latch.borrow().as_deref() {
        Some(bound) if bound != tenant => Err(error::report_hint(
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            "this transaction is bound to another tenant",
            "A transaction keeps the first tenant it sets or reads. End it before you set another.",
        )),
        _ => Ok(()),
    })
}

/// Binds the transaction to the tenant just set, unless it is bound.
pub(super) fn bind_tenant() {
    STATE.with(|state| {
        let mut latch = state.latch.borrow_mut();
        if latch.is_none() {
            *latch = state.tenant();
        }
    });
}

/// Binds the transaction to the tenant just set, in place of the one it was bound to.
pub(super) fn rebind_tenant() {
    STATE.with(|state| {
        *state.latch.borrow_mut() = state.tenant();
        state.changed();
    });
}

impl State {
    fn tenant(&self) -> Option<Box<str>> {
        let context = self.context.borrow();
        context.as_deref()?.tenant.as_deref().map(Box::from)
    }
}

/// Called before parallel workers may start. They inherit the setting but not the latch, so what
/// they will read counts as read here, and a masked context must not reach them.
pub(crate) fn enter_parallel() -> Result<()> {
    STATE.with(|state| {
        if state.masked() {
            return Err(error::report_hint(
                PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
                "the restored security context belongs to another tenant than this transaction",
                "Set the tenant of this transaction again before you run parallel queries.",
            ));
        }
        state.admit();
        Ok(())
    })
}

/// Refuses to commit a transaction-local context that nothing could have used.
pub(crate) fn before_commit(in_transaction_block: bool) -> Result<()> {
    STATE.with(|state| {
        let local = state
            .context
            .borrow()
            .as_deref()
            .is_some_and(|context| context.transaction_local);
        if local && !state.used.get() && !in_transaction_block {
            return Err(error::report_hint(
                PgSqlErrorCode::ERRCODE_NO_ACTIVE_SQL_TRANSACTION,
                "the security context was set outside a transaction block and would end unused",
                "Set it between BEGIN and COMMIT, together with the statements it is meant for. On \
                 a connection of its own, never behind a transaction pooler, is_local => false \
                 keeps it for the session.",
            ));
        }
        Ok(())
    })
}

/// The top-level transaction is over: releases the latch.
pub(crate) fn end_transaction() {
    lent::take_back();
    STATE.with(|state| {
        state.used.set(false);
        let bound = state.latch.borrow_mut().take().is_some();
        if bound || state.admitted.get() {
            state.changed();
        }
    });
}

/// Lets `test_isolation` act for one tenant after the other, without ever letting the transaction
/// itself do so: what was bound is put back when this is dropped, on errors too. Only Rust code can
/// have one, and what it sets must be inside a subtransaction that is rolled back.
pub(super) struct Unlatched {
    latch: Option<Box<str>>,
    used: bool,
}

impl Unlatched {
    pub(super) fn enter() -> Self {
        STATE.with(|state| {
            state.changed();
            Unlatched {
                latch: state.latch.borrow_mut().take(),
                used: state.used.get(),
            }
        })
    }

    /// Forgets the tenant that was acted for last.
    pub(super) fn next(&self) {
        STATE.with(|state| {
            state.latch.borrow_mut().take();
            state.changed();
        });
    }
}

impl Drop for Unlatched {
    fn drop(&mut self) {
        STATE.with(|state| {
            *state.latch.borrow_mut() = self.latch.take();
            state.used.set(self.used);
            state.changed();
        });
    }
}
