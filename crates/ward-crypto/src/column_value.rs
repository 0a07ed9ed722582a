//! What a value of the encrypted column types looks like, as bytes and as text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::envelope::{Envelope, OVERHEAD, ValueType};
use crate::error::{CryptoError, EnvelopeField};
use crate::search_tag::SEARCH_TAG_LEN;
use crate::secret::KeyId;

/// Search tag and search key id together: what decides equality and order.
pub const SEARCH_LEN: usize = SEARCH_TAG_LEN + 8;

/// Where the bytes that decide equality begin.
pub const SEARCH_START: usize = 1;

/// An encrypted column type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// `ward.encrypted_text`, which can be searched for equality.
    EncryptedText,
    /// `ward.secret_text`, which cannot.
    SecretText,
}

/// Under which kind of key a value is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Form {
    /// Under a data encryption key, as in a column.
    Stored = 1,
    /// Under the literal key, before the column is known.
    Literal = 2,
}

/// A value taken apart, but not authenticated.
#[derive(Debug, Clone, Copy)]
pub struct ColumnValue<'a> {
    /// Under which kind of key it is sealed.
    pub form: Form,
    /// The search key that its tag was made with; none in `secret_text`.
    pub search_key_id: Option<KeyId>,
    /// The text, sealed.
    pub envelope: Envelope<'a>,
}

impl ColumnType {
    /// The name in SQL, without the schema.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EncryptedText => "encrypted_text",
            Self::SecretText => "secret_text",
        }
    }

    /// The additional data of its envelopes. It ends with a zero byte, which no text of PostgreSQL can
    /// hold: what is bound to it cannot be opened with additional data that a client gives.
    pub const fn aad(self) -> &'static [u8] {
        match self {
            Self::EncryptedText => b"ward/encrypted_text/v1\0",
            Self::SecretText => b"ward/secret_text/v1\0",
        }
    }

    /// What its text form begins with.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::EncryptedText => "ward:encrypted:",
            Self::SecretText => "ward:secret:",
        }
    }

    /// How many bytes stand before the envelope.
    pub const fn head_len(self) -> usize {
        match self {
            Self::EncryptedText => SEARCH_START + SEARCH_LEN,
            Self::SecretText => 1,
        }
    }

    /// By how many bytes a value is longer than its text.
    pub const fn overhead(self) -> usize {
        self.head_len() + OVERHEAD
    }

    /// The fields before the envelope. `search` is left out where the type has none.
    pub fn write_head(
        self,
        form: Form,
        search: Option<(&[u8; SEARCH_TAG_LEN], KeyId)>,
        head: &mut [u8],
    ) {
        if let Some(first) = head.first_mut() {
            *first = form as u8;
        }
        if let (Self::EncryptedText, Some((tag, id))) = (self, search) {
            let places = head.iter_mut().skip(SEARCH_START);
            places
                .zip(tag.iter().chain(&id.0))
                .for_each(|(place, byte)| *place = *byte);
        }
    }

    /// Takes a value apart.
    pub fn parse(self, bytes: &[u8]) -> Result<ColumnValue<'_>, CryptoError> {
        let unknown = |field| CryptoError::UnknownFormat { field };
        let form = match bytes.first() {
            Some(1) => Form::Stored,
            Some(2) => Form::Literal,
            Some(_) => return Err(unknown(EnvelopeField::Magic)),
            None => return Err(self.truncated(0)),
        };
        let (head, envelope) = bytes
            .split_at_checked(self.head_len())
            .ok_or_else(|| self.truncated(bytes.len()))?;
        let envelope = Envelope::parse(envelope)?;
        envelope.expect_type(ValueType::Text)?;
        let search_key_id = match self {
            Self::EncryptedText => head.last_chunk().map(|id| KeyId(*id)),
            Self::SecretText => None,
        };
        Ok(ColumnValue {
            form,
            search_key_id,
            envelope,
        })
    }

    fn truncated(self, len: usize) -> CryptoError {
        CryptoError::Truncated {
            len,
            least: self.overhead(),
        }
    }

    /// The length of the text form of a value of `len` bytes.
    pub const fn text_len(self, len: usize) -> usize {
        self.prefix().len() + len.div_ceil(3) * 4
    }

    /// Fills `out`, of exactly [`text_len`](Self::text_len) bytes, with the text form.
    pub fn write_text(self, bytes: &[u8], out: &mut [u8]) -> Result<(), CryptoError> {
        let given = out.len();
        let wrong = CryptoError::BufferSize {
            needed: self.text_len(bytes.len()),
            given,
        };
        let (prefix, encoded) = out.split_at_mut_checked(self.prefix().len()).ok_or(wrong)?;
        prefix.copy_from_slice(self.prefix().as_bytes());
        match STANDARD.encode_slice(bytes, encoded) {
            Ok(len) if len == encoded.len() => Ok(()),
            _ => Err(wrong),
        }
    }

    /// The bytes behind the text form of a value; `None` when `text` is not one. They are put into
    /// `room`, which allocates nothing if it has the capacity of `text`.
    pub fn from_text(self, text: &[u8], mut room: Vec<u8>) -> Option<Vec<u8>> {
        room.clear();
        let encoded = text.strip_prefix(self.prefix().as_bytes())?;
        STANDARD.decode_vec(encoded, &mut room).ok()?;
        self.parse(&room).ok()?;
        Some(room)
    }
}
