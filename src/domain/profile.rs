//! What a class may launch.

use super::access::Access;
use super::command::Launch;
use super::event::Limits;
use super::ids::{ProfileName, Subject, WorkerCount};
use super::materials::Repository;
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
}
