//! Prints the time that sealing and opening a value takes. Run it with `--release`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use ward_crypto::{
    CryptoError, Decryptor, Encryptor, Envelope, MIN_ITERATIONS, PasswordKey, PasswordParams,
    SecretKey, ValueType,
};

const ROUNDS: u32 = 7;

fn main() -> Result<(), CryptoError> {
    println!("median of {ROUNDS} rounds, nanoseconds a value");
    println!("{:>8} {:>6} {:>8} {:>8}", "bytes", "aad", "seal", "open");
    let tenant = b"invoices.iban/4711".as_slice();
    for (len, aad, count) in [
        (24, None, 400_000),
        (24, Some(tenant), 400_000),
        (1024, None, 100_000),
        (65_536, None, 2_000),
    ] {
        let (seal, open) = measure(len, aad, count)?;
        let with_aad = if aad.is_some() { "yes" } else { "no" };
        println!("{len:>8} {with_aad:>6} {seal:>8.0} {open:>8.0}");
    }
    let params = PasswordParams::new(MIN_ITERATIONS, [1; 16])?;
    let iteration = median(1, || {
        let derived =
            PasswordKey::derive(black_box(b"password"), params, || Ok::<_, CryptoError>(()));
        black_box(derived?);
        Ok(())
    })?;
    let iteration = iteration / f64::from(MIN_ITERATIONS);
    println!("one iteration of PBKDF2: {iteration:.0}");
    Ok(())
}

fn measure(len: usize, aad: Option<&[u8]>, count: u32) -> Result<(f64, f64), CryptoError> {
    // A fixed key and nonce: nothing that is sealed here leaves the process.
    let key = SecretKey::new([0x42; 32]);
    let mut encryptor = Encryptor::new(&key, [1; 12], [2; 12]);
    let mut decryptor = Decryptor::new(&key);
    let value = vec![b'x'; len];
    let mut envelope = Vec::new();
    encryptor.seal_into(ValueType::Text, &value, aad, &mut envelope)?;

    let seal = median(count, || {
        let mut out = Vec::new();
        encryptor.seal_into(ValueType::Text, black_box(&value), aad, &mut out)?;
        black_box(&out);
        Ok(())
    })?;
    let open = median(count, || {
        let parsed = Envelope::parse(black_box(&envelope))?;
        black_box(&decryptor.open(&parsed, aad)?);
        Ok(())
    })?;
    Ok((seal, open))
}

fn median(
    count: u32,
    mut operation: impl FnMut() -> Result<(), CryptoError>,
) -> Result<f64, CryptoError> {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..count {
            operation()?;
        }
        rounds.push(start.elapsed());
    }
    rounds.sort();
    let middle: Duration = rounds[rounds.len() / 2];
    Ok(middle.as_nanos() as f64 / f64::from(count))
}
