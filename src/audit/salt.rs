//! Salts of images, drawn from the operating system in batches: one call per row costs more than
//! all other work on it.

use crate::error::{self, Result};
use pgrx::PgSqlErrorCode;
use rand::TryRng;
use rand::rngs::SysRng;

const SALTS: usize = 256;

/// A batch of unused salts. It is filled by the backend that uses it, never before a fork.
pub struct SaltPool {
    bytes: Box<[[u8; 16]; SALTS]>,
    used: usize,
}

impl Default for SaltPool {
    fn default() -> Self {
        SaltPool {
            bytes: Box::new([[0; 16]; SALTS]),
            used: SALTS,
        }
    }
}

impl SaltPool {
    /// A salt that was never given out before.
    pub fn next(&mut self) -> Result<[u8; 16]> {
        if self.used == SALTS {
            SysRng
                .try_fill_bytes(self.bytes.as_flattened_mut())
                .map_err(|_| {
                    error::report(
                        PgSqlErrorCode::ERRCODE_SYSTEM_ERROR,
                        "the operating system gave no random bytes",
                    )
                })?;
            self.used = 0;
        }
        let salt = self.bytes[self.used];
        self.used += 1;
        Ok(salt)
    }
}
