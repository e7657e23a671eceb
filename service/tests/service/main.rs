//! The service with all its real parts: a database file, the engine, the embedded base model. Tests wait for events of a
//! run, never for time to pass.

mod bad_files;
mod conversion;
mod datasets;
mod evaluations;
mod examinations;
#[path = "../hub/server/mod.rs"]
#[allow(dead_code, reason = "the tests of the Hub's client use more of it")]
mod hub;
mod label_checks;
mod manifests;
mod models;
mod own_database;
mod runs;
mod scores;
mod serving;
mod several;
mod support;
mod sweeps;
mod tracking;
mod uploads;
mod versions;
