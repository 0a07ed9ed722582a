//! Who acts and from where, as the context of an entry. Encoding one costs more than all else that a small
//! transaction records, so the last one is kept.

use super::buffer::ContextStamp;
use crate::context::{self, Source};
use crate::pg::who;
use ward_log::{Context, ContextSource};

/// What this backend keeps between transactions.
#[derive(Default)]
pub struct ContextCache {
    /// Where the client connected from; None until it is looked up.
    address: Option<Option<String>>,
    last: Option<Encoded>,
}

/// A context, and all that it was made from.
struct Encoded {
    stamp: ContextStamp,
    /// Number of changes of role names seen before.
    names: u64,
    /// Whether a security context counted.
    known: bool,
    /// The application's name in the server's encoding.
    application: Vec<u8>,
    bytes: Vec<u8>,
}

impl ContextCache {
    /// The context's encoding; `stamp` is the situation's.
    pub fn encoded(&mut self, stamp: ContextStamp) -> &[u8] {
        let names = who::names_changed();
        let address = self.address.get_or_insert_with(who::client_address);
        let last = &mut self.last;
        context::with_current(|context| {
            let known = context.is_some();
            let current = last.take().filter(|last| {
                (last.stamp, last.names, last.known) == (stamp, names, known)
                    && who::has_application(&last.application)
            });
            let encoded = current.unwrap_or_else(|| {
                let application = who::application_name();
                let authenticated = who::role_name(who::authenticated_role());
                let session = who::role_name(who::session_role());
                let current = who::role_name(who::current_role());
                let mut bytes = Vec::with_capacity(256);
                Context {
                    source: context.map_or(ContextSource::None, |context| match context.source {
                        Source::Trusted => ContextSource::Trusted,
                        Source::Token => ContextSource::Token,
                        Source::Override => ContextSource::Override,
                    }),
                    tenant_id: context.and_then(|c| c.tenant.as_deref()),
                    user_id: context.and_then(|c| c.user_id.as_deref()),
                    session_id: context.and_then(|c| c.session_id.as_deref()),
                    service_name: context.and_then(|c| c.service_name.as_deref()),
                    client_ip: context
                        .and_then(|c| c.client_ip.as_deref())
                        .or(address.as_deref()),
                    user_agent: context.and_then(|c| c.user_agent.as_deref()),
                    authenticated_role: authenticated.as_deref(),
                    session_role: session.as_deref(),
                    current_role: current.as_deref(),
                    application_name: (!application.is_empty()).then_some(&*application),
                }
                .encode(&mut bytes);
                Encoded {
                    stamp,
                    names,
                    known,
                    application: who::application_bytes(),
                    bytes,
                }
            });
            &*last.insert(encoded).bytes
        })
    }
}
