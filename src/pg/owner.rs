//! Running the extension's own queries on its own tables, whoever the caller is.

use crate::error;
use pgrx::prelude::*;
use std::ffi::{CStr, c_int};

/// Runs `work` as the owner of the extension, with a search path nobody can put objects in and the
/// latest snapshot, so that neither the caller's rights, path nor isolation level matter. Everything
/// is restored when `work` returns or raises.
pub fn run<R>(work: impl FnOnce() -> R) -> R {
    let _scope = Scope::enter(true);
    work()
}

/// As [`run`], with the snapshot of the running statement: for a function that is called again and again for its
/// rows, and must read them all as of one moment.
pub fn run_in_statement<R>(work: impl FnOnce() -> R) -> R {
    let _scope = Scope::enter(false);
    work()
}

/// Runs `work` as the owner of `table`, past the policies of what he owns, as PostgreSQL itself checks
/// foreign keys. Reading a table runs code of its owner (a function that an index uses on constants is
/// called by the planner), so that nobody with more rights may do it here. An error that `work` raises must
/// end the (sub)transaction, whose abort restores the user.
pub fn as_owner_of<R>(table: pg_sys::Oid, work: impl FnOnce() -> R) -> R {
    let owner = owner_of(table);
    if owner == pg_sys::InvalidOid {
        error::raise(error::report(
            PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
            "the table does not exist",
        ));
    }
    let restricted = pg_sys::SECURITY_LOCAL_USERID_CHANGE
        | pg_sys::SECURITY_RESTRICTED_OPERATION
        | pg_sys::SECURITY_NOFORCE_RLS;
    // SAFETY: inside a transaction; the user is put back here or by abort.
    unsafe {
        let mut user = pg_sys::InvalidOid;
        let mut security = 0;
        pg_sys::GetUserIdAndSecContext(&mut user, &mut security);
        pg_sys::SetUserIdAndSecContext(owner, security | restricted as c_int);
        let result = work();
        pg_sys::SetUserIdAndSecContext(user, security);
        result
    }
}

/// The extension's own queries find their objects where they are, and take less time than compiling them would.
const SETTINGS: [(&CStr, &CStr); 2] = [(c"search_path", c"pg_catalog, pg_temp"), (c"jit", c"off")];

struct Scope {
    user: pg_sys::Oid,
    security: c_int,
    nest: c_int,
    own_snapshot: bool,
}

impl Scope {
    fn enter(own_snapshot: bool) -> Scope {
        // SAFETY: inside a transaction; what is saved here is restored in `drop`.
        unsafe {
            let mut user = pg_sys::InvalidOid;
            let mut security = 0;
            pg_sys::GetUserIdAndSecContext(&mut user, &mut security);
            let Some(owner) = table(c"audit_log").map(owner_of) else {
                error::raise(error::report(
                    PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
                    "the extension pg_ward is not installed in this database",
                ));
            };
            let nest = pg_sys::NewGUCNestLevel();
            pg_sys::SetUserIdAndSecContext(
                owner,
                security | pg_sys::SECURITY_LOCAL_USERID_CHANGE as c_int,
            );
            let scope = Scope {
                user,
                security,
                nest,
                own_snapshot,
            };
            for (name, value) in SETTINGS {
                pg_sys::set_config_option(
                    name.as_ptr(),
                    value.as_ptr(),
                    pg_sys::GucContext::PGC_USERSET,
                    pg_sys::GucSource::PGC_S_SESSION,
                    pg_sys::GucAction::GUC_ACTION_SAVE,
                    true,
                    0,
                    false,
                );
            }
            if own_snapshot {
                pg_sys::PushActiveSnapshot(pg_sys::GetLatestSnapshot());
            }
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
                if self.own_snapshot {
                    pg_sys::PopActiveSnapshot();
                }
                pg_sys::AtEOXact_GUC(true, self.nest);
            }
            pg_sys::SetUserIdAndSecContext(self.user, self.security);
        }
    }
}

/// The owner of a table, the invalid oid when there is no such table.
pub(super) fn owner_of(table: pg_sys::Oid) -> pg_sys::Oid {
    // SAFETY: the tuple is released after its fixed part was read.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(
            pg_sys::SysCacheIdentifier::RELOID as c_int,
            pg_sys::Datum::from(table),
        );
        if tuple.is_null() {
            return pg_sys::InvalidOid;
        }
        let form = pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_class>();
        let owner = (*form).relowner;
        pg_sys::ReleaseSysCache(tuple);
        owner
    }
}

/// The oid of table or view `name` of the extension, if it is installed.
///
/// A table of that name that is no member of the extension does not count: in a database without
/// the extension anybody who may create a schema could have made one, and the worker reads it as a
/// superuser.
pub fn table(name: &CStr) -> Option<pg_sys::Oid> {
    let oid = relation(name)?;
    // SAFETY: catalog look-ups.
    unsafe {
        let extension = pg_sys::get_extension_oid(c"pg_ward".as_ptr(), true);
        let member_of = pg_sys::getExtensionOfObject(pg_sys::RelationRelationId, oid);
        (extension != pg_sys::InvalidOid && member_of == extension).then_some(oid)
    }
}

/// The oid of a segment table: no member of the extension, but owned by its owner. It is locked until the transaction
/// ends, so that it is neither dropped nor replaced: what the name stood for before the lock may be gone.
pub fn segment(name: &CStr) -> Option<pg_sys::Oid> {
    let log = table(c"audit_log")?;
    let mut segment = relation(name)?;
    loop {
        // SAFETY: the lock manager takes any oid; getting a lock takes notice of what others have dropped.
        unsafe { pg_sys::LockRelationOid(segment, pg_sys::AccessShareLock as i32) };
        match relation(name) {
            Some(now) if now == segment => break,
            now => {
                // SAFETY: taken above.
                unsafe { pg_sys::UnlockRelationOid(segment, pg_sys::AccessShareLock as i32) };
                segment = now?;
            }
        }
    }
    // SAFETY: a catalog look-up.
    let kind = unsafe { pg_sys::get_rel_relkind(segment) } as u8;
    (kind == pg_sys::RELKIND_RELATION && owner_of(segment) == owner_of(log)).then_some(segment)
}

/// Has a segment dropped together with the log's identity table, and so with the extension.
pub fn bind_to_log(segment: pg_sys::Oid) {
    let Some(log) = table(c"audit_log") else {
        return;
    };
    let address = |oid| pg_sys::ObjectAddress {
        classId: pg_sys::RelationRelationId,
        objectId: oid,
        objectSubId: 0,
    };
    // SAFETY: both addresses outlive the call.
    unsafe {
        pg_sys::recordDependencyOn(
            &address(segment),
            &address(log),
            pg_sys::DependencyType::DEPENDENCY_AUTO,
        );
    }
}

fn relation(name: &CStr) -> Option<pg_sys::Oid> {
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
