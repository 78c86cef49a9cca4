//! What a class may launch.

use serde_json::json;
use sha2::{Digest, Sha256};

use super::access::Access;
use super::command::Launch;
use super::event::Limits;
use super::ids::{ProfileName, Subject, WorkerCount};
use super::materials::Repository;
use super::pool::Pool;
use super::shape::Shape;

/// The most repositories that one launch may name.
pub const MOST_MATERIALS: usize = 10;

/// Whether one launch can clone these: not too many, and each into a folder of its own.
pub fn can_be_cloned(materials: &[Repository]) -> bool {
    let mut folders: Vec<&str> = materials.iter().map(Repository::folder).collect();
    folders.sort_unstable();
    folders.dedup();
    materials.len() <= MOST_MATERIALS && folders.len() == materials.len()
}

/// A kind of cluster on offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    pub name: ProfileName,
    pub title: String,
    pub description: String,
    /// Workers of a launch that does not say how many.
    pub workers: WorkerCount,
    /// Cloned by a launch that names none.
    pub materials: Vec<Repository>,
    pub limits: Limits,
    /// For whom its clusters are open at first.
    pub access: Access,
    /// Of its pods; clusters that are processes of this machine have no use for it.
    pub shape: Shape,
    /// How many of its clusters are kept ready, if any.
    pub pool: Option<Pool>,
}

impl Profile {
    /// The launch of this profile with the asker's wishes.
    pub fn launch(
        &self,
        owner: Subject,
        workers: Option<WorkerCount>,
        materials: Option<Vec<Repository>>,
    ) -> Launch {
        Launch {
            owner,
            profile: self.name.clone(),
            workers: workers.unwrap_or(self.workers),
            materials: materials.unwrap_or_else(|| self.materials.clone()),
            limits: self.limits,
            access: self.access,
        }
    }

    /// The launch of one that is kept ready. Who may enter beside its owner is settled by the claim.
    pub fn stock(&self) -> Launch {
        Launch { access: Access::default(), ..self.launch(self.pool_owner(), None, None) }
    }

    /// As whose the pool's clusters are launched: another subject for each recipe, so that what was launched by an earlier
    /// one is told apart.
    pub fn pool_owner(&self) -> Subject {
        let Self { name, workers, materials, limits, shape, title: _, description: _, access: _, pool: _ } = self;
        let recipe = json!([workers, materials, limits, shape]).to_string();
        let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(Sha256::digest(recipe));
        Subject::of_pool(name, [a, b, c, d, e, f, g, h])
    }

    /// Of whose clusters one would do for this launch; it is scaled if need be. Other materials are not there yet.
    pub fn pool_for(&self, launch: &Launch) -> Option<Subject> {
        (self.pool.is_some() && launch.materials == self.materials).then(|| self.pool_owner())
    }
}
