//! Everything secret that slipway hands out is derived from one installation key, so that it is
//! never stored, and the same on every replica.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::access::ShareId;
use super::event::Engine;
use super::ids::{ClusterId, Subject};
use super::route::RoutePath;

/// The installation's key: at least 32 random bytes, shared by the API, the workers and the proxies.
#[derive(Clone)]
pub struct Keyring {
    key: Vec<u8>,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keyring(…)")
    }
}

/// Bytes of a share link's signature: short enough for a link, and 128 bits are not guessed.
const SHARE_MAC: usize = 16;

/// The key is too short to be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the installation key must be at least 32 bytes long, in hexadecimal")]
pub struct ShortKey;

impl Keyring {
    /// # Errors
    /// [`ShortKey`] for fewer than 32 bytes.
    pub fn new(key: Vec<u8>) -> Result<Self, ShortKey> {
        if key.len() < 32 { Err(ShortKey) } else { Ok(Self { key }) }
    }

    /// # Errors
    /// [`ShortKey`] when the text is not hexadecimal or too short.
    pub fn from_hex(text: &str) -> Result<Self, ShortKey> {
        Self::new(hex::decode(text.trim()).map_err(|_| ShortKey)?)
    }

    fn mac(&self, purpose: &str, message: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        mac.update(purpose.as_bytes());
        // Neither purposes nor messages hold a NUL, so that no two pairs run together.
        mac.update(b"\0");
        mac.update(message.as_bytes());
        mac
    }

    /// The password of a cluster's notebook server: 64 hexadecimal digits.
    pub fn notebook_token(&self, id: ClusterId) -> String {
        hex::encode(self.mac("notebook", &id.to_string()).finalize().into_bytes())
    }

    /// What the engines of one cluster know each other by: 64 hexadecimal digits.
    pub fn engine_key(&self, id: ClusterId) -> String {
        hex::encode(self.mac("engines", &id.to_string()).finalize().into_bytes())
    }

    /// Tells installations apart that share a Kubernetes cluster: 16 hexadecimal digits, no secret.
    pub fn installation(&self) -> String {
        hex::encode(&self.mac("installation", "").finalize().into_bytes()[..8])
    }

    /// What opens a cluster's door for whoever was told it, as `?token=`: 64 hexadecimal digits. The cluster never
    /// sees it, unlike its notebook's password, which whoever was in can read there and keep. Whoever has claimed the
    /// cluster from a pool has a pass that there was not before.
    pub fn pass(&self, id: ClusterId, claimant: Option<&Subject>) -> String {
        hex::encode(self.pass_mac(id, claimant).finalize().into_bytes())
    }

    /// Whether this is the cluster's pass; compared in constant time.
    pub fn verify_pass(&self, id: ClusterId, claimant: Option<&Subject>, pass: &str) -> bool {
        let Ok(given) = hex::decode(pass) else { return false };
        self.pass_mac(id, claimant).verify_slice(&given).is_ok()
    }

    fn pass_mac(&self, id: ClusterId, claimant: Option<&Subject>) -> Hmac<Sha256> {
        match claimant {
            None => self.mac("pass", &id.to_string()),
            // Neither holds a space.
            Some(claimant) => self.mac("pass", &format!("{id} {claimant}")),
        }
    }

    /// What a link to one share of a cluster holds, as `?share=`: its name and 32 hexadecimal digits.
    pub fn share_token(&self, id: ClusterId, share: ShareId) -> String {
        let mac = self.mac("share", &format!("{id} {share}")).finalize().into_bytes();
        format!("{share}.{}", hex::encode(&mac[..SHARE_MAC]))
    }

    /// The share of this cluster that the text proves, whether or not it still counts; compared in constant time.
    pub fn verify_share(&self, id: ClusterId, token: &str) -> Option<ShareId> {
        let (share, mac) = token.split_once('.')?;
        let share: ShareId = share.parse().ok()?;
        let given = hex::decode(mac).ok().filter(|mac| mac.len() == SHARE_MAC)?;
        self.mac("share", &format!("{id} {share}")).verify_truncated_left(&given).ok()?;
        Some(share)
    }

    /// Where the notebook opens, with the pass: only for the cluster's owner to see.
    pub fn notebook_path(&self, id: ClusterId, claimant: Option<&Subject>) -> String {
        format!("{}/lab?token={}", RoutePath::of(id, Engine::Notebook), self.pass(id, claimant))
    }

    /// Where a program reaches the scheduler, with the pass: only for the cluster's owner to see.
    pub fn scheduler_path(&self, id: ClusterId, claimant: Option<&Subject>) -> String {
        format!("{}?token={}", RoutePath::of(id, Engine::DaskScheduler), self.pass(id, claimant))
    }

    /// The value of the cookie that makes its bearer this subject.
    pub fn sign_cookie(&self, subject: &Subject) -> String {
        format!("{subject}.{}", hex::encode(self.mac("cookie", subject.as_str()).finalize().into_bytes()))
    }

    /// The subject of a cookie that this installation signed; compared in constant time.
    pub fn verify_cookie(&self, cookie: &str) -> Option<Subject> {
        let (subject, signature) = cookie.rsplit_once('.')?;
        let subject: Subject = subject.parse().ok().filter(|subject: &Subject| !subject.is_pool())?;
        let signature = hex::decode(signature).ok()?;
        self.mac("cookie", subject.as_str()).verify_slice(&signature).ok()?;
        Some(subject)
    }
}
