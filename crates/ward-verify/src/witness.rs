//! A minimal witness: it cosigns a checkpoint that extends the last one it cosigned, and no other
//! (C2SP tlog-witness). Its state is that last checkpoint, verbatim.

use crate::args::{Keygen, Witness};
use crate::failure::Failure;
use crate::{input, time};
use rand::TryRng;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use ward_log::{
    AddCheckpoint, Checkpoint, SignedNote, VerifierKey, WitnessKey, empty_root, verify_consistency,
};
use zeroize::Zeroizing;

/// The longest request that is read.
const MAX_REQUEST: u64 = 0x10_0000;
/// The exit code when the log is not what it was.
const INCONSISTENT: u8 = 1;

/// Cosigns the checkpoint of the request on standard input, or refuses; returns the exit code.
pub fn run(args: &Witness) -> Result<u8, Failure> {
    let key = VerifierKey::parse(&args.key).map_err(|error| Failure::input("--key", error))?;
    let signer = signing_key(&args.signing_key)?;
    let mut request = String::new();
    io::stdin()
        .take(MAX_REQUEST)
        .read_to_string(&mut request)
        .map_err(|error| Failure::File("standard input".into(), error))?;
    let refused = |what: String| Failure::input("the request", what);
    let request = AddCheckpoint::parse(&input::trimmed(&request))
        .map_err(|error| refused(error.to_string()))?;
    let new = open(&request.checkpoint, &key).map_err(refused)?;

    // from reading the state to replacing it, nobody else may
    let _lock = Lock::take(&args.state)?;
    let old = state(args, &key)?;
    let (size, root) = old
        .as_ref()
        .map_or((0, empty_root()), |old| (old.size, old.root));
    if request.old_size != size {
        return Err(refused(format!(
            "it begins with {} entries, but this witness last cosigned {size}: ask for \
             ward.audit_witness_request({size})",
            request.old_size
        )));
    }
    // no evidence of anything: an old checkpoint under the size of a newer one
    if new.size < size {
        return Err(refused(format!(
            "its checkpoint has {} entries, less than the {size} that it is to extend",
            new.size
        )));
    }
    if !verify_consistency((size, &root), (new.size, &new.root), &request.proof) {
        eprintln!(
            "ward-verify: NOT COSIGNED: the log of {} entries does not extend the one of {size} entries that this \
             witness has cosigned. Keep the request: it shows that the log was rewritten, unless the proof in it is wrong",
            new.size
        );
        return Ok(INCONSISTENT);
    }
    let seconds = u64::try_from(time::now() / 1_000_000)
        .map_err(|_| Failure::Input("the clock stands before 1970".into()))?;
    let line = signer
        .cosign(&new, seconds)
        .map_err(|error| refused(error.to_string()))?;
    replace(&args.state, &request.checkpoint)?;
    io::stdout()
        .write_all(line.as_bytes())
        .map_err(|error| Failure::File("standard output".into(), error))?;
    Ok(0)
}

fn open(note: &str, key: &VerifierKey) -> Result<Checkpoint, String> {
    SignedNote::parse(note)
        .and_then(|note| Checkpoint::open(&note, key))
        .map_err(|error| error.to_string())
}

/// The last checkpoint cosigned. A state that is lost must not be taken for a beginning.
fn state(args: &Witness, key: &VerifierKey) -> Result<Option<Checkpoint>, Failure> {
    let name = args.state.display();
    let found = match fs::symlink_metadata(&args.state) {
        // replacing a link would leave what it points to as it was, for whoever comes by another name
        Ok(found) if !found.is_file() => {
            return Err(Failure::input(
                name,
                "the state must be a file itself, not a link to one",
            ));
        }
        Ok(_) => true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(Failure::File(name.to_string(), error)),
    };
    match (found, args.new) {
        (true, true) => Err(Failure::input(
            name,
            "there is a state already: leave --new out",
        )),
        (false, true) => Ok(None),
        (false, false) => Err(Failure::input(
            name,
            "there is no state: give --new if this witness has never cosigned this log",
        )),
        (true, false) => open(&input::text(&args.state)?, key)
            .map(Some)
            .map_err(|error| Failure::input(name, error)),
    }
}

/// Replaces the state as a whole, on the disk, or not at all.
fn replace(file: &Path, note: &str) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::File(file.display().to_string(), error);
    let directory = directory(file);
    let mut new = tempfile::NamedTempFile::new_in(&directory).map_err(failed)?;
    new.write_all(note.as_bytes()).map_err(failed)?;
    new.as_file().sync_all().map_err(failed)?;
    new.persist(file).map_err(|error| failed(error.error))?;
    let directory = File::open(&directory).map_err(failed)?;
    directory.sync_all().map_err(failed)
}

fn directory(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// A lock beside the state, held while this lives.
struct Lock {
    _file: File,
}

impl Lock {
    fn take(state: &Path) -> Result<Self, Failure> {
        let mut name = state.as_os_str().to_owned();
        name.push(".lock");
        let name = PathBuf::from(name);
        let failed = |error| Failure::File(name.display().to_string(), error);
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&name)
            .map_err(failed)?;
        file.lock().map_err(failed)?;
        Ok(Self { _file: file })
    }
}

fn signing_key(file: &Path) -> Result<WitnessKey, Failure> {
    let name = file.display();
    let failed = |error| Failure::File(name.to_string(), error);
    let mode = fs::metadata(file).map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(Failure::input(
            &name,
            format!("others may read this signing key: chmod 600 {name}"),
        ));
    }
    let text = Zeroizing::new(input::text(file)?);
    WitnessKey::parse(text.trim_end()).map_err(|error| Failure::input(name, error))
}

/// Makes a signing key and prints the public key; returns the exit code.
pub fn keygen(args: &Keygen) -> Result<u8, Failure> {
    let mut seed = Zeroizing::new([0; 32]);
    rand::rngs::SysRng
        .try_fill_bytes(seed.as_mut_slice())
        .map_err(|error| Failure::input("random bytes", error))?;
    let key = WitnessKey::new(&args.name, seed).map_err(|error| Failure::input("--name", error))?;
    let text = Zeroizing::new(format!("{}\n", *key.to_text()));
    input::new_secret(&args.out, text.as_bytes())?;
    println!("{}", key.vkey());
    Ok(0)
}
