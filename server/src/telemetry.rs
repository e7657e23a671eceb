//! The log: on stderr, so that stdout holds nothing but answers.

use clap::ValueEnum;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// How lines of the log are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    #[default]
    Text,
    /// One object per line.
    Json,
}

/// Starts the log. `AYAR_LOG` says what is let through, in the words of tracing's `EnvFilter`; without it the server
/// tells what happens and the other commands, which have a progress bar, only what goes wrong. Every answered request is
/// told at the level debug.
pub fn start(serving: bool, format: LogFormat) {
    let default = if serving { "info" } else { "warn" };
    let filter = EnvFilter::try_from_env("AYAR_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    // Colours are for eyes; a file or a journal would hold their codes.
    let colours = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).with_current_span(true).with_span_list(false).init(),
    }
}
