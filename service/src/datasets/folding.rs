//! Comparing words whatever their case, fast enough to look through a million texts while somebody types.

use memchr::memmem::Finder;

/// A word that is looked for, folded.
pub struct Needle(Finder<'static>);

impl Needle {
    pub fn new(word: &str) -> Self {
        let mut folded = Vec::new();
        fold_into(word, &mut folded);
        Self(Finder::new(&folded).into_owned())
    }

    /// `folded` comes from [`fold_into`].
    pub fn is_in(&self, folded: &[u8]) -> bool {
        self.0.find(folded).is_some()
    }
}

/// Writes the text in lower case into `folded`, in place of what was there. The four letters i of Turkish become one:
/// whoever types `istanbul` means `İstanbul`, and `ISPARTA` is `Isparta` in one language and `ısparta` in the other.
pub fn fold_into(text: &str, folded: &mut Vec<u8>) {
    folded.clear();
    folded.reserve(text.len());
    if text.is_ascii() {
        // Most texts, at several bytes a cycle.
        folded.extend_from_slice(text.as_bytes());
        folded.make_ascii_lowercase();
        return;
    }
    let mut rest = text;
    while !rest.is_empty() {
        let ascii = rest.bytes().position(|byte| !byte.is_ascii()).unwrap_or(rest.len());
        let begin = folded.len();
        folded.extend_from_slice(&rest.as_bytes()[..ascii]);
        folded[begin..].make_ascii_lowercase();
        let mut letters = rest[ascii..].chars();
        match letters.next() {
            Some('İ' | 'ı') => folded.push(b'i'),
            Some(letter) => {
                let mut bytes = [0; 4];
                for letter in letter.to_lowercase() {
                    folded.extend_from_slice(letter.encode_utf8(&mut bytes).as_bytes());
                }
            }
            None => {}
        }
        rest = letters.as_str();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(text: &str) -> String {
        let mut bytes = b"before".to_vec();
        fold_into(text, &mut bytes);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn case_does_not_count() {
        for (text, same) in [
            ("", ""),
            ("Profit ROSE 3 %", "profit rose 3 %"),
            ("ÅLANDSBANKEN Ünal", "ålandsbanken ünal"),
            ("İSTANBUL Isparta ısı IŞIK", "istanbul isparta isi işik"),
            ("ΣΊΣΥΦΟΣ ß 😀", "σίσυφοσ ß 😀"),
        ] {
            assert_eq!(folded(text), same);
            assert!(Needle::new(text).is_in(same.as_bytes()));
        }
        assert!(!Needle::new("rose").is_in(b"ro se"));
    }
}
