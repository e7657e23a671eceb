//! Near duplicates: texts whose sets of character 5-grams overlap by at least 80 %.
//!
//! Candidates come from MinHash signatures cut into bands (locality-sensitive hashing: Leskovec, Rajaraman, Ullman,
//! *Mining of Massive Datasets*, 3.4); each is then verified on the n-grams themselves, so nothing is called a near
//! duplicate that is none. Signatures are made by one-permutation hashing with optimal densification (Shrivastava, ICML
//! 2017): one hash per n-gram instead of one per n-gram and bin.
//!
//! Two texts of Jaccard similarity J share a band of r bins with probability J^r, and at least one of b bands with
//! 1 - (1 - J^r)^b. With r = 5 and b = 16 that finds 99.8 % of the pairs at J = 0.8 and more than 99.9999 % at 0.9, while
//! 40 % of the pairs at 0.5 and 4 % at 0.3 are looked at in vain. Texts of few n-grams leave bins empty, which are then
//! copies of others, so bands of such texts are less independent and the formula promises a little too much.

use super::progress::Progress;
use super::texts::{SameTexts, normalise_into};
use crate::datasets::Snapshot;
use crate::error::Result;
use domain::dataset::mix;
use rayon::prelude::*;

/// Jaccard similarity from which on two texts are near duplicates.
const SIMILAR: f64 = 0.8;
const GRAM: usize = 5;
const BAND_BINS: usize = 5;
const BANDS: usize = 16;
const BINS: usize = BAND_BINS * BANDS;
/// Longer texts are compared by their beginning, in characters.
const MAX_CHARACTERS: usize = 20_000;
/// Texts of one bucket are compared with so many others, not all with all: near duplicates form chains, and what one
/// band misses another finds.
const COMPANIONS: usize = 4;
/// Buckets are gone through in pieces, so that a huge one is work for all cores.
const PIECE: usize = 2048;
/// Pieces between two words about the progress.
const PIECES_AT_ONCE: usize = 256;
/// Bins of 80 that must agree before the n-grams of two texts are compared: at J = 0.8 they are 64 on average with a
/// standard deviation of 3.6.
const MIN_AGREEING: usize = 51;
/// In bytes; shorter texts have too few n-grams for the estimate from their bins.
const MIN_LENGTH_FOR_ESTIMATE: usize = 100;

/// The lowest byte of each bin's smallest hash. Different ones agree in 1 of 256 cases, which the verification sorts
/// out.
type Signature = [u8; BINS];

/// For each place the first place of its group: rows with the same text or with near duplicates of it, directly or over
/// others.
pub(super) fn groups(snapshot: &Snapshot, same: &SameTexts, progress: &mut Progress) -> Result<Vec<u32>> {
    let firsts = same.firsts();
    let signatures = sign(snapshot, &firsts)?;
    let mut union = Union::new(firsts.len());
    for band in 0..BANDS {
        let keys = band_keys(&signatures, band);
        let buckets = keys.chunk_by(|a, b| a >> 32 == b >> 32).filter(|bucket| bucket.len() > 1);
        let pieces: Vec<(u32, &[u64])> =
            buckets.flat_map(|bucket| bucket.chunks(PIECE).map(|piece| (bucket[0] as u32, piece))).collect();
        union.flatten();
        for (done, some) in pieces.chunks(PIECES_AT_ONCE).enumerate() {
            let share = (done * PIECES_AT_ONCE) as f64 / pieces.len() as f64;
            progress.tell((band as f64 + share) / BANDS as f64)?;
            let look = Look { snapshot, firsts: &firsts, signatures: &signatures, union: &union };
            let pairs: Vec<(u32, u32)> =
                some.par_iter().flat_map_iter(|(first, piece)| look.near_pairs(*first, piece)).collect();
            for (one, other) in pairs {
                union.join(one, other);
            }
        }
    }
    union.flatten();
    let mut group = vec![0; snapshot.len()];
    for (place, group_of_place) in group.iter_mut().enumerate() {
        *group_of_place = same.first(place) as u32;
    }
    // From the number of a text to the place of its group's first row.
    for (text, place) in firsts.iter().enumerate() {
        group[*place as usize] = firsts[union.root(text as u32) as usize];
    }
    for place in 0..group.len() {
        group[place] = group[same.first(place)];
    }
    Ok(group)
}

