//! How commands reach the installation.

use anyhow::Context;

use super::DatabaseOptions;
use crate::domain::Subject;
use crate::service::Service;
use crate::store::Store;
use crate::store::append::Caps;

/// A connection whose schema is not looked at.
pub(super) async fn store(options: &DatabaseOptions) -> anyhow::Result<Store> {
    let hint = match &options.database_url {
        Some(_) => "the database of --database-url does not answer".to_owned(),
        None => format!(
            "the database of {} does not answer: is `slipway up` running there?",
            options.data_dir()?.display()
        ),
    };
    Store::connect(&options.url()?, 4).await.context(hint)
}

/// A connection to a database that is up to date.
pub(super) async fn checked(options: &DatabaseOptions) -> anyhow::Result<Store> {
    let store = store(options).await?;
    store.check().await?;
    Ok(store)
}

/// Whoever reaches the database is the operator, whom no cap binds.
pub(super) async fn service(options: &DatabaseOptions) -> anyhow::Result<Service> {
    Ok(Service::new(checked(options).await?, Caps::NONE))
}

/// Who types the commands: the machine's name for the user.
pub(super) fn operator() -> Subject {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
    let name = user.map_or_else(|| nix::unistd::geteuid().to_string(), |user| user.name);
    format!("cli:{name}").parse().unwrap_or_else(|_| "cli:operator".parse().expect("a plain word is a subject"))
}
