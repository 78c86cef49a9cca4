//! Secrets derived from the installation's key.

use std::collections::HashSet;

use slipway::domain::{ClusterId, Keyring, Subject};

fn keyring(byte: u8) -> Keyring {
    Keyring::new(vec![byte; 32]).expect("32 bytes")
}

fn subject() -> Subject {
    "browser:1f0c.x@y".parse().expect("a valid subject")
}

#[test]
fn a_cookie_proves_its_subject() {
    let cookie = keyring(1).sign_cookie(&subject());
    assert_eq!(keyring(1).verify_cookie(&cookie), Some(subject()));
}

#[test]
fn a_cookie_of_another_installation_proves_nothing() {
    assert_eq!(keyring(2).verify_cookie(&keyring(1).sign_cookie(&subject())), None);
}

#[test]
fn a_cookie_changed_in_any_place_proves_nothing() {
    let cookie = keyring(1).sign_cookie(&subject());
    for at in 0..cookie.len() {
        let mut bytes = cookie.clone().into_bytes();
        bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
        let changed = String::from_utf8(bytes).expect("it is plain ASCII");
        assert_eq!(keyring(1).verify_cookie(&changed), None, "{changed}");
    }
}

#[test]
fn a_cookie_cut_short_or_drawn_out_proves_nothing() {
    let cookie = keyring(1).sign_cookie(&subject());
    for length in 0..cookie.len() {
        assert_eq!(keyring(1).verify_cookie(&cookie[..length]), None, "{length}");
    }
    for more in ["0", "00", ".", " ", "\0"] {
        assert_eq!(keyring(1).verify_cookie(&format!("{cookie}{more}")), None, "{more:?}");
    }
}

#[test]
fn odd_texts_are_no_cookies() {
    for odd in ["", ".", "..", "a.", ".00", "browser:1", "browser:1.zz", "é.00", "browser:1.é"] {
        assert_eq!(keyring(1).verify_cookie(odd), None, "{odd:?}");
    }
}

#[test]
fn every_cluster_has_a_token_of_its_own_and_keeps_it() {
    let ids = (678_000..678_100).filter_map(ClusterId::from_number);
    let tokens: HashSet<String> = ids.map(|id| keyring(1).notebook_token(id)).collect();
    assert_eq!(tokens.len(), 100);
    let id = ClusterId::from_number(678_343).expect("a valid number");
    let token = keyring(1).notebook_token(id);
    assert_eq!(token, keyring(1).notebook_token(id));
    assert_ne!(token, keyring(2).notebook_token(id));
    assert!(token.len() == 64 && token.bytes().all(|b| b.is_ascii_hexdigit()));
}

#[test]
fn a_token_is_no_cookie_signature() {
    let id = ClusterId::from_number(678_343).expect("a valid number");
    let forged = format!("{id}.{}", keyring(1).notebook_token(id));
    assert_eq!(keyring(1).verify_cookie(&forged), None);
}

#[test]
fn a_key_has_32_bytes_at_least() {
    assert!(Keyring::new(vec![0; 31]).is_err());
    assert!(Keyring::new(vec![0; 32]).is_ok());
    assert!(Keyring::new(vec![0; 64]).is_ok());
    assert!(Keyring::from_hex(&"ab".repeat(32)).is_ok());
    assert!(Keyring::from_hex(&format!(" {}\n", "ab".repeat(32))).is_ok(), "a file ends with a newline");
    for wrong in ["", "ab", &"ab".repeat(31), &"zz".repeat(32), &"a".repeat(65)] {
        assert!(Keyring::from_hex(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn a_keyring_is_never_printed() {
    assert_eq!(format!("{:?}", keyring(1)), "Keyring(…)");
}
