//! Fields inside a JSON document: how they are named, what their encryption is bound to, and how an
//! encrypted one looks.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::aad::joined;
use crate::error::CryptoError;

const LABEL: &[u8] = b"ward/field/v1";

/// What an encrypted field's text begins with. The rest is the envelope in base64.
const MARK: &str = "ward:enc:1:";

/// The most steps of a path.
pub const MAX_PATH_STEPS: usize = 64;

/// Why a text is not a path. No text repeats it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// Nothing between two dots, or nothing at all.
    #[error("a step of it is empty")]
    EmptyStep,
    /// More than [`MAX_PATH_STEPS`].
    #[error("it has more than {MAX_PATH_STEPS} steps")]
    TooManySteps,
    /// A backslash before something else than a dot, an asterisk or a backslash.
    #[error("a backslash stands before something else than a dot, an asterisk or a backslash")]
    BadEscape,
    /// An asterisk as a part of a name.
    #[error("an asterisk is only a part of a name, which needs a backslash before it")]
    BadAsterisk,
}

/// One step into a document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The member of an object that has this name.
    Name(String),
    /// Every element of an array.
    Elements,
}

/// The way from the document to a field: names and asterisks, separated by dots. A name's own dots,
/// backslashes and asterisks have a backslash before them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldPath(Vec<Step>);

impl FieldPath {
    /// Takes a path apart.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let mut steps = Vec::new();
        let mut chars = text.chars().peekable();
        loop {
            steps.push(step(&mut chars)?);
            if steps.len() > MAX_PATH_STEPS {
                return Err(PathError::TooManySteps);
            }
            // `step` stops at a dot or at the end.
            if chars.next().is_none() {
                return Ok(Self(steps));
            }
        }
    }

    /// Its steps, at least one.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// What the field's envelope is bound to: the path, and what the caller binds besides.
    ///
    /// `label || u32 steps || (kind || u64 length || name)* || presence || aad`. The position in an
    /// array is not part of it: elements come and go.
    pub fn binding(&self, aad: Option<&[u8]>) -> Result<Vec<u8>, CryptoError> {
        let mut bound = LABEL.to_vec();
        bound.extend((self.0.len() as u32).to_be_bytes());
        for step in &self.0 {
            let (kind, name) = match step {
                Step::Name(name) => (0, name.as_str()),
                Step::Elements => (1, ""),
            };
            bound.push(kind);
            bound.extend((name.len() as u64).to_be_bytes());
            bound.extend(name.as_bytes());
        }
        bound.push(u8::from(aad.is_some()));
        joined(&[&bound, aad.unwrap_or_default()])
    }
}

/// Reads one step, up to the dot behind it.
fn step(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Step, PathError> {
    let mut name = String::new();
    let mut asterisk = false;
    while let Some(c) = chars.next_if(|c| *c != '.') {
        match c {
            '\\' => match chars.next() {
                Some(escaped @ ('.' | '*' | '\\')) => name.push(escaped),
                _ => return Err(PathError::BadEscape),
            },
            '*' if asterisk => return Err(PathError::BadAsterisk),
            '*' => asterisk = true,
            c => name.push(c),
        }
    }
    match (asterisk, name.is_empty()) {
        (true, true) => Ok(Step::Elements),
        (true, false) => Err(PathError::BadAsterisk),
        (false, true) => Err(PathError::EmptyStep),
        (false, false) => Ok(Step::Name(name)),
    }
}

/// The length of the text that stands in a document for an envelope of `len` bytes.
pub const fn field_text_len(len: usize) -> usize {
    MARK.len() + len.div_ceil(3) * 4
}

/// The text that stands in a document for an envelope. It is put into `room`, which allocates nothing
/// if it has the capacity of [`field_text_len`].
pub fn field_text(envelope: &[u8], mut room: String) -> String {
    room.clear();
    room.push_str(MARK);
    STANDARD.encode_string(envelope, &mut room);
    room
}

/// Whether a text is that of an encrypted field, or a wrong one.
pub fn is_field_text(text: &[u8]) -> bool {
    text.starts_with(MARK.as_bytes())
}

/// The text of an encrypted field holds no base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the text of an encrypted field is not base64")]
pub struct FieldTextError;

/// The envelope that `text` stands for; `None` when it does not look like an encrypted field at all.
/// What looks like one and is none is an error, never a plain value. It is put into `room`, which
/// allocates nothing if it has the capacity of `text`.
pub fn field_envelope(text: &[u8], mut room: Vec<u8>) -> Result<Option<Vec<u8>>, FieldTextError> {
    room.clear();
    match text.strip_prefix(MARK.as_bytes()) {
        None => Ok(None),
        Some(encoded) => match STANDARD.decode_vec(encoded, &mut room) {
            Ok(()) => Ok(Some(room)),
            Err(_) => Err(FieldTextError),
        },
    }
}
