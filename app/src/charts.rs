//! The charts of a run: curves as plain data, their description for charming, and the living chart in the browser.

pub mod curve;
#[cfg(feature = "hydrate")]
pub mod instance;
pub mod panel;
