//! `slipway pools`

use clap::Args;

use super::options::DatabaseOptions;
use super::{connect, table};

#[derive(Debug, Args)]
pub(super) struct Pools {
    #[arg(long)]
    json: bool,
}

impl Pools {
    pub(super) async fn run(self, options: &DatabaseOptions) -> anyhow::Result<()> {
        let stocks = connect::checked(options).await?.stocks().await?;
        table::print(self.json, &stocks, &["PROFILE", "WANTED", "READY", "COMING OR GOING"], |stock| {
            vec![
                stock.profile.clone(),
                stock.wanted.to_string(),
                stock.ready.to_string(),
                stock.others.to_string(),
            ]
        })
    }
}
