//! A secret that others have to know, kept as its hash.

use sha2::{Digest, Sha256};

/// What a token hashes to. Comparing hashes tells nothing of the token by how long it takes, and every bit of them is
/// looked at nevertheless.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 32]);

impl Secret {
    pub fn new(token: impl AsRef<[u8]>) -> Self {
        Self(Sha256::digest(token).into())
    }

    pub fn is(&self, given: impl AsRef<[u8]>) -> bool {
        let given = Self::new(given);
        self.0.iter().zip(given.0).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_token_is_the_secret() {
        let secret = Secret::new("one");
        assert!(secret.is("one"));
        assert!(!secret.is("One") && !secret.is("") && !secret.is("one "));
        assert_eq!(format!("{secret:?}"), "Secret");
    }
}
