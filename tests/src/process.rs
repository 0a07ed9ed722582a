//! Running PostgreSQL's programs as the right user, and ending them.

use crate::query::wait_until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Gid, Pid, Uid, User};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

/// The user the server runs as when that is not the user who runs the tests.
pub fn server_user() -> Option<(Uid, Gid)> {
    if !Uid::effective().is_root() {
        return None;
    }
    let user = User::from_name("postgres")
        .expect("read the user database")
        .expect(
            "root runs the tests, so the server runs as user postgres, who does not exist here",
        );
    Some((user.uid, user.gid))
}

/// The programs of the staged PostgreSQL.
pub fn programs() -> PathBuf {
    let stage = env::var_os("WARD_STAGE")
        .expect("WARD_STAGE names no staged PostgreSQL: run the session tests with `make test`");
    Path::new(&stage).join("bin")
}

/// The programs of the PostgreSQL to upgrade to: the same, unless `WARD_UPGRADE_STAGE` names another.
pub fn programs_to_upgrade_to() -> PathBuf {
    env::var_os("WARD_UPGRADE_STAGE").map_or_else(programs, |stage| Path::new(&stage).join("bin"))
}

/// A command that runs `program` as the server's user, in `directory`.
pub fn server_command(program: &Path, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(directory);
    server_identity(&mut command);
    command
}

/// Has a command run as the user the servers run as.
pub fn server_identity(command: &mut Command) {
    if let Some((uid, gid)) = server_user() {
        command.uid(uid.as_raw()).gid(gid.as_raw());
    }
}

/// Sends `signal`; a process that has just ended is not an error.
pub fn send(pid: u32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid.cast_signed()), signal);
}

/// Kills one process of a server with SIGKILL; false when it had ended already. When this returns, the postmaster has
/// noticed: it lets nobody in any more before it has ended all others and started anew.
pub fn kill_process(pid: u32) -> bool {
    if kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).is_err() {
        return false;
    }
    wait_until_gone(pid);
    true
}

/// Waits until the postmaster has noticed that a process has ended.
pub fn wait_until_gone(pid: u32) {
    wait_until("the postmaster has noticed", || state(pid).is_none());
}

/// How long a process may take to notice a signal.
const PATIENCE: Duration = Duration::from_secs(60);

/// Kills a postmaster and all its children at once, as a power failure would: the postmaster is
/// stopped first, so that it cannot tell its children or restart anything.
pub fn kill_family(postmaster: u32) {
    send(postmaster, Signal::SIGSTOP);
    // Until it has stopped it may fork one more child, which would be missed.
    let deadline = Instant::now() + PATIENCE;
    while state(postmaster).is_some_and(|state| !"TZ".contains(state)) && Instant::now() < deadline
    {
        thread::sleep(Duration::from_millis(1));
    }
    let children = children(postmaster);
    for child in &children {
        send(*child, Signal::SIGKILL);
    }
    send(postmaster, Signal::SIGKILL);
    // A child that is still ending holds the shared memory, and the next start is refused.
    let deadline = Instant::now() + PATIENCE;
    while children.iter().any(|child| lives(*child)) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(10));
    }
}

/// Whether the process still has its memory; one that only waits to be reaped has not.
fn lives(pid: u32) -> bool {
    state(pid).is_some_and(|state| state != 'Z')
}

/// The state of a process as the kernel abbreviates it, such as T for stopped.
fn state(pid: u32) -> Option<char> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("State:"))?;
    line.trim_start_matches("State:")
        .trim_start()
        .chars()
        .next()
}

fn children(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").expect("list /proc");
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| parent_of(*pid) == Some(parent))
        .collect()
}

fn parent_of(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("PPid:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
