//! Moves the keys of issuers under another master key, together with the key registry.

use crate::keys::seal::{self, Verdict};
use crate::keys::{KeyError, Row};
use crate::pg::context::jwt_rows;
use pgrx::spi::SpiClient;

/// Authenticates all rows under the current master key, whose id is `current`. Refuses, naming the
/// key, when a row is not authentic: it would become so.
pub fn rewrap(client: &mut SpiClient<'_>, current: [u8; 8]) -> Result<(), KeyError> {
    client.update(
        "LOCK TABLE ward.jwt_key IN SHARE ROW EXCLUSIVE MODE",
        None,
        &[],
    )?;
    for row in jwt_rows::read().ok_or(KeyError::NotInstalled)? {
        let names = row.algorithms.join(",");
        let authentic = Row::Jwt {
            issuer: &row.issuer,
            kid: &row.kid,
            key: &row.key,
            algorithms: &names,
            audience: &row.audience,
            retired: row.retired,
        };
        match seal::verify(&authentic, &row.id, &row.mac)? {
            Verdict::Authentic if row.mac.starts_with(&current) => continue,
            Verdict::Authentic => {}
            Verdict::Altered => {
                return Err(KeyError::IssuerKeyTampered {
                    issuer: row.issuer,
                    kid: row.kid,
                });
            }
            Verdict::UnknownMaster => {
                return Err(KeyError::IssuerKeyMaster {
                    issuer: row.issuer,
                    kid: row.kid,
                });
            }
        }
        let mac = seal::mac(&authentic, &row.id)?;
        let updated = client.update(
            "UPDATE ward.jwt_key SET mac = $2 WHERE id = $1",
            None,
            &[pgrx::Uuid::from_bytes(row.id).into(), mac.into()],
        )?;
        // A row that came after this transaction's snapshot.
        if updated.len() != 1 {
            return Err(KeyError::Concurrent);
        }
    }
    Ok(())
}
