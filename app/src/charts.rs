//! The charts of a run, of a dataset, of an evaluation and of several runs: their data, their description for the chart
//! library, and the living chart in the browser.

pub mod band;
pub mod curve;
pub mod distribution;
pub mod evaluation;
#[cfg(feature = "hydrate")]
pub mod instance;
pub mod overlay;
pub mod panel;
pub mod parallel;
#[cfg(feature = "hydrate")]
pub mod save;
#[cfg(feature = "hydrate")]
pub mod still;

/// Nothing is drawn outside the browser.
#[cfg(not(feature = "hydrate"))]
pub mod still {
    use super::panel::Palette;
    use leptos::prelude::RwSignal;
    use serde_json::Value;

    pub fn draw(
        _id: &'static str,
        _trouble: RwSignal<Option<String>>,
        _option: impl Fn(&Palette, &[String]) -> Value + 'static,
    ) {
    }

    pub fn draw_linked(
        _id: &'static str,
        _trouble: RwSignal<Option<String>>,
        _option: impl Fn(&Palette, &[String]) -> Value + 'static,
    ) {
    }
}
