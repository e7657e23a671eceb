//! The words of Ayar: plain data, the checks on it, and pure functions over it.
//!
//! Nothing here does I/O, reads a clock or draws an unseeded random number, so the same code runs in the
//! server and, compiled to WASM, in the browser: the form and the server check a recipe with one function,
//! and a confusion matrix is counted the same way on both sides.

pub mod attribution;
pub mod catalogue;
pub mod class_weights;
pub mod cleanliness;
pub mod confident;
pub mod dataset;
pub mod deployment;
pub mod error;
pub mod export;
pub mod finding;
pub mod hub;
pub mod hub_dataset;
pub mod manifest;
pub mod metrics;
pub mod model;
pub mod people;
pub mod prediction;
pub mod queue;
pub mod reading;
pub mod review;
pub mod row_query;
pub mod run;
pub mod runs_comparison;
pub mod spec;
pub mod split;
pub mod sweep;
pub mod template;
pub mod thinning;
pub mod version;
