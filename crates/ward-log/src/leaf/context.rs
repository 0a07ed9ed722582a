//! Contexts: who acts, and from where.

use crate::error::FormatError;
use crate::wire::{Reader, put_optional_text};

/// Where the identity in a context comes from.
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

/// The longest string of a context; a writer clips longer ones at the last whole character.
pub const MAX_CONTEXT_TEXT_LEN: u16 = 1024;

/// Who acts, and from where: a part of the entry that holds it.
///
/// Strings longer than [`MAX_CONTEXT_TEXT_LEN`] bytes are clipped when encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context<'a> {
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

impl<'a> Context<'a> {
    /// Appends the encoding.
    pub fn encode(&self, out: &mut Vec<u8>) {
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
            put_optional_text(out, text, MAX_CONTEXT_TEXT_LEN);
        }
    }

    /// Reads an encoding.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        let context = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(context)
    }

    /// Takes an encoding off the front, which was found to be one.
    pub(super) fn skip(reader: &mut Reader<'a>) -> Result<&'a [u8], FormatError> {
        let mut behind = reader.clone();
        Self::read(&mut behind)?;
        reader.bytes(reader.len() - behind.len())
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, FormatError> {
        let source = ContextSource::parse(reader.u8()?)?;
        let mut text = || reader.optional_text(usize::from(MAX_CONTEXT_TEXT_LEN), "context string");
        Ok(Self {
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
