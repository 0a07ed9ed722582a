//! Reads master keys from a file that nobody but the server's user may read.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use ward_crypto::{MasterKey, parse_master_keys};
use zeroize::Zeroizing;

/// The most a source of master keys may hold.
pub const SIZE_LIMIT: usize = 4096;

/// The keys in the file, the current one first, or the reason why it cannot be used.
pub fn read(path: &Path) -> Result<Vec<MasterKey>, String> {
    if !path.is_absolute() {
        return Err("its name is not an absolute path".to_owned());
    }
    // Not blocking, so that a named pipe is refused below instead of waited for.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map_err(|error| error.to_string())?;
    check(&file)?;
    let mut content = Zeroizing::new([0u8; SIZE_LIMIT + 1]);
    let mut filled = 0;
    while filled < content.len() {
        match (&file).read(&mut content[filled..]) {
            Ok(0) => return parse(&content[..filled]),
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    Err(format!("it holds more than {SIZE_LIMIT} bytes"))
}

/// The keys in a text, one a line.
pub fn parse(content: &[u8]) -> Result<Vec<MasterKey>, String> {
    let text = std::str::from_utf8(content)
        .map_err(|_| "it is neither hexadecimal nor base64 text".to_owned())?;
    parse_master_keys(text).map_err(|error| error.to_string())
}

/// Looks at the opened file, not at the name, which may point elsewhere by now.
fn check(file: &File) -> Result<(), String> {
    let metadata = file.metadata().map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(format!(
            "group or others have access to it (mode {mode:04o}); set mode 0600 or 0400"
        ));
    }
    Ok(())
}
