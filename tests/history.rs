//! Random histories: owners, workers, proxies and a keeper on a real Postgres over a simulated world, in which much goes
//! wrong, against what must be so afterwards. CONTRIBUTING.md says how to run them for long.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests read their configuration and the time, and tell how many they were"
)]

#[path = "history/ground.rs"]
mod ground;
mod harness;
#[path = "history/judge.rs"]
mod judge;
#[path = "history/mutant.rs"]
mod mutant;
#[path = "history/op.rs"]
mod op;
#[path = "history/play.rs"]
mod play;
#[path = "history/shrink.rs"]
mod shrink;
#[path = "history/stage.rs"]
mod stage;
#[path = "history/world.rs"]
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ground::Ground;
use mutant::Mutant;
use op::{Op, history};
use tokio::runtime::{Builder, Runtime};

/// Played at the same time, each on a thread of its own: most of their time they wait.
const AT_ONCE: usize = 8;

/// A history that went wrong.
struct Failed {
    seed: u64,
    wrong: Vec<String>,
}

struct Played {
    count: u64,
    took: Duration,
    failed: Option<Failed>,
}

/// Plays one history after the other.
struct Player<'a> {
    runtime: Runtime,
    template: &'a str,
    mutant: Option<Mutant>,
    ground: Option<Ground>,
}

impl<'a> Player<'a> {
    fn new(template: &'a str, mutant: Option<Mutant>) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { runtime, template, mutant, ground: None }
    }

    /// What is wrong with it, a panic included.
    fn play(&mut self, ops: &[Op]) -> Vec<String> {
        let Self { runtime, template, mutant, ground } = self;
        let known = ground.take();
        let played = catch_unwind(AssertUnwindSafe(|| {
            runtime.block_on(async {
                let ground = match known {
                    Some(ground) => ground,
                    None => Ground::new(template).await,
                };
                play::play(ground, ops, *mutant).await
            })
        }));
        match played {
            Ok((used, wrong)) => {
                *ground = Some(used);
                wrong
            }
            Err(_) => vec!["it panicked".to_owned()],
        }
    }
}

impl Drop for Player<'_> {
    fn drop(&mut self) {
        if let Some(ground) = self.ground.take() {
            self.runtime.block_on(ground.clear_away());
        }
    }
}

/// Plays until one has failed, of a mutant by what it is without, or the time is over.
fn play_many(template: &str, first: u64, within: Duration, mutant: Option<Mutant>) -> Played {
    let (began, next, over) = (Instant::now(), AtomicU64::new(0), AtomicBool::new(false));
    let failed = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                let mut player = Player::new(template, mutant);
                while began.elapsed() < within && !over.load(Ordering::SeqCst) {
                    let seed = first.wrapping_add(next.fetch_add(1, Ordering::SeqCst));
                    let wrong = player.play(&history(seed));
                    if mutant.map_or(!wrong.is_empty(), |mutant| mutant.is_shown_by(&wrong)) {
                        over.store(true, Ordering::SeqCst);
                        failed.lock().expect("no panic").get_or_insert(Failed { seed, wrong });
                    }
                }
            });
        }
    });
    Played { count: next.into_inner(), took: began.elapsed(), failed: failed.into_inner().expect("no panic") }
}

fn with_template<T>(mutant: Option<Mutant>, what: impl FnOnce(&str) -> T) -> T {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let template = runtime.block_on(mutant::template(mutant));
    let outcome = what(&template);
    runtime.block_on(mutant::drop_database(&template));
    outcome
}

/// The shortest history that still fails, and how to repeat it.
fn tell(template: &str, failed: &Failed, mutant: Option<Mutant>) -> String {
    let ops = history(failed.seed);
    let of = |kept: &[usize]| kept.iter().map(|place| ops[*place]).collect::<Vec<_>>();
    let mut player = Player::new(template, mutant);
    let kept = shrink::shrink(ops.len(), Duration::from_secs(120), |kept| !player.play(&of(kept)).is_empty());
    let places: Vec<String> = kept.iter().map(usize::to_string).collect();
    let steps: String = of(&kept).iter().map(|op| format!("  {op:?}\n")).collect();
    format!(
        "history {} failed:\n  {}\nthe shortest that fails:\n{steps}repeat it with\n  \
         SLIPWAY_HISTORY={}:{} ops/check --test history -- one_history",
        failed.seed,
        failed.wrong.join("\n  "),
        failed.seed,
        places.join(",")
    )
}

#[test]
fn whatever_goes_wrong_the_log_and_the_world_agree_afterwards() {
    let within = std::env::var("SLIPWAY_HISTORIES").unwrap_or_else(|_| "5s".to_owned());
    let within = humantime::parse_duration(&within).expect("SLIPWAY_HISTORIES is a time like 60s or 8h");
    with_template(None, |template| {
        let first = rand::random::<u32>().into();
        let Played { count, took, failed } = play_many(template, first, within, None);
        eprintln!("{count} histories from seed {first} on in {took:.1?}");
        if let Some(failed) = failed {
            panic!("{}", tell(template, &failed, None));
        }
        assert!(count > 0);
    });
}

/// The history that `SLIPWAY_HISTORY` names, as SEED or SEED:PLACE,PLACE.
#[test]
fn one_history() {
    let named = std::env::var("SLIPWAY_HISTORY").unwrap_or_else(|_| "1".to_owned());
    let (seed, places) = named.split_once(':').map_or((named.as_str(), None), |(seed, rest)| (seed, Some(rest)));
    let ops = history(seed.parse().expect("SLIPWAY_HISTORY begins with a number"));
    let ops = match places {
        Some(places) => {
            let places = places.split(',').map(|place| place.parse::<usize>().expect("a place"));
            places.map(|place| ops[place]).collect()
        }
        None => ops,
    };
    let wrong = with_template(None, |template| Player::new(template, None).play(&ops));
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn is_found(mutant: Mutant) {
    with_template(Some(mutant), |template| {
        let Played { count, failed, .. } = play_many(template, 0, Duration::from_secs(240), Some(mutant));
        assert!(failed.is_some(), "{count} histories did not show what {mutant:?} is without");
        eprintln!("{mutant:?} was found by {count} histories");
    });
}

#[test]
fn a_reader_that_goes_by_the_bare_position_is_found() {
    is_found(Mutant::BarePosition);
}

#[test]
fn a_finish_without_its_fence_is_found() {
    is_found(Mutant::Unfenced);
}

#[test]
fn an_append_that_forgets_keys_is_found() {
    is_found(Mutant::ForgetsKeys);
}

#[test]
fn limits_that_are_not_enforced_are_found() {
    is_found(Mutant::ForgetsLimits);
}

#[test]
fn a_pace_that_is_not_kept_is_found() {
    is_found(Mutant::ForgetsPace);
}

#[test]
fn a_claim_that_is_charged_to_nobody_is_found() {
    is_found(Mutant::ForgetsClaims);
}

#[test]
fn broken_chains_are_found() {
    is_found(Mutant::BreaksChains);
}
