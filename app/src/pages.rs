//! One file per route.

pub mod account;
pub mod classify;
pub mod compare;
pub mod dataset;
pub mod datasets;
pub mod deployment;
pub mod deployments;
pub mod invitation;
pub mod models;
pub mod new_dataset;
pub mod new_run;
pub mod new_sweep;
pub mod not_found;
pub mod overview;
pub mod people;
pub mod reset;
pub mod review;
pub mod run;
pub mod runs;
pub mod setup;
pub mod sign_in;
pub mod sweep;
