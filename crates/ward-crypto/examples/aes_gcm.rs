//! Prints what the aes-gcm crate alone takes to encrypt and decrypt 2,000 values of 64 KiB: measurements for
//! `benches/run`, as `COPY measurement (what, variant, value)` reads them.

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use aes_gcm::aead::{Aead, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce};

const VALUES: u32 = 2_000;
const ROUNDS: u32 = 5;

fn main() -> Result<(), Box<dyn Error>> {
    // A fixed key and nonce: nothing that is encrypted here leaves the process.
    let cipher = Aes256Gcm::new(&[7; 32].into());
    let nonce = Nonce::from([1; 12]);
    let value = vec![b'x'; 65_536];
    let failed = |_| "the crate refused a value";
    let sealed = cipher.encrypt(&nonce, value.as_slice()).map_err(failed)?;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..VALUES {
            let value = black_box(value.as_slice());
            black_box(cipher.encrypt(&nonce, value).map_err(failed)?);
        }
        let encrypted = start.elapsed();
        for _ in 0..VALUES {
            let sealed = black_box(sealed.as_slice());
            black_box(cipher.decrypt(&nonce, sealed).map_err(failed)?);
        }
        let decrypted = start.elapsed() - encrypted;
        println!("encrypt 64 KiB\tcrate\t{}", encrypted.as_secs_f64());
        println!("decrypt 64 KiB\tcrate\t{}", decrypted.as_secs_f64());
    }
    Ok(())
}
