//! Why nothing could be verified.

use thiserror::Error;

/// What kept the program from a verdict. It says nothing about the log.
#[derive(Debug, Error)]
pub enum Failure {
    /// A file cannot be read or written.
    #[error("{0}: {1}")]
    File(String, std::io::Error),
    /// The server cannot be asked.
    #[error("the server cannot be read: {}", postgres_message(.0))]
    Server(#[from] postgres::Error),
    /// The export is not one.
    #[error("{0}: {1}")]
    Export(String, ward_log::ExportError),
    /// A key, checkpoint, proof or request cannot be relied on, or contradicts the arguments.
    #[error("{0}")]
    Input(String),
}

impl Failure {
    /// The exit code: the same as for wrong usage.
    pub const CODE: u8 = 2;

    /// Something about an argument.
    pub fn input(about: impl std::fmt::Display, what: impl std::fmt::Display) -> Self {
        Self::Input(format!("{about}: {what}"))
    }
}

/// What the server said; else what the client library says, whose text alone leaves the cause out.
fn postgres_message(error: &postgres::Error) -> String {
    use std::error::Error;
    match (error.as_db_error(), error.source()) {
        (Some(error), _) => error.to_string(),
        (None, Some(cause)) => format!("{error}: {cause}"),
        (None, None) => error.to_string(),
    }
}
