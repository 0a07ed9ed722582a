//! The signature algorithms that can be accepted at all. Nothing with a shared secret: whoever can
//! verify such a token can make one.

use jsonwebtoken::Algorithm;

const ACCEPTED: [(&str, Algorithm); 7] = [
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
];

/// The algorithm of this name, which is case-sensitive.
pub fn parse(name: &str) -> Option<Algorithm> {
    ACCEPTED
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, algorithm)| *algorithm)
}

/// The name of an accepted algorithm.
pub fn name(algorithm: Algorithm) -> &'static str {
    ACCEPTED
        .iter()
        .find(|(_, known)| *known == algorithm)
        .map_or("", |(name, _)| name)
}

/// All names, for messages.
pub fn names() -> String {
    ACCEPTED.map(|(name, _)| name).join(", ")
}
