//! What the router's pages are made of besides Leptos.

pub mod access;
pub mod api;
pub mod datasets;
pub mod demo;
pub mod docs;
pub mod errors;
pub mod evaluations;
pub mod events;
pub mod exports;
pub mod guard;
pub mod health;
pub mod metrics;
pub mod observe;
pub mod runs;
pub mod saved_file;
pub mod uploads;
