//! The fields of a call as one tree, so that a document is walked once.

use super::error::CryptoRefusal;
use crate::keys::KeyError;
use crate::pg::jsonb::{Child, Node};
use crate::pg::text_array::TextArray;
use crate::pg::values::in_database_encoding;
use std::collections::HashMap;
use ward_crypto::{FieldPath, Step};

/// What the paths say of one place in a document.
#[derive(Default)]
pub struct Tree {
    members: HashMap<Vec<u8>, Slot>,
    elements: Option<Box<Slot>>,
}

enum Slot {
    /// The field of this number.
    Field(usize),
    Inner(Tree),
}

/// The paths of a list, in its order.
pub fn parse(fields: Option<&TextArray<'_>>) -> Result<Vec<FieldPath>, CryptoRefusal> {
    let fields = fields.ok_or(KeyError::Null("fields"))?;
    let paths = (1..).zip(fields.elements()).map(|(place, field)| {
        let field = field.as_ref().ok_or(CryptoRefusal::NullPath(place))?;
        let bytes = field.utf8()?;
        // Only a database of encoding SQL_ASCII lets this fail.
        let text =
            std::str::from_utf8(&bytes).map_err(|_| KeyError::Encoding("UTF8".to_owned()))?;
        FieldPath::parse(text).map_err(|reason| CryptoRefusal::Path { place, reason })
    });
    paths.collect()
}

impl Tree {
    /// The tree of these paths, none of which may lie in another.
    pub fn new(paths: &[FieldPath]) -> Result<Self, CryptoRefusal> {
        let mut tree = Self::default();
        for (number, path) in paths.iter().enumerate() {
            let overlap = || CryptoRefusal::Overlap(number + 1);
            let (last, before) = path.steps().split_last().ok_or_else(overlap)?;
            let mut at = &mut tree;
            for step in before {
                let inner = || Slot::Inner(Self::default());
                let slot = match step {
                    Step::Name(name) => at
                        .members
                        .entry(in_database_encoding(name)?)
                        .or_insert_with(inner),
                    Step::Elements => at.elements.get_or_insert_with(|| Box::new(inner())),
                };
                match slot {
                    Slot::Field(_) => return Err(overlap()),
                    Slot::Inner(inner) => at = inner,
                }
            }
            let field = Slot::Field(number);
            let before = match last {
                Step::Name(name) => at.members.insert(in_database_encoding(name)?, field),
                Step::Elements => at.elements.replace(Box::new(field)).map(|slot| *slot),
            };
            if before.is_some() {
                return Err(overlap());
            }
        }
        Ok(tree)
    }

    /// Whether there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.elements.is_none()
    }
}

impl Node for Tree {
    fn member(&self, name: &[u8]) -> Child<'_, Self> {
        self.members.get(name).map_or(Child::Keep, child)
    }

    fn element(&self) -> Child<'_, Self> {
        self.elements.as_deref().map_or(Child::Keep, child)
    }

    fn expects_object(&self) -> bool {
        !self.members.is_empty()
    }

    fn expects_array(&self) -> bool {
        self.elements.is_some()
    }
}

fn child(slot: &Slot) -> Child<'_, Tree> {
    match slot {
        Slot::Field(number) => Child::Replace(*number),
        Slot::Inner(tree) => Child::Enter(tree),
    }
}
