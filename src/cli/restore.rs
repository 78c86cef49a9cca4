//! `slipway restore`

use std::time::Duration;

use anyhow::{bail, ensure};
use clap::Args;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::options::DatabaseOptions;
use super::out::tell;
use super::{connect, table};
use crate::service::restore::{self, Missing, Progress};
use crate::shutdown;

const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A worker that is there takes what is due within a second or two.
const SILENCE: Duration = Duration::from_secs(15);

/// After a Kubernetes cluster was lost and replaced, or its machine. The workers make every live cluster anew as the
/// log wants it, under its own id; what was in it is lost. They would do so by themselves when they notice; this makes
/// them look now, whatever became of earlier tries, and follows them.
#[derive(Debug, Args)]
pub(super) struct Restore {
    /// Stop watching after so long; the workers go on
    #[arg(long, default_value = "10m", value_name = "TIME", value_parser = humantime::parse_duration)]
    within: Duration,
    #[arg(long)]
    json: bool,
}

/// Why it was watched no longer.
#[derive(PartialEq, Eq)]
enum End {
    Over,
    Late,
    Told,
}

impl Restore {
    pub(super) async fn run(self, options: &DatabaseOptions) -> anyhow::Result<()> {
        let began = Instant::now();
        let mut restore = restore::Restore::begin(connect::checked(options).await?).await?;
        let end = self.watch(&mut restore, began).await?;
        let (progress, missing) = (restore.progress(), restore.missing());
        self.print(progress, &missing)?;
        let Progress { clusters, back, failed, stopped } = progress;
        match end {
            End::Told => {
                bail!("watching no longer: {back} of {clusters} clusters are back, and the workers go on")
            }
            End::Late => {
                let within = humantime::format_duration(self.within);
                let hope = if restore.is_taken() { "the workers go on" } else { "no worker has taken any" };
                bail!("{} of {clusters} clusters are not back after {within}; {hope}", missing.len())
            }
            End::Over => ensure!(failed == 0, "{failed} of {clusters} clusters could not be brought back"),
        }
        if !self.json {
            let gone = if stopped > 0 { format!(", and {stopped} were stopped meanwhile") } else { String::new() };
            tell!("all is back: {back} clusters in {:.1} s{gone}", began.elapsed().as_secs_f64());
        }
        Ok(())
    }

    async fn watch(&self, restore: &mut restore::Restore, began: Instant) -> anyhow::Result<End> {
        let mut stop = shutdown::on_signal()?;
        let say = |line: String| {
            if !self.json {
                tell!("{:>7.1} s  {line}", began.elapsed().as_secs_f64());
            }
        };
        let (mut told, mut warned) = (None, false);
        loop {
            restore.look().await?;
            let progress = restore.progress();
            if told.replace(progress) != Some(progress) {
                say(format!("{} of {} clusters are back", progress.back, progress.clusters));
            }
            if restore.is_over() {
                return Ok(End::Over);
            }
            if !restore.is_taken() && !warned && began.elapsed() >= SILENCE {
                warned = true;
                say("no worker takes them: is one running?".to_owned());
            }
            if began.elapsed() >= self.within {
                return Ok(End::Late);
            }
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return Ok(End::Told),
                () = sleep(LOOK_EVERY) => {}
            }
        }
    }

    fn print(&self, progress: Progress, missing: &[Missing]) -> anyhow::Result<()> {
        if self.json {
            tell!("{}", json!({ "progress": progress, "missing": missing }));
        } else if !missing.is_empty() {
            table::print(false, missing, &["CLUSTER", "OWNER", "STATUS", "WORKERS", "WHY NOT BACK"], |one| {
                vec![
                    one.cluster.to_string(),
                    one.owner.to_string(),
                    one.status.to_owned(),
                    format!("{}/{}", one.workers_ready, one.workers_wanted),
                    one.why.clone(),
                ]
            })?;
        }
        Ok(())
    }
}
