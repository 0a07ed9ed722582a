//! The additional data that an envelope authenticates.

use crate::envelope::HEADER_LEN;
use crate::error::CryptoError;
use crate::password_envelope::PASSWORD_HEADER_LEN;

/// Short, so that with the header and no additional data of the caller's it is two blocks of GHASH.
const LABEL: &[u8; 11] = b"ward/env/v1";

/// Label, header, presence flag and length: everything before the caller's own bytes.
const FIXED_LEN: usize = LABEL.len() + HEADER_LEN + 1 + 8;

/// Caller's bytes up to this length are assembled on the stack.
const SMALL_LEN: usize = 128;

/// Calls `f` with `label || header || presence || u64 length || aad`.
///
/// The presence flag tells no additional data from empty additional data; the length makes the
/// encoding injective. Only an `aad` longer than [`SMALL_LEN`] costs an allocation, which is refused
/// when there is no memory.
pub(crate) fn with_aad<R>(
    header: &[u8; HEADER_LEN],
    aad: Option<&[u8]>,
    f: impl FnOnce(&[u8]) -> R,
) -> Result<R, CryptoError> {
    let fixed = fixed_part(header, aad);
    match aad {
        None | Some([]) => Ok(f(&fixed)),
        Some(aad) if aad.len() <= SMALL_LEN => {
            let mut buffer = [0u8; FIXED_LEN + SMALL_LEN];
            buffer[..FIXED_LEN].copy_from_slice(&fixed);
            buffer[FIXED_LEN..FIXED_LEN + aad.len()].copy_from_slice(aad);
            Ok(f(&buffer[..FIXED_LEN + aad.len()]))
        }
        Some(aad) => Ok(f(&joined(&[&fixed, aad])?)),
    }
}

/// The same for the header of suite 3.
pub(crate) fn password_aad(
    header: &[u8; PASSWORD_HEADER_LEN],
    aad: Option<&[u8]>,
) -> Result<Vec<u8>, CryptoError> {
    let bytes = aad.unwrap_or_default();
    joined(&[
        LABEL,
        header.as_slice(),
        &[u8::from(aad.is_some())],
        &(bytes.len() as u64).to_be_bytes(),
        bytes,
    ])
}

/// The parts, one after the other. Additional data may be as long as PostgreSQL's memory allows.
pub(crate) fn joined(parts: &[&[u8]]) -> Result<Vec<u8>, CryptoError> {
    let mut whole = Vec::new();
    whole
        .try_reserve_exact(parts.iter().map(|part| part.len()).sum())
        .map_err(|_| CryptoError::OutOfMemory)?;
    parts.iter().for_each(|part| whole.extend_from_slice(part));
    Ok(whole)
}

fn fixed_part(header: &[u8; HEADER_LEN], aad: Option<&[u8]>) -> [u8; FIXED_LEN] {
    const HEADER_END: usize = LABEL.len() + HEADER_LEN;
    let mut fixed = [0u8; FIXED_LEN];
    fixed[..LABEL.len()].copy_from_slice(LABEL);
    fixed[LABEL.len()..HEADER_END].copy_from_slice(header);
    fixed[HEADER_END] = u8::from(aad.is_some());
    let length = aad.map_or(0, <[u8]>::len) as u64;
    fixed[HEADER_END + 1..].copy_from_slice(&length.to_be_bytes());
    fixed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assembled(aad: Option<&[u8]>) -> Vec<u8> {
        with_aad(b"HHHHHHHHHHHH", aad, <[u8]>::to_vec).unwrap()
    }

    fn expected(header: &[u8], aad: &[u8]) -> Vec<u8> {
        let length = (aad.len() as u64).to_be_bytes();
        [b"ward/env/v1", header, &[1], &length, aad].concat()
    }

    #[test]
    fn is_the_same_however_it_is_assembled() {
        for len in [0, 1, SMALL_LEN - 1, SMALL_LEN, SMALL_LEN + 1, 5000] {
            let aad: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            assert_eq!(assembled(Some(&aad)), expected(b"HHHHHHHHHHHH", &aad));
            let header = [b'H'; PASSWORD_HEADER_LEN];
            assert_eq!(
                password_aad(&header, Some(&aad)),
                Ok(expected(&header, &aad))
            );
        }
    }

    #[test]
    fn absent_is_not_empty() {
        assert_eq!(
            assembled(None),
            b"ward/env/v1HHHHHHHHHHHH\0\0\0\0\0\0\0\0\0"
        );
        assert_ne!(assembled(None), assembled(Some(b"")));
        let header = [b'H'; PASSWORD_HEADER_LEN];
        assert_ne!(
            password_aad(&header, None),
            password_aad(&header, Some(b""))
        );
    }

    #[test]
    fn without_a_callers_aad_it_is_two_blocks() {
        assert_eq!(assembled(None).len(), 2 * 16);
    }
}
