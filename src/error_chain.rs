//! Errors with all their causes, for the one place that logs them.

use std::error::Error;
use std::fmt;

/// Shows an error and what caused it on one line.
pub fn chain(error: &dyn Error) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        write!(f, "{error}")?;
        let mut cause = error.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    })
}
