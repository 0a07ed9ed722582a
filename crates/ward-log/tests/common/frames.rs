//! Frames of entries, for tests that try any.
#![allow(dead_code)]

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use ward_log::{
    AuditMac, Context, ContextPlace, ContextSource, EntryFrame, Leaf, Trailer, TransactionChain,
};

pub const SOURCES: [ContextSource; 4] = [
    ContextSource::None,
    ContextSource::Trusted,
    ContextSource::Token,
    ContextSource::Override,
];

/// A frame that owns its context.
#[derive(Debug, Clone)]
pub struct AnyFrame {
    pub xid: u64,
    pub position: u32,
    pub occurred_at: i64,
    /// The encoding, or how many leaves back.
    pub context: Result<Vec<u8>, u32>,
    /// Made with any key.
    pub trailer: Option<([u8; 16], [u8; 8], [u8; 32])>,
}

impl AnyFrame {
    pub fn frame(&self) -> EntryFrame<'_> {
        EntryFrame {
            xid: self.xid,
            position: self.position,
            occurred_at: self.occurred_at,
            context: match &self.context {
                Ok(context) => ContextPlace::Here(context),
                Err(back) => ContextPlace::Back(*back),
            },
            trailer: None,
        }
    }

    /// The bytes of a leaf that was made with [`frame`](Self::frame), with the trailer if there is to be one.
    pub fn encoded(&self, leaf: &Leaf<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        leaf.encode(&mut out);
        if let Some((incarnation, key_id, key)) = self.trailer {
            let mac = AuditMac::new(&key);
            let mut chain = TransactionChain::new();
            chain.push(&[1; 32]);
            Trailer::close(&mut out, &chain, incarnation, key_id, &mac).unwrap();
        }
        out
    }

    /// What the bytes have to be read as.
    pub fn reads(&self, bytes: &[u8], leaf: &Leaf<'_>) -> Result<(), TestCaseError> {
        let read = Leaf::parse(bytes).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let (xid, position) = (self.xid, self.position);
        prop_assert_eq!(read.place(), Some((xid, position)));
        let frame = *read.frame().unwrap();
        prop_assert_eq!(
            EntryFrame {
                trailer: None,
                ..frame
            },
            self.frame()
        );
        let trailer = frame
            .trailer
            .map(|found| (found.incarnation, found.audit_key_id));
        prop_assert_eq!(trailer, self.trailer.map(|(history, id, _)| (history, id)));
        prop_assert_eq!(ward_log::has_trailer(bytes), self.trailer.is_some());
        prop_assert_eq!(ward_log::holds_context(bytes), self.context.is_ok());
        prop_assert_eq!(read.context().is_some(), self.context.is_ok());
        if self.trailer.is_none() {
            prop_assert_eq!(&read, leaf);
        }
        Ok(())
    }
}

pub fn any_context() -> impl Strategy<Value = Vec<u8>> {
    (0usize..4, vec(of(".{0,8}"), 10)).prop_map(|(source, texts)| {
        let text = |at: usize| texts[at].as_deref();
        let mut out = Vec::new();
        Context {
            source: SOURCES[source],
            tenant_id: text(0),
            user_id: text(1),
            session_id: text(2),
            service_name: text(3),
            client_ip: text(4),
            user_agent: text(5),
            authenticated_role: text(6),
            session_role: text(7),
            current_role: text(8),
            application_name: text(9),
        }
        .encode(&mut out);
        out
    })
}

pub fn any_frame() -> impl Strategy<Value = AnyFrame> {
    let context = prop_oneof![any_context().prop_map(Ok), (1u32..).prop_map(Err)];
    let trailer = of(any::<([u8; 16], [u8; 8], [u8; 32])>());
    (any::<(u64, u32, i64)>(), context, trailer).prop_map(
        |((xid, position, occurred_at), context, trailer)| AnyFrame {
            xid,
            position,
            occurred_at,
            context,
            trailer,
        },
    )
}
