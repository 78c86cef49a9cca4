//! What happens in a history, one thing after the other, made from a seed. Each names what it is about by a number
//! that fits whatever there is, so that a history makes sense with any of them left out.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use slipway::domain::Access;

use super::world::Fault;
use crate::harness::wire::Loss;

pub const OWNERS: u8 = 3;
pub const WORKERS: usize = 3;
pub const ROUTERS: usize = 2;

/// Whose connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Owners,
    Worker(usize),
    Followers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// With a key: the same click as any other with it. `twice`: a double click. `other`: another request with the key.
    Launch {
        owner: u8,
        key: Option<u8>,
        twice: bool,
        other: bool,
    },
    Scale {
        nth: u8,
        workers: u8,
    },
    Stop {
        nth: u8,
    },
    Open {
        nth: u8,
        access: Access,
    },
    Share {
        nth: u8,
        share: u8,
    },
    Unshare {
        nth: u8,
        share: u8,
    },
    /// What the worker's next call of its runtime meets.
    Meets {
        worker: usize,
        fault: Fault,
    },
    /// Its calls wait until it is let go.
    Pause {
        worker: usize,
        paused: bool,
    },
    /// Dropped, as by kill -9, after so many more of its steps.
    Kill {
        worker: usize,
        after: u16,
    },
    /// In the place of one that has died. Its clock is so many seconds ahead.
    Hire {
        worker: usize,
        ahead: i16,
    },
    /// All leases have run out.
    Expire,
    /// All pauses are over.
    Hurry,
    /// A round of the keeper, whose clock may be hours ahead.
    Keep {
        ahead: bool,
    },
    /// A round over the pool, which is to have so many ready.
    Stock {
        ready: u8,
    },
    /// The machine loses a cluster.
    Crash {
        nth: u8,
    },
    Lose {
        who: Who,
        loss: Loss,
    },
    Cut {
        who: Who,
    },
    /// Postgres ends one of its processes.
    Terminate {
        nth: u8,
    },
    /// From now on appends take up to so long between their event and their commit.
    SlowCommits {
        ms: u8,
    },
    /// A proxy starts anew, maybe from what it had.
    Restart {
        router: usize,
        from_snapshot: bool,
    },
    /// So many milliseconds pass.
    Wait {
        ms: u8,
    },
}

/// The history of a seed.
pub fn history(seed: u64) -> Vec<Op> {
    let mut rng = StdRng::seed_from_u64(seed);
    let length = rng.random_range(10..45);
    (0..length).map(|_| op(&mut rng)).collect()
}

fn op(rng: &mut StdRng) -> Op {
    let nth = rng.random_range(0..6);
    let worker = rng.random_range(0..WORKERS);
    match rng.random_range(0..100) {
        0..16 => {
            let key = rng.random_bool(0.7).then(|| rng.random_range(0..4));
            let owner = rng.random_range(0..OWNERS);
            Op::Launch { owner, key, twice: rng.random_bool(0.3), other: rng.random_bool(0.1) }
        }
        16..22 => Op::Scale { nth, workers: rng.random_range(1..10) },
        22..28 => Op::Stop { nth },
        28..31 => Op::Open { nth, access: Access::ALL[rng.random_range(0..3)] },
        31..34 => Op::Share { nth, share: rng.random_range(0..3) },
        34..36 => Op::Unshare { nth, share: rng.random_range(0..3) },
        36..45 => Op::Meets { worker, fault: Fault::ALL[rng.random_range(0..Fault::ALL.len())] },
        45..51 => Op::Pause { worker, paused: rng.random_bool(0.6) },
        51..55 => Op::Kill { worker, after: rng.random_range(0..60) },
        55..61 => Op::Hire { worker, ahead: [0, 0, 90, -90, -3_600][rng.random_range(0..5)] },
        61..66 => Op::Expire,
        66..69 => Op::Hurry,
        69..71 => Op::Keep { ahead: rng.random_bool(0.3) },
        71..73 => Op::Crash { nth },
        73..79 => Op::Lose { who: who(rng), loss: loss(rng) },
        79..81 => Op::Cut { who: who(rng) },
        81..83 => Op::Terminate { nth },
        83..85 => Op::SlowCommits { ms: rng.random_range(0..6) },
        85..87 => Op::Restart { router: rng.random_range(0..ROUTERS), from_snapshot: rng.random_bool(0.5) },
        87..92 => Op::Stock { ready: rng.random_range(0..4) },
        _ => Op::Wait { ms: rng.random_range(1..8) },
    }
}

fn who(rng: &mut StdRng) -> Who {
    match rng.random_range(0..5) {
        0..2 => Who::Owners,
        2..4 => Who::Worker(rng.random_range(0..WORKERS)),
        _ => Who::Followers,
    }
}

fn loss(rng: &mut StdRng) -> Loss {
    match rng.random_range(0..3) {
        0 => Loss::Request,
        1 => Loss::Answer { after: 0 },
        _ => Loss::Answer { after: rng.random_range(1..400) },
    }
}
