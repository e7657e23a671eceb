//! How fast the doctor is, and on how much memory: `cargo run --release -p service --example doctor [rows] [seed]`.
//!
//! Makes rows of about 130 bytes straight into a segment (words by Zipf's law, some of them copies, near copies,
//! contradictions, mojibake), examines them, and prints the seconds of each step and the peak of memory. The files of
//! the segment are mapped, so what of them is in memory counts as well.

use domain::dataset::{Row, mix};
use domain::split::Part;
use service::datasets::{Changes, Segment, SegmentWriter, Snapshot};
use service::doctor::{Surroundings, examine, twins};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

const VOCABULARY: usize = 50_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let rows: usize = arguments.next().map_or(Ok(1_000_000), |rows| rows.parse())?;
    let seed: u64 = arguments.next().map_or(Ok(1), |seed| seed.parse())?;
    let folder = std::env::temp_dir().join(format!("ayar-doctor-{}", std::process::id()));
    let examined = make(&folder, rows, seed).and_then(|snapshot| look(&snapshot));
    std::fs::remove_dir_all(&folder)?;
    examined
}

fn look(snapshot: &Snapshot) -> Result<(), Box<dyn std::error::Error>> {
    println!("{} rows; peak before the examination {} MB", snapshot.len(), peak_mb());
    let surroundings = Surroundings { rejected: 0, tokens: None, max_length: usize::MAX, frozen_test: None };
    let mut step = (String::new(), Instant::now());
    let mut finish = |next: &str| {
        if step.0 != next {
            if !step.0.is_empty() {
                println!("{:7.2} s  {}", step.1.elapsed().as_secs_f64(), step.0);
            }
            step = (next.to_string(), Instant::now());
        }
    };
    let report = examine(snapshot, &surroundings, 1, &mut |step, _| {
        finish(step);
        ControlFlow::Continue(())
    })?;
    finish("");
    println!("{:7.2} s  in all; peak {} MB", report.examination.seconds, peak_mb());
    for finding in &report.examination.findings {
        println!("{:?}: {}", finding.severity, finding.headline);
    }
    let started = Instant::now();
    twins(snapshot);
    println!("{:7.2} s  twins alone", started.elapsed().as_secs_f64());
    Ok(())
}

fn make(folder: &std::path::Path, rows: usize, seed: u64) -> Result<Snapshot, Box<dyn std::error::Error>> {
    let mut state = seed;
    let mut next = |below: usize| {
        state = mix(state);
        (state % below.max(1) as u64) as usize
    };
    let vocabulary: Vec<String> = (0..VOCABULARY).map(word).collect();
    let mut writer = SegmentWriter::create(folder)?;
    let mut recent: Vec<String> = Vec::new();
    for row in 0..rows {
        let kind = next(100);
        let mut text = match kind {
            // Copies and near copies of one of the last thousand texts.
            0..=4 if !recent.is_empty() => recent[next(recent.len())].clone(),
            5..=9 if !recent.is_empty() => {
                let mut words: Vec<String> = recent[next(recent.len())].split(' ').map(String::from).collect();
                let place = next(words.len());
                words[place] = format!("{}", next(1000));
                words.join(" ")
            }
            _ => {
                let words: Vec<&str> = (0..16 + next(10))
                    // Zipf's law: the logarithm of the rank is spread evenly.
                    .map(|_| {
                        let exponent = next(1 << 20) as f64 / f64::from(1 << 20);
                        let rank = (VOCABULARY as f64).powf(exponent) as usize - 1;
                        vocabulary[rank.min(VOCABULARY - 1)].as_str()
                    })
                    .collect();
                words.join(" ")
            }
        };
        if kind == 50 {
            text.push_str(" Lännen BÃ¶rse L+ñnnen");
        }
        if recent.len() < 1000 {
            recent.push(text.clone())
        } else {
            recent[row % 1000] = text.clone()
        }
        let label = ["positive", "neutral", "neutral", "negative"][next(4)].to_string();
        let part = [Part::Train, Part::Train, Part::Train, Part::Validation, Part::Test][next(5)];
        writer.write(&Row { line: row as u64 + 2, text, label }, Some(part))?;
    }
    writer.finish("made.csv", 0)?;
    Ok(Snapshot::new(vec![Arc::new(Segment::open(folder)?)], Changes::new()))
}

/// A made-up word: syllables by its number.
fn word(number: usize) -> String {
    const SYLLABLES: [&str; 16] =
        ["ka", "le", "mi", "no", "ru", "sa", "te", "vi", "po", "du", "ga", "he", "jo", "ly", "ba", "ce"];
    let mut rest = number + 16;
    let mut word = String::new();
    while rest > 0 {
        word.push_str(SYLLABLES[rest % 16]);
        rest /= 16;
    }
    word
}

/// The most memory that the process has had (VmHWM of Linux); 0 elsewhere.
fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or_default() / 1024
}
