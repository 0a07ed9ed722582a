//! Runs the command that is given checkpoints.

use crate::pg::keys::process::kill_group;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

const TIME_LIMIT: Duration = Duration::from_secs(10);
/// The most that is read of the answer.
const SIZE_LIMIT: usize = 0x1_0000;

/// What `/bin/sh -c command` prints when it is given `input`, or the reason why it cannot be used. Its standard error
/// goes where the server's does.
pub fn answer_of(command: &str, input: &[u8]) -> Result<Vec<u8>, String> {
    let started = |error: std::io::Error| format!("it could not be started: {error}");
    // one socket for both ways, because reading from it and writing to it can time out
    let (ours, theirs) = UnixStream::pair().map_err(started)?;
    let output = theirs.try_clone().map_err(started)?;
    let mut child = Command::new("/bin/sh")
        .arg("-c")
        .arg(command)
        .stdin(OwnedFd::from(theirs))
        .stdout(OwnedFd::from(output))
        .process_group(0)
        .spawn()
        .map_err(started)?;
    let deadline = Instant::now() + TIME_LIMIT;
    let outcome = talk(ours, input, deadline).and_then(|answer| {
        wait(&mut child, deadline)?;
        Ok(answer)
    });
    if outcome.is_err() {
        kill_group(child.id());
        // Only to leave no zombie; what it says does not matter any more.
        drop(child.wait());
    }
    outcome
}

fn talk(mut stream: UnixStream, input: &[u8], deadline: Instant) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("it could not be talked to: {error}");
    stream
        .set_write_timeout(Some(remaining(deadline)?))
        .map_err(failed)?;
    match stream.write_all(input) {
        // a command need not read what it is given
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => return Err(failed(error)),
        _ => {}
    }
    // it may be gone already
    drop(stream.shutdown(Shutdown::Write));
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        stream
            .set_read_timeout(Some(remaining(deadline)?))
            .map_err(failed)?;
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(answer),
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
            Err(error) => match error.kind() {
                std::io::ErrorKind::Interrupted => {}
                // it ended without reading all it was given
                std::io::ErrorKind::ConnectionReset => return Ok(answer),
                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
                    remaining(deadline)?;
                }
                _ => return Err(failed(error)),
            },
        }
        if answer.len() > SIZE_LIMIT {
            return Err(format!("it printed more than {SIZE_LIMIT} bytes"));
        }
    }
}

fn wait(child: &mut Child, deadline: Instant) -> Result<(), String> {
    loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            return match status.success() {
                true => Ok(()),
                false => Err(format!("it ended with {status}")),
            };
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
