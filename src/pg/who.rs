//! Who is connected, in which role, under which application name.

use super::{encoding, unguarded};
use pgrx::prelude::*;
use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int};
use std::hash::{DefaultHasher, Hasher};

thread_local! {
    static NAMES_CHANGED: Cell<u64> = const { Cell::new(0) };
}

/// Registers the callback that notices changes of roles.
pub fn watch() {
    let cache = pg_sys::SysCacheIdentifier::AUTHOID as c_int;
    // SAFETY: registered once, in the postmaster; the callback only counts.
    unsafe {
        pg_sys::CacheRegisterSyscacheCallback(cache, Some(role_changed), pg_sys::Datum::null());
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn role_changed(_arg: pg_sys::Datum, _cache: c_int, _hash: u32) {
    NAMES_CHANGED.with(|changes| changes.set(changes.get().wrapping_add(1)));
}

/// How many changes of roles this backend has seen: names looked up before another may be out of date.
pub fn names_changed() -> u64 {
    NAMES_CHANGED.with(Cell::get)
}

/// Oid of the current role.
pub fn current_role() -> u32 {
    unguarded::user_id().to_u32()
}

/// Oid of the session role.
pub fn session_role() -> u32 {
    unguarded::session_user_id().to_u32()
}

/// Oid of the role that logged in.
pub fn authenticated_role() -> u32 {
    // SAFETY: reads backend state.
    unsafe { pg_sys::GetAuthenticatedUserId() }.to_u32()
}

/// The role's name, or None when it no longer exists.
pub fn role_name(oid: u32) -> Option<String> {
    // SAFETY: a catalog look-up that returns NULL when missing.
    unsafe { text(pg_sys::GetUserNameFromId(pg_sys::Oid::from(oid), true)) }
}

/// The application name, empty when not set.
pub fn application_name() -> String {
    // SAFETY: a setting's C string.
    unsafe { text(pg_sys::application_name) }.unwrap_or_default()
}

/// Hands on the application name as the server keeps it.
fn with_application<R>(work: impl FnOnce(&[u8]) -> R) -> R {
    // SAFETY: a setting's C string or NULL, which stays while nothing is set.
    unsafe {
        let name = pg_sys::application_name;
        work(if name.is_null() {
            &[]
        } else {
            CStr::from_ptr(name).to_bytes()
        })
    }
}

/// The application name in the server's encoding.
pub fn application_bytes() -> Vec<u8> {
    with_application(<[u8]>::to_vec)
}

/// Whether the application has this name, in the server's encoding.
pub fn has_application(name: &[u8]) -> bool {
    with_application(|now| now == name)
}

/// A hash of the application name, to notice that it changed.
pub fn application_hash() -> u64 {
    let mut hasher = DefaultHasher::new();
    with_application(|name| hasher.write(name));
    hasher.finish()
}

/// The address the client connected from, None for a Unix socket or a background process.
pub fn client_address() -> Option<String> {
    // SAFETY: the SQL function reads the connection; inet's output takes its result.
    unsafe {
        let address: Option<pg_sys::Datum> =
            pgrx::direct_function_call_as_datum(pg_sys::inet_client_addr, &[]);
        let shown: Option<&CStr> = pgrx::direct_function_call(pg_sys::inet_out, &[Some(address?)]);
        shown.map(|text| text.to_string_lossy().into_owned())
    }
}

/// # Safety
/// `string` is NULL or a C string.
unsafe fn text(string: *const c_char) -> Option<String> {
    if string.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    let string = unsafe { CStr::from_ptr(string) };
    Some(encoding::to_utf8(string))
}
