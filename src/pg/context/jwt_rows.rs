//! Reads the keys of token issuers with a fresh snapshot, as the key registry is read: a key that was
//! retired is retired inside a REPEATABLE READ transaction too, and on a standby.

use crate::pg::keys::{invalidation, rows};
use pgrx::prelude::*;

/// A row of `ward.jwt_key`.
pub struct JwtKeyRow {
    /// The row's identity.
    pub id: [u8; 16],
    /// Whose tokens it verifies.
    pub issuer: String,
    /// What tokens name it by.
    pub kid: String,
    /// The public key, as a JWK.
    pub key: String,
    /// The algorithms it may be used with.
    pub algorithms: Vec<String>,
    /// Whom its tokens must be for.
    pub audience: String,
    /// Whether it verifies nothing any more.
    pub retired: bool,
    /// The id of a master key, then a MAC under it.
    pub mac: Vec<u8>,
}

/// The types of the columns that sql/context_tokens.sql declares.
const TYPES: [pg_sys::Oid; 8] = [
    pg_sys::UUIDOID,
    pg_sys::TEXTOID,
    pg_sys::TEXTOID,
    pg_sys::TEXTOID,
    pg_sys::TEXTARRAYOID,
    pg_sys::TEXTOID,
    pg_sys::BOOLOID,
    pg_sys::BYTEAOID,
];

/// All rows as of now. `None` when pg_ward is not installed, or a column that is never NULL is.
pub fn read() -> Option<Vec<JwtKeyRow>> {
    let table = rows::relation(c"jwt_key")?;
    // Changes of this table are announced as changes of the registry.
    invalidation::watch(rows::registry()?);
    // SAFETY: in a transaction. A catalog snapshot of a relation without a syscache is taken anew at
    // each call; registering copies it, so it lasts until it is unregistered.
    let snapshot = unsafe { pg_sys::RegisterSnapshot(pg_sys::GetCatalogSnapshot(table)) };
    let found = rows::scan(table, &TYPES, snapshot, |row| {
        Some(JwtKeyRow {
            id: row.uuid(0)?,
            issuer: row.get(1)?,
            kid: row.get(2)?,
            key: row.get(3)?,
            algorithms: row.get(4)?,
            audience: row.get(5)?,
            retired: row.get(6)?,
            mac: row.get(7)?,
        })
    });
    // SAFETY: registered above, by the same resource owner.
    unsafe { pg_sys::UnregisterSnapshot(snapshot) };
    found
}
