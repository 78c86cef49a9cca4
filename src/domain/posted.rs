//! Routes that programs post, as configurable-http-proxy takes them. They belong to no cluster.

use serde_json::{Map, Value};

use super::route::RoutePath;

/// A change of one posted route.
#[derive(Debug, Clone, PartialEq)]
pub enum Posted {
    /// The route is there, in place of any other: its `target`, and whatever else was posted with it.
    Put {
        path: RoutePath,
        data: Map<String, Value>,
    },
    Removed {
        path: RoutePath,
    },
}

impl Posted {
    pub fn path(&self) -> &RoutePath {
        match self {
            Self::Put { path, .. } | Self::Removed { path } => path,
        }
    }
}
