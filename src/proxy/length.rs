//! `content-length`, read in one way on both sides.

/// The number, if it is one that no server could read otherwise: 1 to 18 digits and nothing else (RFC 9110, 8.6), which
/// is more than anybody sends and less than overflows.
pub(super) fn content_length(value: &[u8]) -> Option<u64> {
    let plain = (1..=18).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    plain.then(|| value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_digits_are_a_length() {
        assert_eq!(content_length(b"0"), Some(0));
        assert_eq!(content_length(b"0042"), Some(42));
        assert_eq!(content_length(b"999999999999999999"), Some(999_999_999_999_999_999));
        for value in ["", "+1", "-1", "1,1", " 1", "1 ", "0x1", "1234567890123456789"] {
            assert_eq!(content_length(value.as_bytes()), None, "{value:?}");
        }
    }
}
