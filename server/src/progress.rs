//! Long work seen from a terminal: a bar with rate and time left; plain lines, few of them, where there is none.
//!
//! Everything goes to stderr, so that stdout holds nothing but the answer.

use domain::metrics::Evaluation;
use domain::run::{LogLevel, Moment, Phase, RunEvent};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Between two plain lines about the same piece of work.
const LINE_EVERY: Duration = Duration::from_secs(5);

const BYTES_PER_MEGABYTE: u64 = 1_000_000;

/// Shows how far one command is.
pub struct Progress {
    bar: Option<ProgressBar>,
    work: String,
    last_line: Option<Instant>,
}

/// One look at a piece of work.
struct Position<'a> {
    done: u64,
    total: u64,
    unit: &'a str,
    /// Of what the rate counts, which for steps are the rows in them.
    rate_unit: &'a str,
    per_second: f64,
    seconds_left: f64,
    /// Such as the loss.
    detail: String,
}

impl Progress {
    pub fn start() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{prefix:<22} {bar:28} {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar())
                .progress_chars("━╸─");
            ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr()).with_style(style)
        });
        Self { bar, work: String::new(), last_line: None }
    }

    /// A sentence of its own, above the bar.
    pub fn say(&self, sentence: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{sentence}")),
            None => eprintln!("{sentence}"),
        }
    }

    /// A new piece of work begins.
    pub fn begin(&mut self, work: &str) {
        self.work = work.to_string();
        self.last_line = None;
        match &self.bar {
            Some(bar) => {
                bar.reset();
                bar.set_length(1);
                bar.set_prefix(self.work.clone());
                bar.set_message("");
            }
            None => eprintln!("{work}"),
        }
    }

    /// Rows done of all, for work that was begun at `since`.
    pub fn rows(&mut self, done: u64, total: u64, since: Instant) {
        let seconds = since.elapsed().as_secs_f64().max(1e-9);
        let per_second = done as f64 / seconds;
        let seconds_left = (total.saturating_sub(done)) as f64 / per_second.max(1e-9);
        let (unit, rate_unit) = ("rows", "rows");
        self.show(Position { done, total, unit, rate_unit, per_second, seconds_left, detail: String::new() });
    }

    /// Bytes done of all, for work that was begun at `since`.
    pub fn bytes(&mut self, done: u64, total: u64, since: Instant) {
        let seconds = since.elapsed().as_secs_f64().max(1e-9);
        let per_second = done as f64 / seconds / BYTES_PER_MEGABYTE as f64;
        let (done, total) = (done / BYTES_PER_MEGABYTE, total / BYTES_PER_MEGABYTE);
        let seconds_left = (total.saturating_sub(done)) as f64 / per_second.max(1e-9);
        let (unit, rate_unit) = ("MB", "MB");
        self.show(Position { done, total, unit, rate_unit, per_second, seconds_left, detail: String::new() });
    }

    /// A share from 0 to 1 of the piece of work, where nothing else is counted.
    pub fn share(&mut self, share: f64) {
        let percent = (100.0 * share.clamp(0.0, 1.0)) as u64;
        if let Some(bar) = &self.bar {
            bar.set_length(100);
            bar.set_position(percent);
            bar.set_message(format!("{percent} %"));
            return;
        }
        if self.last_line.is_none_or(|last| last.elapsed() >= LINE_EVERY) {
            self.last_line = Some(Instant::now());
            eprintln!("{}: {percent} %", self.work);
        }
    }

    /// What a run says of itself.
    pub fn event(&mut self, event: &RunEvent) {
        match event {
            RunEvent::Phase { phase } => self.begin(phase_name(*phase)),
            RunEvent::Progress { done, total, rows_per_second, seconds_left, .. } => self.show(Position {
                done: *done,
                total: *total,
                unit: "rows",
                rate_unit: "rows",
                per_second: *rows_per_second,
                seconds_left: *seconds_left,
                detail: String::new(),
            }),
            RunEvent::Step(point) => self.show(Position {
                done: point.step,
                total: point.total_steps,
                unit: "steps",
                rate_unit: "rows",
                per_second: point.rows_per_second,
                seconds_left: point.seconds_left,
                detail: format!("  epoch {:.2}  loss {:.4}", point.epoch, point.loss),
            }),
            RunEvent::Validation(point) => self.say(&format!(
                "step {}: validation loss {:.4}, accuracy {:.3}, macro-F1 {:.3}{}",
                point.step,
                point.loss,
                point.accuracy,
                point.macro_f1,
                if point.best { ", the best so far" } else { "" }
            )),
            RunEvent::Evaluation { moment, evaluation } => self.say(&evaluation_line(*moment, evaluation)),
            RunEvent::Resumed { from_step } => self.say(&format!("going on from the checkpoint of step {from_step}")),
            RunEvent::Log { level, message } => match level {
                LogLevel::Info => self.say(message),
                LogLevel::Warning => self.say(&format!("warning: {message}")),
                LogLevel::Error => self.say(&format!("error: {message}")),
            },
            RunEvent::Status { .. }
            | RunEvent::PartialConfusion { .. }
            | RunEvent::ValidationConfusion { .. }
            | RunEvent::Checkpoint { .. } => {}
        }
    }

    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn show(&mut self, at: Position<'_>) {
        let Position { done, total, unit, rate_unit, per_second, seconds_left, detail } = at;
        let left = if done >= total { String::new() } else { format!(", {} left", duration(seconds_left)) };
        let words = format!("{done}/{total} {unit}{detail}  {per_second:.1} {rate_unit}/s{left}");
        if let Some(bar) = &self.bar {
            bar.set_length(total.max(1));
            bar.set_position(done);
            bar.set_message(words);
            return;
        }
        let is_due = self.last_line.is_none_or(|last| last.elapsed() >= LINE_EVERY);
        if is_due || done >= total {
            self.last_line = Some(Instant::now());
            eprintln!("{}: {words}", self.work);
        }
    }
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Loading => "loading",
        Phase::Baseline => "scoring, before",
        Phase::Training => "training",
        Phase::Evaluating => "scoring, after",
    }
}

fn evaluation_line(moment: Moment, evaluation: &Evaluation) -> String {
    let moment = match moment {
        Moment::Before => "before training",
        Moment::After => "after training",
    };
    format!(
        "{moment}: accuracy {:.3}, macro-F1 {:.3} on {} rows",
        evaluation.accuracy,
        evaluation.macro_f1,
        evaluation.rows()
    )
}

/// Seconds as people say them: `9 s`, `2 min 05 s`, `1 h 10 min`.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "some time".to_string();
    }
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn durations_read_well() {
        assert_eq!(duration(8.6), "9 s");
        assert_eq!(duration(125.0), "2 min 05 s");
        assert_eq!(duration(4210.0), "1 h 10 min");
        assert_eq!(duration(f64::NAN), "some time");
    }
}