fn sign(snapshot: &Snapshot, firsts: &[u32]) -> Result<Vec<Signature>> {
    let mut signatures = Vec::with_capacity(firsts.len());
    firsts
        .par_iter()
        .with_min_len(256)
        .map_init(
            || (String::new(), Vec::new()),
            |(normalised, grams), place| {
                normalise_into(snapshot.text(*place as usize), normalised);
                grams_into(normalised, grams);
                signature(grams)
            },
        )
        .collect_into_vec(&mut signatures);
    Ok(signatures)
}

/// Of each text its band's hash in the upper half and its number in the lower, sorted.
fn band_keys(signatures: &[Signature], band: usize) -> Vec<u64> {
    let bins = band * BAND_BINS..(band + 1) * BAND_BINS;
    let mut keys: Vec<u64> = signatures
        .par_iter()
        .enumerate()
        .map(|(text, signature)| {
            let packed = signature[bins.clone()].iter().fold(0, |packed, byte| packed << 8 | u64::from(*byte));
            mix(packed) >> 32 << 32 | text as u64
        })
        .collect();
    keys.par_sort_unstable();
    keys
}

/// Hashes of the n-grams in their order. A text that is shorter than one is one.
///
/// A polynomial over the characters that is moved along, then mixed: a text of ASCII and one beyond have the same hashes
/// for the same n-grams.
fn grams_into(normalised: &str, grams: &mut Vec<u64>) {
    const BASE: u64 = 0x9e37_79b9_7f4a_7c15;
    const LEAVING: u64 = BASE.wrapping_pow(GRAM as u32);
    grams.clear();
    let mut window = [0; GRAM];
    let mut hash = 0_u64;
    let mut count = 0;
    for character in normalised.chars().take(MAX_CHARACTERS) {
        let entering = u64::from(character as u32) + 1;
        let slot = &mut window[count % GRAM];
        hash = hash.wrapping_mul(BASE).wrapping_add(entering).wrapping_sub(LEAVING.wrapping_mul(*slot));
        *slot = entering;
        count += 1;
        if count >= GRAM {
            grams.push(mix(hash));
        }
    }
    if (1..GRAM).contains(&count) {
        grams.push(mix(hash));
    }
}

fn signature(grams: &[u64]) -> Signature {
    // A text without n-grams has no companions; one that is alone in its bucket costs nothing.
    if grams.is_empty() {
        return [0; BINS];
    }
    let mut smallest = [u64::MAX; BINS];
    for gram in grams {
        let bin = ((u128::from(*gram) * BINS as u128) >> 64) as usize;
        smallest[bin] = smallest[bin].min(*gram);
    }
    let mut signature = [0; BINS];
    for (bin, byte) in signature.iter_mut().enumerate() {
        *byte = filled(&smallest, bin) as u8;
    }
    signature
}

/// The value of a bin; of an empty one that of another, which is always tried in the same order.
fn filled(smallest: &[u64; BINS], bin: usize) -> u64 {
    let mut value = smallest[bin];
    let mut attempt = 0;
    while value == u64::MAX && attempt < 1000 {
        attempt += 1;
        value = smallest[(mix((bin * 1000 + attempt) as u64) % BINS as u64) as usize];
    }
    value
}

/// What is needed to compare texts.
struct Look<'a> {
    snapshot: &'a Snapshot,
    firsts: &'a [u32],
    signatures: &'a [Signature],
    union: &'a Union,
}

struct Companion {
    text: u32,
    grams: Vec<u64>,
}

