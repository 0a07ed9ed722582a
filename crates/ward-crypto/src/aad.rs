//! The additional data that an envelope authenticates.

use crate::envelope::HEADER_LEN;

const LABEL: &[u8; 16] = b"ward/envelope/v1";

/// Label, header, presence flag and length: everything before the caller's own bytes.
const FIXED_LEN: usize = LABEL.len() + HEADER_LEN + 1 + 8;

/// Caller's bytes up to this length are assembled on the stack.
const SMALL_LEN: usize = 128;

/// Calls `f` with `label || header || presence || u64 length || aad`.
///
/// The presence flag tells no additional data from empty additional data; the length makes the
/// encoding injective. Only an `aad` longer than [`SMALL_LEN`] costs an allocation.
pub(crate) fn with_aad<R>(
    header: &[u8; HEADER_LEN],
    aad: Option<&[u8]>,
    f: impl FnOnce(&[u8]) -> R,
) -> R {
    let fixed = fixed_part(header, aad);
    match aad {
        None | Some([]) => f(&fixed),
        Some(aad) if aad.len() <= SMALL_LEN => {
            let mut buffer = [0u8; FIXED_LEN + SMALL_LEN];
            buffer[..FIXED_LEN].copy_from_slice(&fixed);
            buffer[FIXED_LEN..FIXED_LEN + aad.len()].copy_from_slice(aad);
            f(&buffer[..FIXED_LEN + aad.len()])
        }
        Some(aad) => f(&[&fixed, aad].concat()),
    }
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
        with_aad(b"HHHHHHHHHHHH", aad, <[u8]>::to_vec)
    }

    #[test]
    fn is_the_same_however_it_is_assembled() {
        for len in [0, 1, SMALL_LEN - 1, SMALL_LEN, SMALL_LEN + 1, 5000] {
            let aad: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            let mut expected = b"ward/envelope/v1HHHHHHHHHHHH\x01".to_vec();
            expected.extend((len as u64).to_be_bytes());
            expected.extend(&aad);
            assert_eq!(assembled(Some(&aad)), expected, "{len} bytes");
        }
    }

    #[test]
    fn absent_is_not_empty() {
        assert_eq!(
            assembled(None),
            b"ward/envelope/v1HHHHHHHHHHHH\0\0\0\0\0\0\0\0\0"
        );
        assert_ne!(assembled(None), assembled(Some(b"")));
    }
}
