//! The charts of a run and of a dataset: their data, their description for the chart library, and the living chart in
//! the browser.

pub mod curve;
pub mod distribution;
#[cfg(feature = "hydrate")]
pub mod instance;
pub mod panel;
#[cfg(feature = "hydrate")]
pub mod still;