impl Look<'_> {
    /// Pairs of near duplicates among a bucket's texts, not yet known to belong together: each text with one of the last
    /// few that were unlike each other, or with the bucket's first.
    fn near_pairs(&self, first: u32, piece: &[u64]) -> Vec<(u32, u32)> {
        let mut companions = vec![Companion { text: first, grams: Vec::new() }];
        let mut oldest = 0;
        let mut pairs = Vec::new();
        let mut buffer = String::new();
        for key in piece {
            let text = *key as u32;
            if text == first
                || companions.iter().any(|companion| self.union.root(companion.text) == self.union.root(text))
            {
                continue;
            }
            let mut grams = Vec::new();
            let mut found = None;
            for companion in companions.iter_mut().filter(|companion| self.may_be_near(companion.text, text)) {
                if companion.grams.is_empty() {
                    companion.grams = self.gram_set(companion.text, &mut buffer);
                }
                if grams.is_empty() {
                    grams = self.gram_set(text, &mut buffer);
                }
                if is_near(&companion.grams, &grams) {
                    found = Some(companion.text);
                    break;
                }
            }
            match found {
                Some(companion) => pairs.push((companion, text)),
                None if companions.len() < COMPANIONS => companions.push(Companion { text, grams }),
                None => {
                    // The first one stays: it is what the pieces of a bucket have in common.
                    oldest = oldest % (COMPANIONS - 1) + 1;
                    companions[oldest] = Companion { text, grams };
                }
            }
        }
        pairs
    }

    fn may_be_near(&self, one: u32, other: u32) -> bool {
        let is_short =
            |text: u32| self.snapshot.text(self.firsts[text as usize] as usize).len() < MIN_LENGTH_FOR_ESTIMATE;
        let (a, b) = (&self.signatures[one as usize], &self.signatures[other as usize]);
        let agreeing = a.iter().zip(b).filter(|(a, b)| a == b).count();
        agreeing >= MIN_AGREEING || is_short(one) || is_short(other)
    }

    /// Sorted, each once.
    fn gram_set(&self, text: u32, buffer: &mut String) -> Vec<u64> {
        normalise_into(self.snapshot.text(self.firsts[text as usize] as usize), buffer);
        let mut grams = Vec::new();
        grams_into(buffer, &mut grams);
        grams.sort_unstable();
        grams.dedup();
        grams
    }
}

/// Jaccard similarity of two sorted sets, held against the limit: |A ∩ B| ≥ 0.8 |A ∪ B|.
fn is_near(a: &[u64], b: &[u64]) -> bool {
    let (small, large) = (a.len().min(b.len()), a.len().max(b.len()));
    if small == 0 || (small as f64) < SIMILAR * large as f64 {
        return false;
    }
    let (mut i, mut j, mut both) = (0, 0, 0);
    while let (Some(one), Some(other)) = (a.get(i), b.get(j)) {
        both += usize::from(one == other);
        i += usize::from(one <= other);
        j += usize::from(other <= one);
    }
    both as f64 >= SIMILAR * (a.len() + b.len() - both) as f64
}

/// Which texts belong together.
struct Union {
    parents: Vec<u32>,
}

impl Union {
    fn new(count: usize) -> Self {
        Self { parents: (0..count as u32).collect() }
    }

    fn root(&self, text: u32) -> u32 {
        let mut root = text;
        while self.parents[root as usize] != root {
            root = self.parents[root as usize];
        }
        root
    }

    /// The smaller root stays, so that groups go by their first text whatever the order.
    fn join(&mut self, one: u32, other: u32) {
        let (a, b) = (self.root(one), self.root(other));
        self.parents[a.max(b) as usize] = a.min(b);
    }

