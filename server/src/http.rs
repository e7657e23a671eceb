//! What the router's pages are made of besides Leptos.

pub mod datasets;
pub mod errors;
pub mod events;
pub mod exports;
pub mod guard;
pub mod health;
pub mod uploads;
