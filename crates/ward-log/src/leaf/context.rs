//! Context leaves: who acts, and from where.

use crate::error::FormatError;
use crate::leaf::{CONTEXT, MAX_TEXT_LEN, VERSION};
use crate::wire::{Reader, put_optional_text};

/// Where the identity in a context leaf comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ContextSource {
    /// No context was set.
    None = 0,
    /// The application said so.
    Trusted = 1,
    /// A verified token said so.
    Token = 2,
    /// A role that may act for any tenant said so.
    Override = 3,
}

impl ContextSource {
    /// The name the audit trail shows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Trusted => "trusted",
            Self::Token => "token",
            Self::Override => "override",
        }
    }

    fn parse(byte: u8) -> Result<Self, FormatError> {
        match byte {
            0 => Ok(Self::None),
            1 => Ok(Self::Trusted),
            2 => Ok(Self::Token),
            3 => Ok(Self::Override),
            _ => Err(FormatError::UndefinedValue("context source")),
        }
    }
}

/// Who acts, and from where; the rows that follow in the transaction point back to it.
///
/// Strings longer than [`MAX_TEXT_LEN`] bytes are clipped when encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextLeaf<'a> {
    /// The top-level transaction's full id.
    pub xid: u64,
    /// Index of this leaf within its transaction.
    pub position: u32,
    /// When the transaction started, in microseconds since 1970-01-01 UTC.
    pub occurred_at: i64,
    /// Where tenant, user, session and service come from.
    pub source: ContextSource,
    /// The tenant.
    pub tenant_id: Option<&'a str>,
    /// The application's user.
    pub user_id: Option<&'a str>,
    /// The application's session.
    pub session_id: Option<&'a str>,
    /// The service that acts.
    pub service_name: Option<&'a str>,
    /// The end user's address.
    pub client_ip: Option<&'a str>,
    /// The end user's program.
    pub user_agent: Option<&'a str>,
    /// The role that authenticated.
    pub authenticated_role: Option<&'a str>,
    /// The session's role.
    pub session_role: Option<&'a str>,
    /// The role in force.
    pub current_role: Option<&'a str>,
    /// The client's `application_name`.
    pub application_name: Option<&'a str>,
}

impl<'a> ContextLeaf<'a> {
    /// Appends the leaf's encoding.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[CONTEXT, VERSION]);
        out.extend_from_slice(&self.xid.to_be_bytes());
        out.extend_from_slice(&self.position.to_be_bytes());
        out.extend_from_slice(&self.occurred_at.to_be_bytes());
        out.push(self.source as u8);
        for text in [
            self.tenant_id,
            self.user_id,
            self.session_id,
            self.service_name,
            self.client_ip,
            self.user_agent,
            self.authenticated_role,
            self.session_role,
            self.current_role,
            self.application_name,
        ] {
            put_optional_text(out, text, MAX_TEXT_LEN);
        }
    }

    /// Puts another transaction, position and time into an encoded context leaf, so that a writer need not
    /// encode again what has not changed.
    pub fn move_to(
        leaf: &mut [u8],
        xid: u64,
        position: u32,
        occurred_at: i64,
    ) -> Result<(), FormatError> {
        let Some((&mut [CONTEXT, VERSION], place)) = leaf.split_first_chunk_mut() else {
            return Err(FormatError::UndefinedValue("context leaf"));
        };
        let (place, _) = place
            .split_first_chunk_mut::<20>()
            .ok_or(FormatError::Truncated)?;
        place[..8].copy_from_slice(&xid.to_be_bytes());
        place[8..12].copy_from_slice(&position.to_be_bytes());
        place[12..].copy_from_slice(&occurred_at.to_be_bytes());
        Ok(())
    }

    pub(super) fn parse(reader: &mut Reader<'a>) -> Result<Self, FormatError> {
        let xid = reader.u64()?;
        let position = reader.u32()?;
        let occurred_at = reader.i64()?;
        let source = ContextSource::parse(reader.u8()?)?;
        let mut text = || reader.optional_text(usize::from(MAX_TEXT_LEN), "context string");
        Ok(Self {
            xid,
            position,
            occurred_at,
            source,
            tenant_id: text()?,
            user_id: text()?,
            session_id: text()?,
            service_name: text()?,
            client_ip: text()?,
            user_agent: text()?,
            authenticated_role: text()?,
            session_role: text()?,
            current_role: text()?,
            application_name: text()?,
        })
    }
}
