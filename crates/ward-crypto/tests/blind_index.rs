//! Blind indexes: equal for equal values of one domain, and for nothing else.

use proptest::prelude::*;
use ward_crypto::{IndexBitsError, SecretKey, blind_index};

fn index(domain: &str, bits: u16, values: &[&str]) -> Vec<u8> {
    let values: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
    blind_index(&SecretKey::new([7; 32]), domain.as_bytes(), bits, &values).unwrap()
}

#[test]
fn domain_bits_and_boundaries_of_values_count() {
    let all = [
        index("email", 128, &["a@b.c"]),
        index("phone", 128, &["a@b.c"]),
        index("", 128, &["a@b.c"]),
        index("email", 127, &["a@b.c"]),
        index("email", 128, &["a@b.", "c"]),
        index("email", 128, &["a@b.c", ""]),
        index("email", 128, &["", "a@b.c"]),
        index("email", 128, &[""]),
        index("email", 128, &[]),
        index("emaila", 128, &["@b.c"]),
    ];
    let different: std::collections::HashSet<_> = all.iter().collect();
    assert_eq!(different.len(), all.len());
    assert_eq!(index("email", 128, &["a@b.c"]), all[0]);
}

#[test]
fn a_short_index_is_not_the_beginning_of_a_long_one() {
    let long = index("email", 256, &["a@b.c"]);
    let beginnings = (8..256u16).filter(|bits| {
        let short = index("email", *bits, &["a@b.c"]);
        bits.is_multiple_of(8) && *bits >= 32 && long.starts_with(&short)
    });
    assert_eq!(beginnings.count(), 0);
}

#[test]
fn bits_out_of_range_are_refused() {
    let key = SecretKey::new([7; 32]);
    for bits in [0, 1, 7, 257, u16::MAX] {
        assert_eq!(blind_index(&key, b"", bits, &[]), Err(IndexBitsError));
    }
}

proptest! {
    #[test]
    fn an_index_has_so_many_bits(bits in 8u16..=256, value: String) {
        let index = index("domain", bits, &[&value]);
        prop_assert_eq!(index.len(), usize::from(bits).div_ceil(8));
        let surplus = index.len() * 8 - usize::from(bits);
        prop_assert!(index.last().unwrap().trailing_zeros() as usize >= surplus);
    }
}

#[test]
fn every_kept_bit_is_used() {
    for bits in 8..=64u16 {
        let mut seen = vec![0u8; usize::from(bits).div_ceil(8)];
        for value in 0..64 {
            let index = index("domain", bits, &[&value.to_string()]);
            seen.iter_mut()
                .zip(index)
                .for_each(|(seen, byte)| *seen |= byte);
        }
        let set: u32 = seen.iter().map(|byte| byte.count_ones()).sum();
        assert_eq!(set, u32::from(bits));
    }
}
