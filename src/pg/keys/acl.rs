//! Roles, as key grants see them.

use crate::error;
use crate::pg::unguarded;
use pgrx::prelude::*;
use std::ffi::{CStr, CString};

/// The role whose grants count now: of the session, or the owner of a SECURITY DEFINER function.
pub fn current_user() -> pg_sys::Oid {
    unguarded::user_id()
}

/// Whether `user` is `role` or a member of it and has its privileges.
///
/// Both questions are asked on purpose: the first takes no account of superuser, so a superuser has
/// no implicit grant; the second takes account of NOINHERIT.
pub fn acts_as(user: pg_sys::Oid, role: pg_sys::Oid) -> bool {
    // SAFETY: take role ids, which may be stale: an unknown one has no members. In a transaction.
    user == role
        || unsafe {
            pg_sys::is_member_of_role_nosuper(user, role) && pg_sys::has_privs_of_role(user, role)
        }
}

/// The present name of a role, `None` when there is no such role.
pub fn role_name(role: pg_sys::Oid) -> Option<String> {
    // SAFETY: with `noerr` the result is NULL or a NUL-terminated string in the current context.
    unsafe {
        let name = pg_sys::GetUserNameFromId(role, true);
        (!name.is_null()).then(|| CStr::from_ptr(name).to_string_lossy().into_owned())
    }
}

/// The id of the role of this name, `None` when there is no such role.
pub fn role_oid(name: &str) -> Option<pg_sys::Oid> {
    let name = CString::new(name).ok()?;
    // SAFETY: the name is NUL-terminated and outlives the call.
    let oid = unsafe { pg_sys::get_role_oid(name.as_ptr(), true) };
    (oid != pg_sys::InvalidOid).then_some(oid)
}

/// An argument of type `name`.
pub struct Name(pub String);

pgrx::impl_sql_translatable!(Name, "name");

// SAFETY: the SQL type is `name`, so a datum that is not NULL points to a NameData, which is
// NUL-terminated; it is copied.
unsafe impl<'fcx> pgrx::callconv::ArgAbi<'fcx> for Name {
    unsafe fn unbox_arg_unchecked(arg: pgrx::callconv::Arg<'_, 'fcx>) -> Self {
        // SAFETY: as above.
        unsafe { arg.unbox_arg_using_from_datum() }.unwrap_or_else(|| {
            error::raise(error::report(
                PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
                "a role name must not be NULL",
            ))
        })
    }
}

impl FromDatum for Name {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        _: pg_sys::Oid,
    ) -> Option<Self> {
        if is_null {
            return None;
        }
        // SAFETY: the caller has a datum of type `name`.
        let name = unsafe { CStr::from_ptr(datum.cast_mut_ptr()) };
        Some(Self(name.to_string_lossy().into_owned()))
    }
}
