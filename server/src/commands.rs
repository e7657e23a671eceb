//! One file per subcommand.

pub mod bench;
pub mod classify;
pub mod devices;
pub mod evaluate;
pub mod export;
pub mod serve;
pub mod train;
