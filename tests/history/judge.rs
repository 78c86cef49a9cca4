//! What must be so once a history has come to rest, said without the code that it is about as far as that goes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use slipway::domain::cluster::{decide, replay};
use slipway::domain::desired::is_settled;
use slipway::domain::{Cluster, ClusterId, Command, Event, Phase, RouteTable};
use slipway::store::Store;
use slipway::store::events::Recorded;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::stage::{Board, Stage};
use super::world::endpoint;
use crate::harness::whole_log;

/// After which a follower that has not all of the log never will.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
pub struct Entry {
    pub asked: Asked,
    pub outcome: Outcome,
}

#[derive(Debug, Clone)]
pub enum Asked {
    /// The same actor for all tries of one click.
    Launch {
        actor: String,
    },
    Tell {
        id: ClusterId,
        correlation: Uuid,
        command: Command,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Acknowledged {
        id: ClusterId,
        version: i64,
    },
    Refused,
    /// Whoever asked was not told.
    Unknown,
    Impossible(String),
}

pub async fn judge(stage: &Stage, ledger: &[Entry]) -> Vec<String> {
    let store = Store::over(stage.ground.pool.clone());
    let mut wrong = stage.ended.lock().expect("no panic").clone();
    let violations = sqlx::query_scalar::<_, String>("SELECT what FROM witness.violation");
    wrong.extend(violations.fetch_all(&stage.ground.pool).await.expect("an answer"));
    wrong.extend(store.broken_chains().await.expect("an answer"));
    wrong.extend(store.wrong_usage().await.expect("an answer"));
    let log = whole_log(&store).await;
    let streams = streams(&log);
    wrong.extend(commands(ledger, &log, &streams));
    wrong.extend(clusters(stage, &streams));
    wrong.extend(followers(stage, &log).await);
    wrong.extend(read_models(stage, &store, &streams).await);
    wrong
}

fn streams(log: &[Recorded]) -> BTreeMap<ClusterId, Vec<&Recorded>> {
    let mut streams: BTreeMap<ClusterId, Vec<&Recorded>> = BTreeMap::new();
    for recorded in log {
        streams.entry(recorded.cluster).or_default().push(recorded);
    }
    streams
}

fn state(id: ClusterId, events: &[&Recorded]) -> Result<Option<Cluster>, String> {
    replay(id, events.iter().map(|recorded| &recorded.event)).map_err(|error| error.to_string())
}

/// What was acknowledged is in the log once, and what was not is there once at most.
fn commands(ledger: &[Entry], log: &[Recorded], streams: &BTreeMap<ClusterId, Vec<&Recorded>>) -> Vec<String> {
    let mut wrong = Vec::new();
    for Entry { asked, outcome } in ledger {
        if let Outcome::Impossible(why) = outcome {
            wrong.push(format!("{asked:?} was answered {why:?}"));
        }
        match asked {
            Asked::Launch { actor } => {
                let mut made = log.iter().filter(|recorded| {
                    let launched = matches!(recorded.event, Event::LaunchRequested { .. } | Event::Claimed { .. });
                    launched && recorded.actor.as_str() == actor
                });
                let (first, more) = (made.next(), made.count());
                if more > 0 {
                    wrong.push(format!("{actor} launched once and {more} times more"));
                }
                if let Outcome::Acknowledged { id, .. } = outcome
                    && first.map(|recorded| recorded.cluster) != Some(*id)
                {
                    wrong.push(format!("{actor} was told of {id}, and launched {first:?}"));
                }
                if *outcome == Outcome::Refused && first.is_some() && !actor.contains("key") {
                    wrong.push(format!("{actor} was refused and launched {first:?}"));
                }
            }
            Asked::Tell { id, correlation, command } => {
                let told: Vec<_> = log.iter().filter(|recorded| recorded.correlation == *correlation).collect();
                let stream = streams.get(id).map_or(&[][..], Vec::as_slice);
                wrong.extend(one_command(*id, command, outcome, &told, stream));
            }
        }
    }
    wrong
}

fn one_command(
    id: ClusterId,
    command: &Command,
    outcome: &Outcome,
    told: &[&Recorded],
    stream: &[&Recorded],
) -> Option<String> {
    let versions: Vec<i64> = told.iter().map(|recorded| recorded.version).collect();
    let as_it_should = match outcome {
        Outcome::Acknowledged { version, .. } if versions.is_empty() => {
            // It was so already.
            let before: Vec<_> = stream.iter().copied().filter(|recorded| recorded.version <= *version).collect();
            let state = state(id, &before).ok()?;
            decide(id, state.as_ref(), command).is_ok_and(|events| events.is_empty())
        }
        Outcome::Acknowledged { version, .. } => versions == [*version],
        Outcome::Refused => versions.is_empty(),
        Outcome::Unknown => versions.len() <= 1,
        Outcome::Impossible(_) => true,
    };
    (!as_it_should).then(|| format!("{command:?} to {id}: {outcome:?}, and the log has it at {versions:?}"))
}

/// The log and the world agree, and each cluster was built as often as there was reason to.
fn clusters(stage: &Stage, streams: &BTreeMap<ClusterId, Vec<&Recorded>>) -> Vec<String> {
    let (there, mut wrong, mut wanted) = (stage.world.there(), Vec::new(), BTreeSet::new());
    for (id, events) in streams {
        if events.iter().zip(1..).any(|(recorded, version)| recorded.version != version) {
            wrong.push(format!("{id}: a reader of the log does not get its events in order"));
        }
        let cluster = match state(*id, events) {
            Ok(Some(cluster)) => cluster,
            other => {
                wrong.push(format!("{id} adds up to {other:?}"));
                continue;
            }
        };
        let (built, past) = (there.get(id), stage.world.past(*id));
        match &cluster.phase {
            Phase::Running { endpoint: known, .. } => {
                wanted.insert(*id);
                let as_wanted = built.is_some_and(|built| {
                    built.workers == cluster.workers.get()
                        && endpoint(built.port) == *known
                        && is_settled(&cluster)
                });
                if !as_wanted {
                    wrong.push(format!("{id} is {built:?} and the log says {:?}", cluster.phase));
                }
                if past.built != 1 + past.crashed || past.removed > 0 {
                    wrong.push(format!("{id} runs, and was {past:?}"));
                }
            }
            Phase::Gone { .. } => {}
            phase @ (Phase::Waiting | Phase::Launching | Phase::Failed { .. } | Phase::Stopping { .. }) => {
                wrong.push(format!("{id} stays {phase:?}"));
            }
        }
        let moves = events.iter().filter(|recorded| matches!(recorded.event, Event::BecameReady(_))).count();
        if moves > past.built as usize {
            wrong.push(format!("{id} became ready {moves} times, and was {past:?}"));
        }
    }
    wrong.extend(there.keys().filter(|id| !wanted.contains(id)).map(|id| format!("{id} is left over")));
    wrong
}

/// Everybody who follows has all of the log, once, and serves by what it adds up to.
async fn followers(stage: &Stage, log: &[Recorded]) -> Vec<String> {
    let mut table = RouteTable::default();
    for recorded in log {
        table.apply(recorded.cluster, recorded.version, &recorded.event, recorded.recorded_at);
    }
    let expected = Board {
        routes: table.iter().collect(),
        doors: table.doors().map(|(cluster, door)| (cluster, door.clone())).collect(),
    };
    let order: Vec<_> = log.iter().map(|recorded| (recorded.cluster, recorded.version)).collect();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut wrong = Vec::new();
        let seen = stage.seen.lock().expect("no panic").clone();
        if seen != order {
            wrong.push(format!("a reader of the log has {seen:?} instead of {order:?}"));
        }
        for proxy in &stage.proxies {
            let board = proxy.board.lock().expect("no panic");
            if *board != expected {
                wrong.push(format!("a proxy has {board:?} instead of {expected:?}"));
            }
        }
        if wrong.is_empty() || Instant::now() > deadline {
            return wrong;
        }
        stage.bell.send_replace(());
        sleep(Duration::from_millis(2)).await;
    }
}

/// What is thrown away and made anew from the log is what it was.
async fn read_models(stage: &Stage, store: &Store, streams: &BTreeMap<ClusterId, Vec<&Recorded>>) -> Vec<String> {
    let rows = async || {
        let rows = "(SELECT to_jsonb(c)::text FROM slipway.cluster c ORDER BY id) UNION ALL
                    (SELECT to_jsonb(u)::text FROM slipway.usage u WHERE clusters + workers > 0 ORDER BY owner)";
        sqlx::query_scalar::<_, String>(rows).fetch_all(&stage.ground.pool).await.expect("an answer")
    };
    let before = rows().await;
    sqlx::raw_sql("TRUNCATE slipway.cluster, slipway.usage")
        .execute(&stage.ground.pool)
        .await
        .expect("thrown away");
    let ids: Vec<ClusterId> = streams.keys().copied().collect();
    let rebuilt = async {
        store.rebuild(&ids).await?;
        store.finish_rebuild().await
    };
    if let Err(error) = rebuilt.await {
        return vec![format!("the read models cannot be rebuilt: {error}")];
    }
    let after = rows().await;
    if before == after {
        vec![]
    } else {
        vec![format!("the read models were {before:#?} and should be {after:#?}")]
    }
}
