//! How forms and addresses name an adapter: `run-3` for what run 3 left, `model-4` for one of the catalogue.

pub use domain::deployment::{parse_source as parse, word_of};
