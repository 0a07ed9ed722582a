//! Where a trail is read from: a file, standard input or a server.

use crate::args::Source;
use crate::failure::Failure;
use crate::pipeline;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use postgres::config::{Host, SslMode};
use postgres::{Config, NoTls};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use ward_log::{AuditKeys, MAX_EXPORT_LINE, PreparedLine};

/// The longest note, proof or key file that is read.
const MAX_TEXT: u64 = 0x4000_0000;
const BUFFER: usize = 0x10_0000;

/// A file of text.
pub fn text(file: &Path) -> Result<String, Failure> {
    let failed = |error| Failure::File(file.display().to_string(), error);
    let mut text = String::new();
    let reader = File::open(file).map_err(failed)?;
    reader
        .take(MAX_TEXT)
        .read_to_string(&mut text)
        .map_err(failed)?;
    Ok(text)
}

/// Makes a file that only its owner may read.
pub fn new_secret(file: &Path, content: &[u8]) -> Result<(), Failure> {
    let failed = |error| Failure::File(file.display().to_string(), error);
    let mut made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .map_err(failed)?;
    made.set_permissions(Permissions::from_mode(0o600))
        .map_err(failed)?;
    made.write_all(content).map_err(failed)?;
    made.sync_all().map_err(failed)
}

/// A file that ends with a signed note. psql adds an empty line to what it prints.
pub fn note(file: &Path) -> Result<String, Failure> {
    text(file).map(|text| trimmed(&text))
}

/// A text with one line end at its end.
pub fn trimmed(text: &str) -> String {
    format!("{}\n", text.trim_end_matches('\n'))
}

/// How lines are worked on.
pub struct Work<'a> {
    /// Whether a person may be shown how far it is.
    pub progress: bool,
    /// The number of threads.
    pub jobs: usize,
    /// What the MACs of trailers are checked with.
    pub keys: &'a AuditKeys,
    /// Takes every line of the trail, in order.
    pub take: &'a mut dyn FnMut(&mut PreparedLine) -> Result<(), Failure>,
}

/// Reads a trail; shows progress where a person looks.
pub fn lines(source: &Source, work: Work<'_>) -> Result<(), Failure> {
    let name = name(source);
    let failed = |error| Failure::File(name.clone(), error);
    match (&source.server, &source.export) {
        (Some(server), _) => {
            let mut client = connect(server)?;
            let mut transaction = client.build_transaction().read_only(true).start()?;
            let rows = transaction.copy_out("COPY (SELECT ward.export_audit_trail()) TO STDOUT")?;
            each_line(&name, BufReader::with_capacity(BUFFER, rows), None, work)
        }
        (None, Some(file)) if file.as_os_str() == "-" => each_line(
            &name,
            BufReader::with_capacity(BUFFER, io::stdin()),
            None,
            work,
        ),
        (None, Some(file)) => {
            let len = fs::metadata(file).map_err(failed)?.len();
            let reader = File::open(file).map_err(failed)?;
            let reader = BufReader::with_capacity(BUFFER, reader);
            each_line(&name, reader, Some(len), work)
        }
        (None, None) => Err(Failure::Input("no export is given".into())),
    }
}

/// What messages call the source; a connection string may hold a password.
pub fn name(source: &Source) -> String {
    match (&source.server, &source.export) {
        (None, Some(file)) if file.as_os_str() != "-" => file.display().to_string(),
        (None, Some(_)) => "standard input".into(),
        _ => "the server".into(),
    }
}

fn each_line(
    name: &str,
    mut reader: impl BufRead,
    len: Option<u64>,
    work: Work<'_>,
) -> Result<(), Failure> {
    let progress = progress(len, work.progress);
    let mut read = |line: &mut Vec<u8>| {
        let count = (&mut reader)
            .take(MAX_EXPORT_LINE as u64 + 2)
            .read_until(b'\n', line)
            .map_err(|error| match error.downcast::<postgres::Error>() {
                Ok(error) => Failure::Server(error),
                Err(error) => Failure::File(name.to_owned(), error),
            })?;
        progress.inc(count as u64);
        // a line without its end is one that was cut, or is too long: the parser refuses it
        line.pop_if(|byte| *byte == b'\n');
        Ok(count != 0)
    };
    pipeline::run(work.jobs, work.keys, &mut read, work.take)?;
    progress.finish_and_clear();
    Ok(())
}

