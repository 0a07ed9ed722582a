//! What a test may ask of its cluster.

use std::fs;
use std::io::Read;

/// Where the server finds its master key.
#[derive(Clone, Debug)]
pub enum MasterKey {
    /// A file with a fresh random key, readable by the server only.
    Random,
    /// No source at all is configured.
    None,
    /// A file with exactly this content and these permission bits.
    File {
        /// What the file holds.
        content: String,
        /// Its permission bits, such as `0o600`.
        mode: u32,
    },
}

impl MasterKey {
    /// A key file with `content` that only the server may read.
    pub fn private_file(content: &str) -> Self {
        Self::File {
            content: content.to_owned(),
            mode: 0o600,
        }
    }
}

/// How to start a cluster.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether pg_ward is in `shared_preload_libraries`.
    pub preload: bool,
    /// The master key.
    pub master_key: MasterKey,
    /// Further environment variables of the server.
    pub environment: Vec<(String, String)>,
    /// Further lines of postgresql.conf. They come last, so they win.
    pub settings: Vec<(String, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            preload: true,
            master_key: MasterKey::Random,
            environment: Vec::new(),
            settings: Vec::new(),
        }
    }
}

impl Options {
    /// A server without pg_ward.
    pub fn plain() -> Self {
        Self {
            preload: false,
            master_key: MasterKey::None,
            ..Self::default()
        }
    }

    /// These options with one more setting.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// These options with another master key.
    pub fn master_key(mut self, key: MasterKey) -> Self {
        self.master_key = key;
        self
    }
}

/// 32 random bytes in hexadecimal, from the operating system: a master key.
pub fn random_key() -> String {
    let mut bytes = [0u8; 32];
    fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .expect("read /dev/urandom");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
