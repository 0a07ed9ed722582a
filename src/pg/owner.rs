//! Running the extension's own queries on its own tables, whoever the caller is.

use pgrx::prelude::*;
use std::ffi::c_int;

/// Runs `work` as the owner of the extension, with a search path nobody can put objects in and the
/// latest snapshot, so that neither the caller's rights, path nor isolation level matter. Everything
/// is restored when `work` returns or raises.
pub fn run<R>(work: impl FnOnce() -> R) -> R {
    let _scope = Scope::enter();
    work()
}

struct Scope {
    user: pg_sys::Oid,
    security: c_int,
    nest: c_int,
}

impl Scope {
    fn enter() -> Scope {
        // SAFETY: inside a transaction; what is saved here is restored in `drop`.
        unsafe {
            let mut user = pg_sys::InvalidOid;
            let mut security = 0;
            pg_sys::GetUserIdAndSecContext(&mut user, &mut security);
            let owner = pg_sys::get_namespace_oid(c"ward".as_ptr(), false);
            let owner = namespace_owner(owner);
            let nest = pg_sys::NewGUCNestLevel();
            pg_sys::SetUserIdAndSecContext(
                owner,
                security | pg_sys::SECURITY_LOCAL_USERID_CHANGE as c_int,
            );
            let scope = Scope {
                user,
                security,
                nest,
            };
            pg_sys::set_config_option(
                c"search_path".as_ptr(),
                c"pg_catalog, pg_temp".as_ptr(),
                pg_sys::GucContext::PGC_USERSET,
                pg_sys::GucSource::PGC_S_SESSION,
                pg_sys::GucAction::GUC_ACTION_SAVE,
                true,
                0,
                false,
            );
            pg_sys::PushActiveSnapshot(pg_sys::GetLatestSnapshot());
            scope
        }
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        // SAFETY: undoes `enter`. While an error unwinds the snapshot and the settings belong to the
        // (sub)transaction that is about to be aborted, which releases them; the user id does too,
        // but is put back so that nothing in between runs as the owner.
        unsafe {
            if !std::thread::panicking() {
                pg_sys::PopActiveSnapshot();
                pg_sys::AtEOXact_GUC(true, self.nest);
            }
            pg_sys::SetUserIdAndSecContext(self.user, self.security);
        }
    }
}

/// # Safety
/// `namespace` is the oid of a schema.
unsafe fn namespace_owner(namespace: pg_sys::Oid) -> pg_sys::Oid {
    // SAFETY: the tuple is released after its fixed part was read.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(
            pg_sys::SysCacheIdentifier::NAMESPACEOID as c_int,
            pg_sys::Datum::from(namespace),
        );
        if tuple.is_null() {
            return pg_sys::Oid::from(pg_sys::BOOTSTRAP_SUPERUSERID);
        }
        let form = pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_namespace>();
        let owner = (*form).nspowner;
        pg_sys::ReleaseSysCache(tuple);
        owner
    }
}

/// The oid of table `name` in the extension's schema, if there is one.
pub fn table(name: &std::ffi::CStr) -> Option<pg_sys::Oid> {
    // SAFETY: catalog look-ups.
    unsafe {
        let namespace = pg_sys::get_namespace_oid(c"ward".as_ptr(), true);
        if namespace == pg_sys::InvalidOid {
            return None;
        }
        let oid = pg_sys::get_relname_relid(name.as_ptr(), namespace);
        (oid != pg_sys::InvalidOid).then_some(oid)
    }
}
