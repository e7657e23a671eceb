//! The normalised form of texts, their hashes, and which rows have the same one.

use super::progress::Progress;
use crate::datasets::Snapshot;
use crate::error::Result;
use rayon::prelude::*;

/// Most pairs of bytes are told apart by 128 bits: two different texts among a thousand million share a hash with a
/// chance of about 1 in 10^21.
pub(super) type TextHash = u128;

/// Writes `domain::dataset::normalise(text)` into a buffer that is used again and again.
pub(super) fn normalise_into(text: &str, normalised: &mut String) {
    normalised.clear();
    if !text.is_ascii() {
        for word in text.split_whitespace() {
            if !normalised.is_empty() {
                normalised.push(' ');
            }
            normalised.extend(word.chars().flat_map(char::to_lowercase));
        }
        return;
    }
    // Vertical tabs count as white space, too, as they do in Unicode.
    for word in text.split(|character: char| matches!(character, '\t'..='\r' | ' ')) {
        if word.is_empty() {
            continue;
        }
        if !normalised.is_empty() {
            normalised.push(' ');
        }
        normalised.push_str(word);
    }
    normalised.make_ascii_lowercase();
}

/// Of a text that is normalised already. Eight bytes at a time, each lane multiplied in 128 bits and folded.
pub(super) fn hash(text: &str) -> TextHash {
    let (mut a, mut b) = (0x9e37_79b9_7f4a_7c15_u64, 0xc2b2_ae3d_27d4_eb4f_u64);
    let mut step = |word: u64| {
        a = folded(a ^ word, 0xa076_1d64_78bd_642f);
        b = folded(b.rotate_left(23) ^ word, 0xe703_7ed1_a0b4_28db);
    };
    let (words, rest) = text.as_bytes().as_chunks::<8>();
    for word in words {
        step(u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    step(u64::from_le_bytes(last));
    step(text.len() as u64);
    u128::from(domain::dataset::mix(a)) << 64 | u128::from(domain::dataset::mix(b))
}

fn folded(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product >> 64) as u64 ^ product as u64
}

/// Which rows have the same normalised text. Rows go by their place.
pub(super) struct SameTexts {
    /// For each row the first row with its text, which may be itself.
    first: Vec<u32>,
    /// The rows of texts that occur more than once, text after text in the order of their first rows, each in order.
    repeated: Vec<u32>,
    ends: Vec<u32>,
}

impl SameTexts {
    pub fn find(hashes: &[TextHash]) -> Self {
        let mut order: Vec<u32> = (0..hashes.len() as u32).collect();
        order.par_sort_unstable_by_key(|place| (hashes[*place as usize], *place));
        let mut first: Vec<u32> = (0..hashes.len() as u32).collect();
        let mut runs: Vec<&[u32]> =
            order.chunk_by(|a, b| hashes[*a as usize] == hashes[*b as usize]).filter(|run| run.len() > 1).collect();
        runs.sort_unstable_by_key(|run| run[0]);
        let (mut repeated, mut ends) = (Vec::new(), Vec::new());
        for run in runs {
            for place in run {
                first[*place as usize] = run[0];
            }
            repeated.extend_from_slice(run);
            ends.push(repeated.len() as u32);
        }
        Self { first, repeated, ends }
    }

    /// Of one snapshot, without looking at anything else.
    pub fn of(snapshot: &Snapshot) -> Result<Self> {
        let hashes = super::progress::over_places(snapshot.len(), &mut Progress::silent(), |places| {
            let mut normalised = String::new();
            places
                .map(|place| {
                    normalise_into(snapshot.text(place), &mut normalised);
                    hash(&normalised)
                })
                .collect::<Vec<_>>()
        })?;
        Ok(Self::find(&hashes.concat()))
    }

    /// The first row with the text of this one.
    pub fn first(&self, place: usize) -> usize {
        self.first[place] as usize
    }

    pub fn is_first(&self, place: usize) -> bool {
        self.first(place) == place
    }

    /// The first rows of all texts, in order.
    pub fn firsts(&self) -> Vec<u32> {
        (0..self.first.len() as u32).filter(|place| self.first[*place as usize] == *place).collect()
    }

    /// The rows of each text that occurs more than once.
    pub fn repeated(&self) -> impl Iterator<Item = &[u32]> {
        let mut begin = 0;
        self.ends.iter().map(move |end| {
            let rows = &self.repeated[begin..*end as usize];
            begin = *end as usize;
            rows
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn texts_are_normalised_as_the_domain_does(text in "[ -~\t\u{b}\u{c}\r\n]{0,40}|\\PC{0,40}") {
            let mut normalised = "left over".to_string();
            normalise_into(&text, &mut normalised);
            prop_assert_eq!(normalised, domain::dataset::normalise(&text));
        }

        #[test]
        fn the_same_rows_have_the_same_first(texts in proptest::collection::vec("[ab]{0,3}", 0..60)) {
            let hashes: Vec<TextHash> = texts.iter().map(|text| hash(text)).collect();
            let same = SameTexts::find(&hashes);
            for (place, text) in texts.iter().enumerate() {
                prop_assert_eq!(Some(same.first(place)), texts.iter().position(|other| other == text));
            }
            let repeated: usize = same.repeated().map(<[u32]>::len).sum();
            let copies = (0..texts.len()).filter(|place| !same.is_first(*place)).count();
            prop_assert_eq!(repeated, copies + same.repeated().count());
            prop_assert_eq!(same.firsts().len(), texts.len() - copies);
        }
    }

    #[test]
    fn zeros_at_the_end_make_another_text() {
        let hashes = ["", "\0", "\0\0", "12345678", "12345678\0"].map(hash);
        for (place, one) in hashes.iter().enumerate() {
            assert!(!hashes[place + 1..].contains(one));
        }
    }
}
