//! Runs the command that prints the master key: the door to a key management service.

use super::program::Program;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

const TIME_LIMIT: Duration = Duration::from_secs(10);

/// The most a source of master keys may hold.
pub const SIZE_LIMIT: usize = 4096;

/// The standard output of `command`, run without a shell, or the reason why it cannot be used. Its
/// standard error goes where the server's does, so that the operator sees its own complaints.
pub fn output_of(command: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let program = Program::parse(command)?;
    let started = |error: std::io::Error| format!("it could not be started: {error}");
    // A socket, because reading from it can time out.
    let (ours, theirs) = UnixStream::pair().map_err(started)?;
    let mut child = Command::new(&program.path)
        .args(&program.arguments)
        .stdin(Stdio::null())
        .stdout(OwnedFd::from(theirs))
        .process_group(0)
        .spawn()
        .map_err(started)?;
    let deadline = Instant::now() + TIME_LIMIT;
    let outcome = read(ours, deadline).and_then(|output| Ok((output, wait(&mut child, deadline)?)));
    match outcome {
        Ok((output, status)) if status.success() => Ok(output),
        Ok((_, status)) => Err(match (status.code(), status.signal()) {
            (Some(code), _) => format!("it exited with status {code}"),
            (None, Some(signal)) => format!("it was ended by signal {signal}"),
            (None, None) => "it did not succeed".to_owned(),
        }),
        Err(reason) => {
            crate::pg::keys::process::kill_group(child.id());
            // Only to leave no zombie; what it says does not matter any more.
            drop(child.wait());
            Err(reason)
        }
    }
}

fn read(mut from: UnixStream, deadline: Instant) -> Result<Zeroizing<Vec<u8>>, String> {
    // One byte more than allowed tells too much from enough; a fixed buffer leaves no copies behind.
    let mut buffer = Zeroizing::new([0u8; SIZE_LIMIT + 1]);
    let mut filled = 0;
    while filled < buffer.len() {
        let left = remaining(deadline)?;
        from.set_read_timeout(Some(left))
            .map_err(|error| error.to_string())?;
        match from.read(&mut buffer[filled..]) {
            Ok(0) => return Ok(Zeroizing::new(buffer[..filled].to_vec())),
            Ok(read) => filled += read,
            Err(error) => match error.kind() {
                std::io::ErrorKind::Interrupted => {}
                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
                    remaining(deadline)?;
                }
                _ => return Err(format!("its output could not be read: {error}")),
            },
        }
    }
    Err(format!("it printed more than {SIZE_LIMIT} bytes"))
}

fn wait(child: &mut Child, deadline: Instant) -> Result<ExitStatus, String> {
    loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            return Ok(status);
        }
        remaining(deadline)?;
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn remaining(deadline: Instant) -> Result<Duration, String> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(format!("it took longer than {} s", TIME_LIMIT.as_secs()));
    }
    Ok(left)
}
