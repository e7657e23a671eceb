//! Training.

pub mod checkpoint;
pub mod estimate;
pub mod learner;
pub mod optimizer;
pub mod rate;
pub mod recipe;
pub mod rows;
pub mod schedule;
mod start;

pub use checkpoint::{adapter_directory, has_checkpoint};
pub use estimate::{estimate, preview};
pub use recipe::{Example, TrainOutcome, TrainReport, TrainRequest, train};
