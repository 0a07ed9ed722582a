//! The keys that the writers of a log authenticate its transactions with.

use crate::args::AuditKey;
use crate::failure::Failure;
use crate::input;
use std::io::Read;
use std::path::Path;
use ward_crypto::{MasterKey, SecretKey, WrapContext, parse_master_keys, unwrap_key};
use zeroize::Zeroizing;

/// The most that is read of a registry.
const MAX_REGISTRY: u64 = 0x10_0000;

/// Unwraps the versions of the audit key on standard input into a file; returns the exit code.
pub fn run(args: &AuditKey) -> Result<u8, Failure> {
    let name = args.master_key.display();
    let text = Zeroizing::new(input::text(&args.master_key)?);
    let masters = parse_master_keys(&text).map_err(|error| Failure::input(name, error))?;
    let mut rows = String::new();
    std::io::stdin()
        .take(MAX_REGISTRY)
        .read_to_string(&mut rows)
        .map_err(|error| Failure::File("standard input".into(), error))?;
    let mut keys = Zeroizing::new(String::new());
    let mut count = 0;
    for (number, row) in (1..)
        .zip(rows.lines())
        .filter(|(_, row)| !row.trim().is_empty())
    {
        let key = unwrapped(&masters, row)
            .map_err(|reason| Failure::input(format!("line {number} of standard input"), reason))?;
        // grown at once, so that no shorter buffer is left behind
        let mut longer = Zeroizing::new(String::with_capacity(keys.len() + 65));
        let digits = Zeroizing::new(hex::encode(key.expose()));
        longer.extend([keys.as_str(), digits.as_str(), "\n"]);
        keys = longer;
        count += 1;
    }
    if count == 0 {
        return Err(Failure::input("standard input", "it holds no key"));
    }
    input::new_secret(&args.out, keys.as_bytes())?;
    println!("audit keys written: {count}");
    Ok(0)
}

/// The key of a row: its UUID, its version, and what is stored of it in hexadecimal.
fn unwrapped(masters: &[MasterKey], row: &str) -> Result<SecretKey, String> {
    let fields: Vec<&str> = row.split_whitespace().collect();
    let [key, version, wrapped] = fields[..] else {
        return Err("it is not a key, a version and a wrapped key, separated by blanks".into());
    };
    let key: uuid::Uuid = key
        .parse()
        .map_err(|_| "its key is not a UUID".to_owned())?;
    let version = version
        .parse()
        .map_err(|_| "its version is not a number".to_owned())?;
    let wrapped =
        hex::decode(wrapped).map_err(|_| "its wrapped key is not hexadecimal".to_owned())?;
    let context = WrapContext {
        key: key.into_bytes(),
        version,
        purpose: "audit",
    };
    unwrap_key(masters, &context, &wrapped).map_err(|error| error.to_string())
}

/// The audit keys in a file, with their ids.
pub fn read(file: &Path) -> Result<Vec<([u8; 8], Zeroizing<[u8; 32]>)>, Failure> {
    let text = Zeroizing::new(input::text(file)?);
    let mut keys = Vec::new();
    for (number, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let mut key = Zeroizing::new([0; 32]);
        hex::decode_to_slice(line.trim(), key.as_mut_slice()).map_err(|_| {
            Failure::input(
                file.display(),
                format!(
                    "line {} is not an audit key of 64 hexadecimal digits",
                    number + 1
                ),
            )
        })?;
        keys.push((SecretKey::new(*key).id().0, key));
    }
    if keys.is_empty() {
        return Err(Failure::input(
            file.display(),
            "the file holds no audit key",
        ));
    }
    Ok(keys)
}
