//! One file per subcommand.

pub mod bench;
pub mod classify;
pub mod config;
pub mod data;
pub mod devices;
pub mod evaluate;
pub mod export;
mod hub;
pub mod models;
pub mod people;
pub mod push;
pub mod serve;
pub mod train;