/// Shown on standard error, and only where that is a terminal.
fn progress(len: Option<u64>, wanted: bool) -> ProgressBar {
    if !wanted || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    drawn(len, ProgressDrawTarget::stderr_with_hz(4))
}

fn drawn(len: Option<u64>, target: ProgressDrawTarget) -> ProgressBar {
    let (bar, template) = match len {
        Some(len) => (
            ProgressBar::new(len),
            "verifying [{bar:40}] {bytes}/{total_bytes}, {eta} left",
        ),
        None => (
            ProgressBar::new_spinner(),
            "{spinner} verifying: {bytes}, {bytes_per_sec}",
        ),
    };
    bar.set_draw_target(target);
    ProgressStyle::with_template(template).map_or(bar.clone(), |style| bar.with_style(style))
}

/// Connects without encryption, so only where nobody can listen or where that was asked for.
fn connect(server: &str) -> Result<postgres::Client, Failure> {
    let config: Config = server.parse()?;
    if config.get_ssl_mode() != SslMode::Disable && !is_local(&config) {
        return Err(Failure::Input(
            "connections to other machines are not encrypted by this program: pipe the export of psql into it \
             (psql \"...\" -Xc \"COPY (SELECT ward.export_audit_trail()) TO STDOUT\" | ward-verify check - ...), \
             or say sslmode=disable where the network is safe"
                .into(),
        ));
    }
    Ok(config.connect(NoTls)?)
}

/// Whether all hosts and addresses are of this machine.
fn is_local(config: &Config) -> bool {
    let local = |host: &Host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => ["localhost", "127.0.0.1", "::1"].contains(&name.as_str()),
    };
    // an address goes before the host's name
    let mut addresses = config.get_hostaddrs().iter();
    config.get_hosts().iter().all(local) && addresses.all(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use indicatif::TermLike;
    use std::sync::{Arc, Mutex};

    /// A terminal that remembers what was written to it.
    #[derive(Debug, Clone, Default)]
    struct Paper(Arc<Mutex<String>>);

    impl TermLike for Paper {
        fn width(&self) -> u16 {
            120
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap().push_str(text);
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            self.0.lock().unwrap().clear();
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn shown(len: Option<u64>) -> String {
        let paper = Paper::default();
        let target = ProgressDrawTarget::term_like(Box::new(paper.clone()));
        let bar = drawn(len, target);
        bar.inc(3 << 20);
        bar.tick();
        let shown = paper.0.lock().unwrap().clone();
        bar.finish_and_clear();
        let left = paper.0.lock().unwrap().clone();
        assert!(!left.contains("verifying"), "{left}");
        shown
    }

    #[test]
    fn an_address_of_another_machine_behind_a_local_name_or_none() {
        let local = |server: &str| is_local(&server.parse().unwrap());
        for server in [
            "host=/run/postgresql",
            "host=localhost",
            "hostaddr=127.0.0.1",
        ] {
            assert!(local(server), "{server}");
        }
        for server in [
            "hostaddr=192.0.2.1",
            "host=localhost hostaddr=192.0.2.1",
            "host=db hostaddr=127.0.0.1",
            "host=/run/postgresql,192.0.2.1",
        ] {
            assert!(!local(server), "{server}");
        }
    }

    #[test]
    fn how_far_a_verification_is() {
        let file = shown(Some(4 << 20));
        assert!(file.contains("verifying [\u{2588}\u{2588}"), "{file}");
        assert!(file.contains("3.00 MiB/4.00 MiB"), "{file}");
        let stream = shown(None);
        assert!(stream.contains("verifying: 3.00 MiB"), "{stream}");
    }
}
