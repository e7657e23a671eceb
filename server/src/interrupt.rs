//! Ctrl-C while a command works: the first one asks for an orderly stop, the second one ends the process.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::signal::unix::{SignalKind, signal};

static ASKED: AtomicBool = AtomicBool::new(false);

/// Listens from now on; true as soon as a stop was asked for, by Ctrl-C or SIGTERM.
pub fn listen() -> &'static AtomicBool {
    static LISTENER: OnceLock<()> = OnceLock::new();
    LISTENER.get_or_init(|| {
        std::thread::spawn(|| {
            // Where signals cannot be listened for they end the process, as they do without us.
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
            runtime.block_on(wait());
        });
    });
    &ASKED
}

async fn wait() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if ASKED.swap(true, Ordering::Relaxed) {
            std::process::exit(1);
        }
        eprintln!("stopping after this step (once more: at once)");
    }
}
