//! Why bytes are not what they should be.

use thiserror::Error;

/// A leaf, image or journal record that does not follow the format.
///
/// The messages say what is wrong with the bytes, never what the bytes are: they may hold column values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FormatError {
    /// The bytes end in the middle of a field.
    #[error("the bytes end in the middle of a field")]
    Truncated,
    /// Bytes follow after the last field.
    #[error("bytes follow after the last field")]
    TrailingBytes,
    /// The type byte names no leaf type of this version.
    #[error("unknown leaf type {0:#04x}")]
    UnknownType(u8),
    /// The version byte is not one this program reads.
    #[error("unknown leaf version {0}")]
    UnknownVersion(u8),
    /// A field holds a value outside its defined set.
    #[error("field {0} holds a value that is not defined")]
    UndefinedValue(&'static str),
    /// A string is not UTF-8.
    #[error("a string is not valid UTF-8")]
    InvalidUtf8,
    /// A field, leaf, image or record is longer than the format allows.
    #[error("{0} is longer than the format allows")]
    TooLong(&'static str),
    /// A sequence is not strictly ascending, or a value lies outside its range.
    #[error("{0} is not in canonical order or range")]
    NotCanonical(&'static str),
    /// A writer was called out of order.
    #[error("the image writer was called out of order: {0}")]
    WriterOrder(&'static str),
}
