//! Server functions, one file per noun. Each is a few lines: take what was asked, call the service, hand back.

pub mod classify;
pub mod datasets;
pub mod deployments;
pub mod evaluations;
pub mod exports;
pub mod findings;
pub mod import_form;
pub mod label_checks;
pub mod manifests;
pub mod models;
pub mod people;
#[cfg(feature = "ssr")]
mod plain_form;
pub mod queue;
pub mod run_form;
pub mod runs;
pub mod source;
pub mod sweep_form;
pub mod sweeps;
pub mod uploads;
pub mod versions;
