//! WebSocket frames as they pass (RFC 6455, 5.2): where they begin and end, so that the proxy can put a
//! ping of its own between two of the target's, and take the client's pong to it out again.

use std::hash::{BuildHasher, RandomState};

/// A ping's first two bytes and its text; a pong's, its mask and the text.
pub(crate) const PING: usize = 10;
const PONG: usize = 14;

/// One direction of a WebSocket. However its bytes are cut, the result is the same.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    head: [u8; 14],
    /// How much of the head is there; 0 between two frames.
    have: u8,
    /// What is still to come of the frame after its head.
    left: u64,
}

/// What passed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Passed {
    /// Something that is not a ping, a pong or a close.
    pub data: bool,
    pub ping: bool,
}

impl Frames {
    pub(crate) fn between(&self) -> bool {
        self.have == 0
    }

    /// Takes what belongs to the current frame off `bytes`; how much that was.
    pub(crate) fn step(&mut self, bytes: &[u8], passed: &mut Passed) -> usize {
        let mut used = 0;
        let mut complete = self.have > 0 && usize::from(self.have) == self.head_length();
        while !complete && used < bytes.len() {
            self.head[usize::from(self.have)] = bytes[used];
            self.have += 1;
            used += 1;
            if usize::from(self.have) == self.head_length() {
                self.left = self.payload_length();
                complete = true;
            }
        }
        let control = self.head[0] & 8 != 0;
        passed.data |= used > 0 && !control;
        if complete {
            passed.ping |= used > 0 && self.head[0] & 15 == 9;
            let here = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len() - used);
            passed.data |= here > 0 && !control;
            self.left -= here as u64;
            used += here;
            if self.left == 0 {
                self.have = 0;
            }
        }
        used
    }

    pub(crate) fn pass(&mut self, mut bytes: &[u8]) -> Passed {
        let mut passed = Passed::default();
        while !bytes.is_empty() {
            let used = self.step(bytes, &mut passed);
            bytes = &bytes[used..];
        }
        passed
    }

    /// As far as it can be told from what is there of the head.
    fn head_length(&self) -> usize {
        if self.have < 2 {
            return 2;
        }
        let mask = if self.head[1] & 128 != 0 { 4 } else { 0 };
        match self.head[1] & 127 {
            126 => 4 + mask,
            127 => 10 + mask,
            _ => 2 + mask,
        }
    }

    fn payload_length(&self) -> u64 {
        let long = |bytes: &[u8]| bytes.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
        match self.head[1] & 127 {
            126 => long(&self.head[2..4]),
            127 => long(&self.head[2..10]),
            short => u64::from(short),
        }
    }
}

/// The proxy's own pings on one WebSocket, and the way of the client's answers.
#[derive(Debug)]
pub(crate) struct Pings {
    /// Nobody else's pings have it.
    text: [u8; 8],
    unanswered: u32,
    frames: Frames,
    /// What may become a pong to be kept back.
    held: [u8; PONG],
    holds: usize,
}

impl Pings {
    pub(crate) fn new() -> Self {
        let text = RandomState::new().hash_one("slipway").to_be_bytes();
        Self { text, unanswered: 0, frames: Frames::default(), held: [0; PONG], holds: 0 }
    }

    /// A ping to be sent to the client.
    pub(crate) fn ask(&mut self) -> [u8; PING] {
        self.unanswered += 1;
        let mut frame = [0; PING];
        frame[..2].copy_from_slice(&[0x89, 8]);
        frame[2..].copy_from_slice(&self.text);
        frame
    }

    /// Whether answers are to be looked for with [`sift`](Self::sift). If not, everything may
    /// [`pass`](Self::pass) as it is.
    pub(crate) fn expects(&self) -> bool {
        self.unanswered > 0
    }

    pub(crate) fn pass(&mut self, bytes: &[u8]) -> Passed {
        self.frames.pass(bytes)
    }

    /// Adds to `out` what of the client's bytes is for the target.
    pub(crate) fn sift(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Passed {
        let mut passed = Passed::default();
        while let Some(&byte) = bytes.first() {
            if !self.frames.between() || !self.expects() {
                let used = self.frames.step(bytes, &mut passed);
                out.extend_from_slice(&bytes[..used]);
                bytes = &bytes[used..];
                continue;
            }
            bytes = &bytes[1..];
            self.held[self.holds] = byte;
            self.holds += 1;
            if !self.may_be_answer() {
                let held = &self.held[..std::mem::take(&mut self.holds)];
                out.extend_from_slice(held);
                self.frames.step(held, &mut passed);
            } else if self.holds == PONG {
                self.holds = 0;
                self.unanswered -= 1;
            }
        }
        passed
    }

    fn may_be_answer(&self) -> bool {
        let held = &self.held[..self.holds];
        let masked = |(at, byte): (usize, &u8)| byte ^ self.held[2 + at % 4] == self.text[at];
        let heads = held.iter().zip([0x8a, 0x88]).all(|(byte, wanted)| *byte == wanted);
        heads && held.iter().skip(6).enumerate().all(masked)
    }
}

/// Whether a client is still there, by what it sends. Looked at now and then, so that no byte needs a clock.
#[derive(Debug, Default)]
pub(crate) struct Vigil {
    heard: bool,
    /// The target has sent a ping that the client has not answered.
    pinged: bool,
    asked: bool,
    answered: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    There,
    /// Silent: to be asked by a ping.
    Ask,
    /// Silent, and asked by the target itself. To ask once more might cost the target its answer, as a
    /// client need answer only the last of several pings.
    Asked,
    Gone,
}

impl Vigil {
    pub(crate) fn heard(&mut self) {
        let answered = self.answered || self.asked;
        *self = Self { heard: true, answered, ..Self::default() };
    }

