//! How fast bytes come, over the last seconds.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Long enough to be steady, short enough to follow.
const OVER: Duration = Duration::from_secs(10);

#[derive(Default)]
pub struct ByteRate {
    /// When so many bytes in all were there, the oldest first.
    seen: VecDeque<(Instant, u64)>,
}

impl ByteRate {
    pub fn add(&mut self, now: Instant, done_bytes: u64) {
        self.seen.push_back((now, done_bytes));
        while self.seen.len() > 2 && self.seen.front().is_some_and(|(at, _)| now.duration_since(*at) > OVER) {
            self.seen.pop_front();
        }
    }

    /// 0 until two moments are known.
    pub fn bytes_per_second(&self) -> f64 {
        let (Some((began, first)), Some((ended, last))) = (self.seen.front(), self.seen.back()) else { return 0.0 };
        let seconds = ended.duration_since(*began).as_secs_f64();
        if seconds > 0.0 { last.saturating_sub(*first) as f64 / seconds } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_follows_the_last_seconds() {
        let began = Instant::now();
        let mut rate = ByteRate::default();
        assert_eq!(rate.bytes_per_second(), 0.0);
        for second in 0..30 {
            let bytes = if second < 15 { second * 100 } else { 1400 + (second - 14) * 1000 };
            rate.add(began + Duration::from_secs(second), bytes);
        }
        assert!((rate.bytes_per_second() - 1000.0).abs() < 1.0, "{}", rate.bytes_per_second());
    }
}
