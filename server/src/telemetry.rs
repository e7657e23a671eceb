//! The log: on stderr, so that stdout holds nothing but answers.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Starts the log. `AYAR_LOG` says what is let through, in the words of tracing's `EnvFilter`; without it the server
/// tells what happens and the other commands, which have a progress bar, only what goes wrong.
pub fn start(serving: bool) {
    let default = if serving { "info" } else { "warn" };
    let filter = EnvFilter::try_from_env("AYAR_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    // Colours are for eyes; a file or a journal would hold their codes.
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours).init();
}
