//! Runs the programs that a setting names: the door to a key management service, and to a witness.

mod named;

use named::Program;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// How long a program may take.
pub const TIME_LIMIT: Duration = Duration::from_secs(10);

/// How often it is looked whether to go on waiting.
const LOOK: Duration = Duration::from_millis(200);

/// What a program is given, and what is taken from it.
pub struct Talk<'a> {
    /// Its standard input; without one it is empty.
    pub input: Option<&'a [u8]>,
    /// The most it may print.
    pub size_limit: usize,
    /// Whether to end it before its time.
    pub interrupted: fn() -> bool,
}

/// The standard output of `command`, run without a shell, or the reason why it cannot be used. Its
/// standard error goes where the server's does, so that the operator sees its own complaints.
pub fn output_of(command: &str, talk: &Talk<'_>) -> Result<Zeroizing<Vec<u8>>, String> {
    let program = Program::parse(command)?;
    let started = |error: std::io::Error| format!("it could not be started: {error}");
    // A socket, because reading from it can time out.
    let (ours, theirs) = UnixStream::pair().map_err(started)?;
    let input = match talk.input {
        Some(_) => Stdio::from(OwnedFd::from(theirs.try_clone().map_err(started)?)),
        None => Stdio::null(),
    };
    let mut child = Command::new(&program.path)
        .args(&program.arguments)
        .stdin(input)
        .stdout(OwnedFd::from(theirs))
        .process_group(0)
        .spawn()
        .map_err(started)?;
    let patience = Patience {
        deadline: Instant::now() + TIME_LIMIT,
        interrupted: talk.interrupted,
    };
    let outcome = exchange(ours, talk, &patience).and_then(|output| {
        wait(&mut child, &patience)?;
        Ok(output)
    });
    if outcome.is_err() {
        crate::pg::keys::process::kill_group(child.id());
        // Only to leave no zombie; what it says does not matter any more.
        drop(child.wait());
    }
    outcome
}

fn exchange(
    mut stream: UnixStream,
    talk: &Talk<'_>,
    patience: &Patience,
) -> Result<Zeroizing<Vec<u8>>, String> {
    if let Some(input) = talk.input {
        let failed = |error: std::io::Error| format!("it could not be given its input: {error}");
        stream
            .set_write_timeout(Some(patience.left()?))
            .map_err(failed)?;
        match stream.write_all(input) {
            // it need not read what it is given
            Err(error) if error.kind() != ErrorKind::BrokenPipe => return Err(failed(error)),
            _ => {}
        }
        // it may be gone already
        drop(stream.shutdown(Shutdown::Write));
    }
    // One byte more than allowed tells too much from enough; a buffer that does not grow leaves no copies behind.
    let mut buffer = Zeroizing::new(vec![0; talk.size_limit + 1]);
    let mut filled = 0;
    while filled < buffer.len() {
        stream
            .set_read_timeout(Some(patience.left()?.min(LOOK)))
            .map_err(|error| error.to_string())?;
        match stream.read(&mut buffer[filled..]) {
            Ok(0) => return Ok(Zeroizing::new(buffer[..filled].to_vec())),
            Ok(read) => filled += read,
            Err(error) => match error.kind() {
                ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut => {}
                // it ended without reading all it was given
                ErrorKind::ConnectionReset => {
                    return Ok(Zeroizing::new(buffer[..filled].to_vec()));
                }
                _ => return Err(format!("its output could not be read: {error}")),
            },
        }
    }
    Err(format!("it printed more than {} bytes", talk.size_limit))
}

/// Waits until the program has ended, and ended well.
fn wait(child: &mut Child, patience: &Patience) -> Result<(), String> {
    loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            return match (status.success(), status.code(), status.signal()) {
                (true, ..) => Ok(()),
                (_, Some(code), _) => Err(format!("it exited with status {code}")),
                (_, _, Some(signal)) => Err(format!("it was ended by signal {signal}")),
                _ => Err("it did not succeed".to_owned()),
            };
        }
        patience.left()?;
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// How long a program is waited for.
struct Patience {
    deadline: Instant,
    interrupted: fn() -> bool,
}

impl Patience {
    fn left(&self) -> Result<Duration, String> {
        if (self.interrupted)() {
            return Err("the server stops".to_owned());
        }
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(format!("it took longer than {} s", TIME_LIMIT.as_secs()));
        }
        Ok(left)
    }
}
