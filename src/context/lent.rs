//! UUIDs of the context that may be given out without all checks. A policy asks for every row; the answer stays
//! the same until something changes, or the transaction ends.

use super::SecurityContext;
use super::state;
use crate::error::Result;
use crate::pg::context::statement_start_micros;
use std::cell::Cell;

/// Which of the context's UUIDs.
#[derive(Clone, Copy)]
#[repr(u8)]
pub enum Part {
    /// The tenant.
    Tenant,
    /// The user.
    User,
}

/// A UUID's bytes.
pub type Id = [u8; 16];

/// What may be given out without asking: it has passed all checks, and nothing has changed since.
struct Lent {
    tenant: Cell<Option<Id>>,
    user: Cell<Option<Id>>,
    /// When the token runs out; never, without one.
    until: Cell<i64>,
}

thread_local! {
    // Without a destructor, which makes the access cheap.
    static LENT: Lent = const {
        Lent {
            tenant: Cell::new(None),
            user: Cell::new(None),
            until: Cell::new(i64::MAX),
        }
    };
}

impl Lent {
    fn part(&self, part: Part) -> &Cell<Option<Id>> {
        match part {
            Part::Tenant => &self.tenant,
            Part::User => &self.user,
        }
    }
}

/// The UUID given out before; None when it has to be asked for with [`lend`].
#[inline]
pub fn known(part: Part) -> Option<Id> {
    LENT.with(|lent| {
        let until = lent.until.get();
        if until != i64::MAX && until <= statement_start_micros() {
            return None;
        }
        lent.part(part).get()
    })
}

/// A UUID of the context in force, `None` when there is none.
pub fn lend(part: Part) -> Result<Option<Id>> {
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
    LENT.with(|lent| {
        lent.part(part).set(Some(id));
        lent.until.set(until);
    });
    Ok(Some(id))
}

/// From here on everything has to be asked for again.
pub(super) fn take_back() {
    LENT.with(|lent| {
        lent.tenant.set(None);
        lent.user.set(None);
    });
}
