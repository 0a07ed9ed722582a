//! Files that belong to the server's user: keys, and programs that print keys.

use crate::process::server_user;
use nix::unistd::chown;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A directory of its own for the server's user, removed when it is dropped.
pub struct ServerFiles(TempDir);

impl ServerFiles {
    /// An empty directory that only its owner may enter.
    pub fn new() -> Self {
        let directory = TempDir::with_prefix("ward-files-").expect("make a temporary directory");
        give_to_server(directory.path());
        Self(directory)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file with these permission bits and answers its path.
    pub fn write(&self, name: &str, content: &str, mode: u32) -> PathBuf {
        let file = self.0.path().join(name);
        fs::write(&file, content).expect("write a file");
        self.own(&file, mode);
        file
    }

    /// Makes a directory with these permission bits and answers its path.
    pub fn directory(&self, name: &str, mode: u32) -> PathBuf {
        let directory = self.0.path().join(name);
        fs::create_dir(&directory).expect("make a directory");
        self.own(&directory, mode);
        directory
    }

    /// Gives a file to the server's user, with these permission bits.
    pub fn own(&self, file: &Path, mode: u32) {
        fs::set_permissions(file, Permissions::from_mode(mode)).expect("set permissions");
        give_to_server(file);
    }
}

impl Default for ServerFiles {
    fn default() -> Self {
        Self::new()
    }
}

/// Gives a file to the server's user.
pub fn give_to_server(path: &Path) {
    if let Some((uid, gid)) = server_user() {
        chown(path, Some(uid), Some(gid)).expect("give a file to the server's user");
    }
}
