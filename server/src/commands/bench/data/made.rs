//! A file as people have them: words by Zipf's law, three labels, some repetitions, near repetitions, contradictions,
//! mojibake, personal data and fields with commas and quotes. The same seed makes the same bytes.

use anyhow::Context;
use domain::dataset::mix;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

const WORDS: u64 = 20_000;
const LABELS: [&str; 3] = ["positive", "neutral", "negative"];
/// Of a thousand rows so many repeat an earlier one, nearly repeat one, contradict one, hold mojibake, and an address.
const REPEATED: u64 = 20;
const NEARLY: u64 = 40;
const CONTRADICTED: u64 = 45;
const BROKEN: u64 = 50;
const PERSONAL: u64 = 52;

pub fn write(path: &Path, rows: u64, seed: u64) -> anyhow::Result<()> {
    let in_words = || format!("{} cannot be written", path.display());
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path).with_context(in_words)?);
    let words = vocabulary(seed);
    writeln!(out, "id,headline,sentiment").with_context(in_words)?;
    for row in 0..rows {
        let (text, label) = row_of(&words, row, seed);
        writeln!(out, "{row},\"{}\",{label}", text.replace('"', "\"\"")).with_context(in_words)?;
    }
    out.flush().with_context(in_words)
}

fn row_of(words: &[String], row: u64, seed: u64) -> (String, &'static str) {
    let kind = random(seed, row, 0) % 1000;
    // An earlier row that is plain itself.
    let earlier = if row < 100 { row } else { random(seed, row, 1) % (row / 2) };
    match kind {
        0..REPEATED => plain(words, earlier, seed),
        REPEATED..NEARLY => {
            let (text, label) = plain(words, earlier, seed);
            (format!("{text} {}", words[(row % WORDS) as usize]), label)
        }
        NEARLY..CONTRADICTED => {
            let (text, _) = plain(words, earlier, seed);
            (text, LABELS[(random(seed, row, 2) % 3) as usize])
        }
        CONTRADICTED..BROKEN => {
            let (text, label) = plain(words, row, seed);
            (format!("{text} \u{c3}\u{a9}tait \u{c2}\u{a3}3.5bn"), label)
        }
        BROKEN..PERSONAL => {
            let (text, label) = plain(words, row, seed);
            (format!("{text} write to a.person{row}@example.com"), label)
        }
        _ => plain(words, row, seed),
    }
}

fn plain(words: &[String], row: u64, seed: u64) -> (String, &'static str) {
    let count = 9 + random(seed, row, 3) % 13;
    let mut text = String::new();
    for place in 0..count {
        if place > 0 {
            text.push_str(if place % 9 == 4 { ", " } else { " " });
        }
        // The rank of a word by Zipf's law is about exponential in a uniform number.
        let uniform = (random(seed, row, 10 + place) >> 11) as f64 / (1_u64 << 53) as f64;
        let rank = ((WORDS as f64).powf(uniform) as u64).clamp(1, WORDS) - 1;
        text.push_str(&words[rank as usize]);
    }
    if row.is_multiple_of(7) {
        text.push_str(" \"as said\"");
    }
    (text, LABELS[(random(seed, row, 4) % 3) as usize])
}

/// Frequent words are short.
fn vocabulary(seed: u64) -> Vec<String> {
    const SYLLABLES: [&str; 24] = [
        "ka", "re", "ti", "so", "mu", "lan", "ver", "dor", "pi", "nes", "fa", "gol", "bri", "tum", "she", "wa", "qui",
        "or", "em", "stra", "ply", "ze", "con", "ha",
    ];
    let word = |rank: u64| {
        let syllables = 1 + rank.max(1).ilog2() as u64 / 4;
        // The rank itself stands at the end, so that no two words are the same.
        let mut word: String =
            (0..syllables).map(|place| SYLLABLES[(random(seed, rank, 1000 + place) % 24) as usize]).collect();
        let mut rest = rank;
        while rest > 0 {
            word.push(char::from(b'a' + (rest % 26) as u8));
            rest /= 26;
        }
        word
    };
    (0..WORDS).map(word).collect()
}

fn random(seed: u64, row: u64, use_: u64) -> u64 {
    mix(mix(seed ^ row.wrapping_mul(0x9e37_79b9)) ^ use_)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_file_and_a_row_is_about_150_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two, other] = [(1, "a"), (1, "b"), (2, "c")].map(|(seed, name)| {
            let path = folder.path().join(name);
            write(&path, 3000, seed).unwrap();
            std::fs::read(&path).unwrap()
        });
        assert!(one == two && one != other);
        let mean = one.len() as f64 / 3000.0;
        assert!((130.0..170.0).contains(&mean), "{mean}");
        let mut reader = csv::Reader::from_reader(one.as_slice());
        let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        assert_eq!(records.len(), 3000);
        let texts: std::collections::HashSet<&str> = records.iter().map(|record| &record[1]).collect();
        assert!(texts.len() < 2980 && texts.len() > 2700, "{}", texts.len());
    }
}