    /// True once after an answer: then the time of silence begins anew.
    pub(crate) fn has_answered(&mut self) -> bool {
        std::mem::take(&mut self.answered)
    }

    pub(crate) fn pinged(&mut self) {
        self.pinged = true;
    }

    pub(crate) fn look(&mut self) -> Verdict {
        if std::mem::take(&mut self.heard) {
            return Verdict::There;
        }
        match (std::mem::replace(&mut self.asked, true), self.pinged) {
            (true, _) => Verdict::Gone,
            (false, true) => Verdict::Asked,
            (false, false) => Verdict::Ask,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(first: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        let bit = if mask.is_some() { 128 } else { 0 };
        match u8::try_from(payload.len()) {
            Ok(short @ ..126) => frame.push(bit | short),
            _ => match u16::try_from(payload.len()) {
                Ok(length) => {
                    frame.push(bit | 126);
                    frame.extend_from_slice(&length.to_be_bytes());
                }
                Err(_) => {
                    frame.push(bit | 127);
                    frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
                }
            },
        }
        frame.extend_from_slice(&mask.unwrap_or_default()[..if mask.is_some() { 4 } else { 0 }]);
        let mask = mask.unwrap_or_default();
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    #[test]
    fn frames_of_every_length_end_where_they_end() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
            for mask in [None, Some([1, 2, 3, 4])] {
                let text = frame(0x82, mask, &vec![7; length]);
                let mut frames = Frames::default();
                let (last, others) = text.split_last().expect("bytes");
                frames.pass(others);
                assert!(!frames.between(), "{length}");
                frames.pass(&[*last]);
                assert!(frames.between(), "{length}");
            }
        }
        let passed = |first| Frames::default().pass(&frame(first, None, b"x"));
        assert_eq!(passed(0x82), Passed { data: true, ping: false });
        assert_eq!(passed(0x00), Passed { data: true, ping: false });
        assert_eq!(passed(0x89), Passed { data: false, ping: true });
        assert_eq!(passed(0x8a), Passed { data: false, ping: false });
        assert_eq!(passed(0x88), Passed { data: false, ping: false });
    }

    #[test]
    fn a_silent_client_is_asked_once_and_then_gone() {
        let mut vigil = Vigil::default();
        assert_eq!(vigil.look(), Verdict::Ask);
        assert!(!vigil.has_answered());
        vigil.heard();
        assert!(vigil.has_answered() && !vigil.has_answered());
        assert_eq!(vigil.look(), Verdict::There);
        vigil.pinged();
        assert_eq!(vigil.look(), Verdict::Asked);
        assert_eq!(vigil.look(), Verdict::Gone);
    }

    /// Frames of a client: of all kinds, some nearly our pong, some our pong.
    fn client_frames(text: [u8; 8]) -> impl Strategy<Value = Vec<(Vec<u8>, bool)>> {
        let mask = any::<[u8; 4]>();
        let other = (
            prop::sample::select(vec![0x01, 0x82, 0x80, 0x89, 0x8a, 0x88]),
            mask,
            prop::collection::vec(any::<u8>(), 0..200),
        )
            .prop_map(|(first, mask, payload)| (frame(first, Some(mask), &payload), false));
        let near = (mask, 0_usize..8).prop_map(move |(mask, at)| {
            let mut text = text;
            text[at] ^= 1;
            (frame(0x8a, Some(mask), &text), false)
        });
        let pong = mask.prop_map(move |mask| (frame(0x8a, Some(mask), &text), true));
        prop::collection::vec(prop_oneof![3 => other, 1 => near, 1 => pong], 0..12)
    }

    fn cut(text: &[u8], steps: &[usize], mut part: impl FnMut(&[u8])) {
        let mut rest = text;
        for step in steps.iter().cycle() {
            if rest.is_empty() {
                return;
            }
            let (now, later) = rest.split_at(rest.len().min(*step));
            part(now);
            rest = later;
        }
    }

    proptest! {
        #[test]
        fn only_pongs_to_our_pings_are_taken_out_however_the_bytes_are_cut(
            (text, frames) in any::<[u8; 8]>().prop_flat_map(|text| (Just(text), client_frames(text))),
            asked in 0_usize..4,
            steps in prop::collection::vec(1_usize..40, 1..20),
        ) {
            let mut pings = Pings { text, ..Pings::new() };
            for _ in 0..asked {
                pings.ask();
            }
            let (mut expected, mut answers, mut data) = (vec![], 0, false);
            for (frame, ours) in &frames {
                if *ours && answers < asked {
                    answers += 1;
                } else {
                    expected.extend_from_slice(frame);
                    data |= frame[0] & 8 == 0;
                }
            }
            let whole: Vec<u8> = frames.iter().flat_map(|(frame, _)| frame.clone()).collect();
            let (mut out, mut passed) = (vec![], false);
            cut(&whole, &steps, |part| passed |= pings.sift(part, &mut out).data);
            prop_assert_eq!(out, expected);
            prop_assert_eq!(passed, data);
            prop_assert!(pings.frames.between() && pings.holds == 0);
        }

        #[test]
        fn any_bytes_cut_anyhow_end_at_the_same_place(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            steps in prop::collection::vec(1_usize..40, 1..20),
        ) {
            let (mut whole, mut parts, mut passed) = (Frames::default(), Frames::default(), Passed::default());
            let all = whole.pass(&bytes);
            cut(&bytes, &steps, |part| {
                let now = parts.pass(part);
                passed = Passed { data: passed.data | now.data, ping: passed.ping | now.ping };
            });
            prop_assert_eq!((whole.have, whole.left), (parts.have, parts.left));
            prop_assert_eq!(all, passed);
        }
    }
}
