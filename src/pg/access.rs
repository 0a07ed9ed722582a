//! Rights of the current role.

use pgrx::prelude::*;

/// Whether the current role may read `relation`.
pub fn may_select(relation: pg_sys::Oid) -> bool {
    // SAFETY: a look-up; raises only when the relation does not exist.
    unsafe {
        let result = pg_sys::pg_class_aclcheck(
            relation,
            pg_sys::GetUserId(),
            pg_sys::ACL_SELECT as pg_sys::AclMode,
        );
        result == pg_sys::AclResult::ACLCHECK_OK
    }
}
