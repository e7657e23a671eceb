//! What differs between two texts, or is looked for in one, so that it can be marked. Pure, and bounded: long texts are compared at their ends
//! only.

/// A stretch of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    pub text: String,
    /// The other text does not have it.
    pub differs: bool,
}

/// What the two texts are cut into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grain {
    /// For texts of which single characters were changed.
    Characters,
    /// For texts that say nearly the same.
    Words,
}

/// Cells of the comparison's table; above that everything between the common ends counts as different.
const MOST_CELLS: usize = 400_000;

/// Both texts cut into stretches that they share and stretches that they do not.
pub fn compare(one: &str, other: &str, grain: Grain) -> (Vec<Stretch>, Vec<Stretch>) {
    let (left, right) = (pieces(one, grain), pieces(other, grain));
    let shared = shared_pieces(&left, &right);
    let marks = |of_left: bool, count: usize| {
        let mut differs = vec![true; count];
        for (l, r) in &shared {
            differs[if of_left { *l } else { *r }] = false;
        }
        differs
    };
    (joined(&left, &marks(true, left.len())), joined(&right, &marks(false, right.len())))
}

fn pieces(text: &str, grain: Grain) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut begin = 0;
    let mut before: Option<bool> = None;
    for (place, character) in text.char_indices() {
        let is_word = character.is_alphanumeric();
        let goes_on = grain == Grain::Words && is_word && before == Some(true);
        if place > begin && !goes_on {
            pieces.push(&text[begin..place]);
            begin = place;
        }
        before = Some(is_word);
    }
    if begin < text.len() {
        pieces.push(&text[begin..]);
    }
    pieces
}

/// Places of pieces that both have, in order: the common ends, and a longest common subsequence of what lies between.
fn shared_pieces(left: &[&str], right: &[&str]) -> Vec<(usize, usize)> {
    let head = left.iter().zip(right).take_while(|(l, r)| l == r).count();
    let (left_rest, right_rest) = (&left[head..], &right[head..]);
    let tail = left_rest.iter().rev().zip(right_rest.iter().rev()).take_while(|(l, r)| l == r).count();
    let (left_middle, right_middle) = (&left_rest[..left_rest.len() - tail], &right_rest[..right_rest.len() - tail]);
    let mut shared: Vec<(usize, usize)> = (0..head).map(|place| (place, place)).collect();
    shared.extend(common_subsequence(left_middle, right_middle).into_iter().map(|(l, r)| (l + head, r + head)));
    shared.extend((0..tail).map(|place| (left.len() - tail + place, right.len() - tail + place)));
    shared
}

/// The textbook table: cell (i, j) holds the length of the longest common subsequence of `left[i..]` and `right[j..]`.
fn common_subsequence(left: &[&str], right: &[&str]) -> Vec<(usize, usize)> {
    let (rows, columns) = (left.len(), right.len());
    if rows == 0 || columns == 0 || rows.saturating_mul(columns) > MOST_CELLS {
        return Vec::new();
    }
    let width = columns + 1;
    let mut lengths = vec![0_u32; (rows + 1) * width];
    for i in (0..rows).rev() {
        for j in (0..columns).rev() {
            lengths[i * width + j] = if left[i] == right[j] {
                lengths[(i + 1) * width + j + 1] + 1
            } else {
                lengths[(i + 1) * width + j].max(lengths[i * width + j + 1])
            };
        }
    }
    let mut shared = Vec::new();
    let (mut i, mut j) = (0, 0);
    while i < rows && j < columns {
        if left[i] == right[j] {
            shared.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if lengths[(i + 1) * width + j] >= lengths[i * width + j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    shared
}

fn joined(pieces: &[&str], differs: &[bool]) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> = Vec::new();
    for (piece, differs) in pieces.iter().zip(differs) {
        match stretches.last_mut() {
            Some(last) if last.differs == *differs => last.text.push_str(piece),
            _ => stretches.push(Stretch { text: piece.to_string(), differs: *differs }),
        }
    }
    stretches
}

/// The text with every occurrence of one of the words marked, whatever its case. Only ASCII folds, so that places stay.
pub fn occurrences(text: &str, words: &[&str]) -> Vec<Stretch> {
    let folded = text.to_ascii_lowercase();
    let words: Vec<String> =
        words.iter().filter(|word| !word.is_empty()).map(|word| word.to_ascii_lowercase()).collect();
    let mut stretches = Vec::new();
    let mut end = 0;
    loop {
        let next = words.iter().filter_map(|word| Some((end + folded[end..].find(word)?, word.len()))).min();
        let Some((begin, length)) = next else { break };
        if begin > end {
            stretches.push(Stretch { text: text[end..begin].to_owned(), differs: false });
        }
        end = begin + length;
        stretches.push(Stretch { text: text[begin..end].to_owned(), differs: true });
    }
    if end < text.len() {
        stretches.push(Stretch { text: text[end..].to_owned(), differs: false });
    }
    stretches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_marked_wherever_they_stand() {
        assert_eq!(marked(&occurrences("Reuters: up, says REUTERS", &["reuters"])), "[Reuters]: up, says [REUTERS]");
        assert_eq!(marked(&occurrences("Sales rose", &["ROSE", "sal"])), "[Sal]es [rose]");
        assert_eq!(marked(&occurrences("Ähnlich", &["x", ""])), "Ähnlich");
        assert!(occurrences("", &["x"]).is_empty());
    }

    /// With what differs in brackets.
    fn marked(stretches: &[Stretch]) -> String {
        let words = stretches
            .iter()
            .map(|stretch| if stretch.differs { format!("[{}]", stretch.text) } else { stretch.text.clone() });
        words.collect()
    }

    #[test]
    fn changed_characters_are_marked() {
        let (before, after) = compare("L+ñnnen Tehtaat", "Lännen Tehtaat", Grain::Characters);
        assert_eq!((marked(&before).as_str(), marked(&after).as_str()), ("L[+ñ]nnen Tehtaat", "L[ä]nnen Tehtaat"));
    }

    #[test]
    fn words_differ_whole() {
        let (one, other) = compare("Profit rose 3 % in May", "Profit rose 15 % in June", Grain::Words);
        assert_eq!(marked(&one), "Profit rose [3] % in [May]");
        assert_eq!(marked(&other), "Profit rose [15] % in [June]");
    }

    #[test]
    fn nothing_is_lost_and_equal_texts_have_no_marks() {
        for (one, other) in [("", ""), ("a", ""), ("same text", "same text"), ("ab ba", "ba ab"), ("ä", "a\u{308}")] {
            for grain in [Grain::Characters, Grain::Words] {
                let (left, right) = compare(one, other, grain);
                let text = |stretches: &[Stretch]| stretches.iter().map(|s| s.text.as_str()).collect::<String>();
                assert_eq!((text(&left).as_str(), text(&right).as_str()), (one, other));
                assert_eq!(one == other, left.iter().chain(&right).all(|stretch| !stretch.differs));
            }
        }
    }

    #[test]
    fn long_texts_are_compared_at_their_ends() {
        let (one, other) = ("x".repeat(3000), format!("{}y{}", "x".repeat(10), "z".repeat(3000)));
        let (left, _) = compare(&one, &other, Grain::Characters);
        assert_eq!(left.iter().map(|stretch| stretch.text.len()).collect::<Vec<_>>(), [10, 2990]);
    }
}
