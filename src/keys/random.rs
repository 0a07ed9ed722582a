//! Randomness, only ever from the operating system.

use super::error::KeyError;
use rand::TryRng;
use rand::rngs::SysRng;

/// Fresh bytes from the operating system's generator.
pub fn bytes<const N: usize>() -> Result<[u8; N], KeyError> {
    let mut bytes = [0; N];
    SysRng
        .try_fill_bytes(&mut bytes)
        .map_err(|_| KeyError::NoRandom)?;
    Ok(bytes)
}