    /// Makes every root one step away. Parents are smaller than their children, so one pass does.
    fn flatten(&mut self) {
        for text in 0..self.parents.len() {
            self.parents[text] = self.parents[self.parents[text] as usize];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::samples::snapshot_of;

    fn gram_set(text: &str) -> Vec<u64> {
        let mut grams = Vec::new();
        grams_into(&domain::dataset::normalise(text), &mut grams);
        grams.sort_unstable();
        grams.dedup();
        grams
    }

    fn groups_of(texts: &[String]) -> Vec<u32> {
        let rows: Vec<(&str, &str)> = texts.iter().map(|text| (text.as_str(), "a")).collect();
        let snapshot = snapshot_of(&rows);
        let same = SameTexts::of(&snapshot).unwrap();
        groups(&snapshot, &same, &mut Progress::silent()).unwrap()
    }

    /// Sentences of words from a small world, some of them with a few words of others changed.
    fn sentences(count: usize, words: usize, seed: u64) -> Vec<String> {
        let mut state = seed;
        let mut next = |below: usize| {
            state = mix(state);
            (state % below as u64) as usize
        };
        let mut texts: Vec<Vec<String>> = Vec::new();
        for row in 0..count {
            let mut text: Vec<String> = if row > 10 && next(3) == 0 {
                let origin = next(texts.len());
                texts[origin].clone()
            } else {
                (0..words).map(|_| format!("w{}rd{}", next(40), next(40))).collect()
            };
            for _ in 0..next(4) {
                let place = next(words);
                text[place] = format!("x{}", next(1000));
            }
            texts.push(text);
        }
        texts.iter().map(|text| text.join(" ")).collect()
    }

    #[test]
    fn n_grams_do_not_depend_on_where_they_stand() {
        let (one, other) = (gram_set("ab cdefg"), gram_set("é cdefg"));
        let both = one.iter().filter(|gram| other.contains(gram)).count();
        assert_eq!((one.len(), other.len(), both), (4, 3, 2));
        assert_eq!((gram_set("abc").len(), gram_set("").len(), gram_set("aaaaaaaaa").len()), (1, 0, 1));
        assert_ne!(gram_set("abc"), gram_set("abd"));
    }

    #[test]
    fn groups_are_those_of_comparing_all_with_all() {
        // Long and short texts: the latter have more empty bins than full ones.
        for (words, most_missed) in [(20, 0.01), (4, 0.06)] {
            let texts = sentences(1200, words, words as u64);
            let sets: Vec<Vec<u64>> = texts.iter().map(|text| gram_set(text)).collect();
            let mut union = Union::new(texts.len());
            let mut pairs = Vec::new();
            for one in 0..texts.len() {
                for other in one + 1..texts.len() {
                    if is_near(&sets[one], &sets[other]) {
                        union.join(one as u32, other as u32);
                        pairs.push((one, other));
                    }
                }
            }
            let found = groups_of(&texts);
            // Precision: nothing is together that comparing all would not have put together.
            for (text, group) in found.iter().enumerate() {
                assert_eq!(union.root(*group), union.root(text as u32));
            }
            let missed = pairs.iter().filter(|(one, other)| found[*one] != found[*other]).count();
            assert!(pairs.len() > 100, "{}", pairs.len());
            assert!(missed as f64 <= most_missed * pairs.len() as f64, "{missed} of {}", pairs.len());
        }
    }

    #[test]
    fn a_number_that_differs_makes_a_near_duplicate_and_another_sentence_none() {
        let texts = [
            "Profit for the first quarter of the year rose by 3 % from the year before, the company said on Monday",
            "Nothing is like this one",
            "Profit for the first quarter of the year rose by 5 % from the year before, the company said on Monday",
            "profit for the first quarter of the year  rose by 3 % from the year before, the company said on monday",
            "",
            " ",
        ]
        .map(String::from);
        assert_eq!(groups_of(&texts), [0, 1, 0, 0, 4, 4]);
    }

    #[test]
    fn a_template_that_all_rows_share_takes_no_long_time() {
        let texts: Vec<String> = (0..30_000)
            .map(|row| {
                let words = [row, row / 7, row * 31 % 1000].map(|word| format!("{:x}", mix(word as u64) >> 40));
                format!("Dear customer, your order {} of {} has been sent to {}.", words[0], words[1], words[2])
            })
            .collect();
        let started = std::time::Instant::now();
        groups_of(&texts);
        assert!(started.elapsed().as_secs() < 30, "{:?}", started.elapsed());
    }

    #[test]
    fn the_estimate_is_near_the_similarity() {
        let texts = sentences(300, 25, 9);
        let sets: Vec<Vec<u64>> = texts.iter().map(|text| gram_set(text)).collect();
        let signatures: Vec<Signature> = sets.iter().map(|set| signature(set)).collect();
        let mut looked = 0;
        for one in 0..texts.len() {
            for other in one + 1..texts.len() {
                let both = sets[one].iter().filter(|gram| sets[other].binary_search(gram).is_ok()).count();
                let similarity = both as f64 / (sets[one].len() + sets[other].len() - both) as f64;
                if similarity > 0.5 {
                    let agreeing = signatures[one].iter().zip(&signatures[other]).filter(|(a, b)| a == b).count();
                    assert!((agreeing as f64 / BINS as f64 - similarity).abs() < 0.25, "{agreeing} {similarity}");
                    looked += 1;
                }
            }
        }
        assert!(looked > 20);
    }
}
