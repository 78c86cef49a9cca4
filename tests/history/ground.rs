//! What histories leave to the next one on the same thread: a database that is emptied, and connections to it, which take
//! Postgres longer to make than all that a history does with them.

use slipway::domain::ClusterId;
use slipway::store::Store;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use super::mutant::drop_database;
use super::op::{WORKERS, Who};
use crate::harness::wire::{Server, Wire};

pub struct Ground {
    /// Of the history itself, which is nobody in it.
    pub pool: PgPool,
    database: String,
    user: String,
    owners: (Wire, Store),
    followers: (Wire, Store),
    workers: Vec<(Wire, Engaged)>,
    /// How many workers there ever were.
    engaged: usize,
}

/// Who works in a slot, until it dies.
#[derive(Clone)]
pub struct Engaged {
    pub name: String,
    pub store: Store,
}

impl Ground {
    pub async fn new(template: &str) -> Self {
        let database = crate::harness::new_database(Some(template)).await;
        let (options, _) = crate::harness::server();
        let (server, user) = (Server::of(&options), options.get_username().to_owned());
        let pool = PgPoolOptions::new().max_connections(2).connect_with(options.database(&database)).await;
        let with_store = async |name: &str| {
            let wire = Wire::to(server.clone()).await;
            let store = store(&wire, &user, &database, name);
            (wire, store)
        };
        let mut workers = Vec::new();
        for slot in 0..WORKERS {
            let name = format!("worker:{slot}");
            let (wire, store) = with_store(&name).await;
            workers.push((wire, Engaged { name, store }));
        }
        Self {
            pool: pool.expect("the new database answers"),
            owners: with_store("owners").await,
            followers: with_store("followers").await,
            workers,
            database,
            user,
            engaged: WORKERS,
        }
    }

    pub fn wire(&self, who: Who) -> &Wire {
        match who {
            Who::Owners => &self.owners.0,
            Who::Worker(slot) => &self.workers[slot].0,
            Who::Followers => &self.followers.0,
        }
    }

    pub fn wires(&self) -> impl Iterator<Item = &Wire> {
        self.workers.iter().map(|(wire, _)| wire).chain([&self.owners.0, &self.followers.0])
    }

    pub fn owners(&self) -> Store {
        self.owners.1.clone()
    }

    pub fn followers(&self) -> Store {
        self.followers.1.clone()
    }

    pub fn worker(&self, slot: usize) -> Engaged {
        self.workers[slot].1.clone()
    }

    /// Another one, with connections of its own.
    pub fn engage(&mut self, slot: usize) -> Engaged {
        let name = format!("worker:{}", self.engaged);
        self.engaged += 1;
        let store = store(&self.workers[slot].0, &self.user, &self.database, &name);
        self.workers[slot].1 = Engaged { name, store };
        self.worker(slot)
    }

    /// As if nothing had happened.
    pub async fn empty(&self) {
        self.wires().for_each(Wire::be_sound);
        sqlx::raw_sql(include_str!("empty.sql")).execute(&self.pool).await.expect("emptied");
        self.wires().for_each(Wire::forget_left);
    }

    pub async fn clear_away(self) {
        self.pool.close().await;
        drop_database(&self.database).await;
    }
}

/// One whose connections say whose they are.
fn store(wire: &Wire, user: &str, database: &str, name: &str) -> Store {
    let url = format!("{}&options[slipway.who]={name}", wire.url(user, database));
    Store::to(&url, 2).expect("an address")
}

/// An event, by its cluster and its place there.
pub type Seen = (ClusterId, i64);
