//! The launcher and the sealing workers.
//!
//! The launcher is connected to no database. It starts a worker for a database when a writer marks
//! it, when somebody asks for a seal, and once for every database after a start (entries may be left
//! from before a crash). A worker leaves after a round without work, so that DROP DATABASE and
//! CREATE DATABASE … TEMPLATE do not have to wait for it.

mod launcher;
pub mod request;
mod sealer;

pub use launcher::launcher;
pub use request::sealed_once_more;
pub use sealer::{left, sealer};

use crate::pg::worker;
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use std::time::Duration;

/// The longest interval between rounds that a worker waits inside the database. It leaves before a
/// longer one, so that DROP DATABASE and CREATE DATABASE … TEMPLATE, which wait five seconds for
/// others to leave, succeed.
const LINGER: Duration = Duration::from_secs(2);

static SEAL_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(1000);

/// Defines the setting and registers the launcher.
pub fn init() {
    GucRegistry::define_int_guc(
        c"ward.seal_interval",
        c"Time between two rounds of sealing.",
        c"Entries are sealed into the audit log at least this often while changes are made.",
        &SEAL_INTERVAL,
        10,
        3_600_000,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    worker::register_launcher();
}

fn interval() -> Duration {
    Duration::from_millis(u64::try_from(SEAL_INTERVAL.get()).unwrap_or(0))
}
