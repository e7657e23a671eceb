//! How fast a run is going.

use std::collections::VecDeque;

/// Steps over which rows per second are averaged.
const RATE_WINDOW: usize = 20;

/// Rows and seconds of the last steps.
#[derive(Default)]
pub struct Rate {
    steps: VecDeque<(usize, f64)>,
}

impl Rate {
    pub fn record(&mut self, rows: usize, seconds: f64) {
        self.steps.push_back((rows, seconds));
        if self.steps.len() > RATE_WINDOW {
            self.steps.pop_front();
        }
    }

    pub fn rows_per_second(&self) -> f64 {
        let rows: usize = self.steps.iter().map(|(rows, _)| rows).sum();
        rows as f64 / self.seconds().max(1e-9)
    }

    pub fn seconds_per_step(&self) -> f64 {
        self.seconds() / self.steps.len().max(1) as f64
    }

    fn seconds(&self) -> f64 {
        self.steps.iter().map(|(_, seconds)| seconds).sum()
    }
}
