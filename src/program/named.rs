//! Which programs the server runs: only those that nobody but its own user and root can replace.

use std::fs::{self, Metadata};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A program and its arguments.
#[derive(Debug)]
pub struct Program {
    /// An absolute path.
    pub path: PathBuf,
    /// What follows it.
    pub arguments: Vec<String>,
}

/// Characters that mean something to a shell. There is none, so they would not do what they say.
const SHELL: &[char] = &[
    '\'', '"', '\\', '|', '&', ';', '<', '>', '(', ')', '$', '`', '*', '?', '[', ']', '#', '~',
    '!', '{', '}', '\n', '\r', '\0',
];

/// More links than this in one path are taken for a loop, as the kernel does.
const LINKS: usize = 40;

impl Program {
    /// Takes `command` apart at its white space and looks at the program, or says why it is refused.
    pub fn parse(command: &str) -> Result<Self, String> {
        if let Some(found) = command.chars().find(|c| SHELL.contains(c)) {
            return Err(format!(
                "it contains {found:?}, which is for a shell, but it is run without one; put it into a script"
            ));
        }
        let mut words = command.split_whitespace();
        let path = PathBuf::from(words.next().ok_or("it names no program")?);
        if !path.is_absolute() {
            return Err("its program is not an absolute path".to_owned());
        }
        check(&path)?;
        Ok(Self {
            path,
            arguments: words.map(str::to_owned).collect(),
        })
    }
}

/// Follows the path link by link: whoever may write to a directory that it names, or to the one that
/// it ends in, could have it end elsewhere.
fn check(path: &Path) -> Result<(), String> {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        let parent = path.parent().ok_or("its program is a directory")?;
        for (distance, named) in parent.ancestors().enumerate() {
            let real = fs::canonicalize(named).map_err(|error| about(named, &error))?;
            check_directories(&real, distance == 0)?;
        }
        let directory = fs::canonicalize(parent).map_err(|error| about(parent, &error))?;
        let name = path.file_name().ok_or("its program is a directory")?;
        let found = directory.join(name);
        let metadata = fs::symlink_metadata(&found).map_err(|error| about(&found, &error))?;
        if !metadata.is_symlink() {
            return check_program(&found, &metadata);
        }
        let target = fs::read_link(&found).map_err(|error| about(&found, &error))?;
        path = directory.join(target);
    }
    Err("its program is behind too many symbolic links".to_owned())
}

fn check_program(path: &Path, metadata: &Metadata) -> Result<(), String> {
    let shown = path.display();
    if !metadata.is_file() {
        return Err(format!("\"{shown}\" is not a regular file"));
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Err(format!(
            "group or others may write to \"{shown}\" (mode {mode:04o}); set mode 0700 or 0755"
        ));
    }
    if mode & 0o111 == 0 {
        return Err(format!("\"{shown}\" is not executable (mode {mode:04o})"));
    }
    check_owner(path, metadata)
}

/// Whoever may write to a directory may put another program, or another directory, in its place. A
/// sticky directory further up (`/tmp`) only lets owners do that.
fn check_directories(directory: &Path, holds_program: bool) -> Result<(), String> {
    for (distance, one) in directory.ancestors().enumerate() {
        let shown = one.display();
        let metadata = fs::metadata(one).map_err(|error| about(one, &error))?;
        let mode = metadata.permissions().mode() & 0o7777;
        let sticky = mode & 0o1000 != 0 && !(holds_program && distance == 0);
        if mode & 0o022 != 0 && !sticky {
            return Err(format!(
                "group or others may write to the directory \"{shown}\" (mode {mode:04o})"
            ));
        }
        check_owner(one, &metadata)?;
    }
    Ok(())
}

fn check_owner(path: &Path, metadata: &Metadata) -> Result<(), String> {
    let owner = metadata.uid();
    if owner == 0 || owner == crate::pg::keys::process::user() {
        return Ok(());
    }
    Err(format!(
        "\"{}\" belongs to user {owner}, who is neither the server's user nor root",
        path.display()
    ))
}

fn about(path: &Path, error: &std::io::Error) -> String {
    format!("\"{}\": {error}", path.display())
}
