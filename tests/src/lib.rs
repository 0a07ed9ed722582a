//! The harness of the session tests: private PostgreSQL servers in temporary directories.
//!
//! A [`Cluster`] runs the PostgreSQL that `make stage` copied (environment variable
//! `WARD_STAGE`), listens only on a Unix socket in its own directory, and disappears when it is
//! dropped. It never touches a cluster of the machine. Run by root, the server runs as user
//! `postgres`, because PostgreSQL refuses to run as root.

pub mod auditor;
mod cluster;
mod files;
mod issuer;
mod options;
mod process;
mod query;
pub mod rewrite;
mod stop;
mod tamper;

pub use cluster::{Cluster, StartFailure};
pub use files::{ServerFiles, give_to_server};
pub use issuer::{Algorithm, Issuer, now};
pub use options::{MasterKey, Options, random_key};
pub use postgres;
pub use process::{kill_process, server_identity};
pub use query::{
    Verdict, changes, number, refused, run, seal_and_verify, text, texts, verify, wait_until,
    wait_until_sealers_left,
};
pub use stop::Stop;
pub use tamper::{IN_ORDER, leaves, tamper, tamper_segment};

/// The database that [`Cluster::with_extension`] prepares.
pub const DATABASE: &str = "app";

/// The superuser of every test cluster.
pub const SUPERUSER: &str = "postgres";
