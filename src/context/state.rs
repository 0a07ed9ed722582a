//! The backend's view of the context: the parsed setting, and the tenant the running transaction
//! is bound to.
//!
//! RESET and ROLLBACK TO SAVEPOINT restore an earlier value of a setting without asking anybody,
//! so the setting alone could be made to change tenants inside a transaction. The latch is
//! therefore not part of it: the first tenant a top-level transaction sets or reads stays its
//! only tenant until the transaction ends. A restored context of another tenant is masked: it
//! reads as no context at all.

use super::model::SecurityContext;
use crate::error::{self, Result};
use pgrx::prelude::PgSqlErrorCode;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

struct State {
    /// The parsed setting, whatever the latch says about it.
    context: RefCell<Option<Rc<SecurityContext>>>,
    /// The tenant this top-level transaction is bound to.
    latch: RefCell<Option<Box<str>>>,
    /// Whether `context` has passed the latch in this transaction: the fast path of every read.
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
        self.admitted.set(false);
        self.generation.set(self.generation.get().wrapping_add(1));
    }

    /// Binds the transaction to the context's tenant, or finds that it is bound to another.
    fn admit(&self) -> bool {
        if self.admitted.get() {
            return true;
        }
        let context = self.context.borrow();
        let Some(context) = context.as_deref() else {
            return false;
        };
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

    fn masked(&self) -> bool {
        let context = self.context.borrow();
        let tenant = context.as_deref().and_then(|c| c.tenant.as_deref());
        let latch = self.latch.borrow();
        matches!((tenant, latch.as_deref()), (Some(tenant), Some(bound)) if tenant != bound)
    }
}

/// Takes over a new value of the setting. Called by the assign hook: must not fail.
pub(crate) fn assign(context: Option<SecurityContext>) {
    STATE.with(|state| {
        *state.context.borrow_mut() = context.map(Rc::new);
        state.changed();
    });
}

/// Reads one part of the context in force, for the accessors.
#[inline]
pub(super) fn read<R>(part: impl FnOnce(&SecurityContext) -> Option<R>) -> Option<R> {
    STATE.with(|state| {
        if !state.admit() {
            return None;
        }
        state.context.borrow().as_deref().and_then(part)
    })
}

/// Shows the context in force to `f`: none when it is unset or masked. Counts as a read: the
/// transaction is bound to the tenant from here on.
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

/// A number that changes whenever the context in force may have changed.
pub fn generation() -> u64 {
    STATE.with(|state| state.generation.get())
}

/// What a setter builds on: the context in force, without counting as a read.
pub(super) fn base() -> SecurityContext {
    STATE.with(|state| {
        if state.masked() {
            return SecurityContext::empty();
        }
        state
            .context
            .borrow()
            .as_deref()
            .cloned()
            .unwrap_or_else(SecurityContext::empty)
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

/// Binds the transaction to the tenant just set.
pub(super) fn bind_tenant(tenant: &str) {
    STATE.with(|state| {
        state
            .latch
            .borrow_mut()
            .get_or_insert_with(|| tenant.into());
    });
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
    STATE.with(|state| {
        state.used.set(false);
        let bound = state.latch.borrow_mut().take().is_some();
        if bound || state.admitted.get() {
            state.changed();
        }
    });
}
