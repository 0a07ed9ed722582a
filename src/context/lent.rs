//! UUIDs of the context as PostgreSQL takes them: by address. A policy asks for every row, so the bytes
//! are laid down once and their address is given out again; they stay until the transaction ends, when
//! nobody can hold the address any more.

use super::SecurityContext;
use super::state;
use crate::error::Result;
use crate::pg::context::statement_start_micros;
use std::cell::{Cell, RefCell};
use std::ptr;
use std::rc::Rc;

/// Which of the context's UUIDs.
#[derive(Clone, Copy)]
#[repr(u8)]
pub enum Part {
    /// The tenant.
    Tenant,
    /// The user.
    User,
}

/// The address of a UUID.
pub type Address = *const [u8; 16];

/// What may be given out without asking: it has passed all checks, and nothing has changed since.
struct Lent {
    tenant: Cell<Address>,
    user: Cell<Address>,
    /// When the token runs out; never, without one.
    until: Cell<i64>,
}

thread_local! {
    // Without a destructor, which makes the access cheap.
    static LENT: Lent = const {
        Lent {
            tenant: Cell::new(ptr::null()),
            user: Cell::new(ptr::null()),
            until: Cell::new(i64::MAX),
        }
    };
    static KEPT: RefCell<Vec<Rc<[u8; 16]>>> = const { RefCell::new(Vec::new()) };
}

impl Lent {
    fn address(&self, part: Part) -> &Cell<Address> {
        match part {
            Part::Tenant => &self.tenant,
            Part::User => &self.user,
        }
    }
}

/// The address given out before, NULL when it has to be asked for with [`lend`].
#[inline]
pub fn known(part: Part) -> Address {
    LENT.with(|lent| {
        let until = lent.until.get();
        if until != i64::MAX && until <= statement_start_micros() {
            return ptr::null();
        }
        lent.address(part).get()
    })
}

/// The address of a UUID of the context in force, `None` when there is none.
pub fn lend(part: Part) -> Result<Option<Address>> {
    let read = |context: &SecurityContext| {
        let id = match part {
            Part::Tenant => context.tenant_uuid,
            Part::User => context.user_uuid,
        };
        Some((id?, context.expires_at.unwrap_or(i64::MAX)))
    };
    let Some((id, until)) = state::read(read)? else {
        return Ok(None);
    };
    let id = Rc::new(id);
    let address = Rc::as_ptr(&id);
    KEPT.with_borrow_mut(|kept| kept.push(id));
    LENT.with(|lent| {
        lent.address(part).set(address);
        lent.until.set(until);
    });
    Ok(Some(address))
}

/// From here on everything has to be asked for again.
pub(super) fn take_back() {
    LENT.with(|lent| {
        lent.tenant.set(ptr::null());
        lent.user.set(ptr::null());
    });
}

/// The transaction is over: nobody holds an address any more.
pub(super) fn forget() {
    take_back();
    KEPT.with_borrow_mut(Vec::clear);
}
